"""What a worker frees goes back to the system between two models."""

import os
import subprocess
import sys

import pytest

from zooaudit.training.ray_farm import KEEP_FREED_MEMORY

FREED = """
import sys
from pathlib import Path
from resource import getpagesize
from zooaudit.compute import give_back_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * getpagesize()

before = resident()
pieces = [bytearray(b"x") * 2**20 for _ in range(int(sys.argv[1]))]
# At the end of the heap: what lies before it is not given back by itself.
held = [bytearray(b"x") * 2**10 for _ in range(8)]
del pieces
kept = resident() - before
give_back_freed_memory()
print(kept // 2**20, (resident() - before) // 2**20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
@pytest.mark.parametrize(("mebibytes", "given_back"), [(900, True), (300, False)])
def test_a_large_process_gives_back_what_it_freed(mebibytes: int, given_back: bool) -> None:
    command = [sys.executable, "-c", FREED, str(mebibytes)]
    done = subprocess.run(
        command, env=os.environ | KEEP_FREED_MEMORY, capture_output=True, text=True, check=True
    )
    kept, left = map(int, done.stdout.split())
    assert kept > 0.9 * mebibytes  # as a worker is set, freeing alone gives nothing back
    assert (left < 100) is given_back
