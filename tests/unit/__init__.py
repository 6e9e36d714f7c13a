"""Tests that start no server, no Ray and no processes that work together."""
