"""Where artifacts live: folders, S3 and memory, with leases, a cache and checks."""
