"""Sweeps: the same zoo, fingerprinted in many ways; trials run in parallel on Ray Tune."""
