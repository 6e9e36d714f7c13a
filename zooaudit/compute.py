"""Devices, precision, threads and torch's global generators: what every training stage has to pin down."""

import contextlib
import ctypes
import functools
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

HEAP_WORTH_KEEPING = 2**30
"""Bytes that a process may hold before it returns freed memory to the system. Below this, fresh pages would
cost more than the memory is worth."""


def pick_device() -> torch.device:
    """A GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """bfloat16 autocast if requested, or if ``auto`` finds hardware that is fast at it."""
    return torch.autocast(
        device.type, torch.bfloat16, enabled=resolve_precision(precision, device.type) == "bfloat16"
    )


@functools.cache
def resolve_precision(precision: str, device_type: str) -> str:
    """What ``auto`` means on this machine: ``bfloat16`` if the CPU or GPU supports it, else ``float32``."""
    if precision != "auto":
        return precision
    if device_type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    fast = (
        device_type == "cpu"
        and torch.backends.mkldnn.is_available()
        and torch.cpu._is_avx512_bf16_supported()
    )
    return "bfloat16" if fast else "float32"


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators, which initialisation and dropout draw from, and restore them
    afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Run torch on ``count`` CPU threads, so that two farms split sums in the same way and agree to the
    bit."""
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def give_back_freed_memory() -> None:
    """Return freed heap to the system, if this process is larger than ``HEAP_WORTH_KEEPING``.

    For use between two models: a worker keeps what a training step frees (``KEEP_FREED_MEMORY``), and
    fragments between models of different sizes add up. Does nothing if the C library is not glibc.
    """
    if sys.platform != "linux":
        return
    resident, shared = (
        int(pages) * resource.getpagesize() for pages in Path("/proc/self/statm").read_text().split()[1:3]
    )
    if resident - shared > HEAP_WORTH_KEEPING:
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
