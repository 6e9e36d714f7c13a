"""The share of this machine that this process may use. Imports nothing heavy, as it also runs on nodes
without our packages."""

import os


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
