"""Where artifacts are stored: folders, S3 and memory, with leases, a cache and checks."""
