"""The paper's method: UAP, datapoints, fingerprint, encoder, t-test."""
