"""What of this machine this process may use. Imports nothing heavy: nodes that lack
packages are asked by what imports this."""

import os


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
