"""What this machine can do, and what is missing."""

import importlib.metadata
import importlib.util
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from zooaudit import __version__
from zooaudit.compute import resolve_precision
from zooaudit.data.places import default_cache
from zooaudit.data.resolve import DATASETS
from zooaudit.errors import ZooauditError
from zooaudit.extras import EXTRAS, install
from zooaudit.machine import cores
from zooaudit.storage.opening import open_store

PACKAGES = ("torch", "torchvision", "scikit-learn", "scipy", "pyarrow", "safetensors")
OF_EXTRAS = {
    "ray": "ray",
    "boto3": "s3",
    "fastapi": "serve",
    "onnxruntime": "onnx",
    "transformers": "hub",
    "grpcio": "grpc",
    "matplotlib": "report",
}
"""One package of each extra."""
MEMORY_NEEDED = 4 * 2**30
DISK_NEEDED = 2**30


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report; ``remedy`` is empty if all is well."""

    what: str
    found: str
    remedy: str = ""


def examine(store: str, cache: Path | None = None) -> list[Finding]:
    """Check Python, packages, devices, memory, the store's disk or bucket, and data; starts nothing and
    leaves nothing behind."""
    return [
        Finding("zooaudit", f"{__version__}, Python {platform.python_version()}", _python_remedy()),
        *(_package(name) for name in PACKAGES),
        *(_extra(package, extra) for package, extra in OF_EXTRAS.items()),
        *_devices(),
        _memory(),
        _bucket(store) if store.startswith("s3:") else _disk(Path(store)),
        *_data(cache or default_cache()),
    ]


def _python_remedy() -> str:
    return "" if (3, 11) <= sys.version_info[:2] < (3, 14) else "use Python 3.11, 3.12 or 3.13"


def _package(name: str) -> Finding:
    try:
        return Finding(name, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "not installed", "pip install zooaudit")


def _extra(package: str, extra: str) -> Finding:
    """An extra's package: it counts as missing only for those who need the extra."""
    try:
        return Finding(package, importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return Finding(package, f"not installed, for {EXTRAS[extra]}: {install(extra)}")


def _devices() -> list[Finding]:
    cpu = Finding("CPU", f"{cores()} cores, trains in {resolve_precision('auto', 'cpu')}")
    if not torch.cuda.is_available():
        return [cpu, Finding("GPU", "none: models are trained on the CPU")]
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return [cpu, Finding("GPU", f"{', '.join(names)}; share one between workers with --gpus-per-worker 0.25")]


def _memory() -> Finding:
    free = psutil.virtual_memory().available
    remedy = (
        ""
        if free >= MEMORY_NEEDED
        else "fmnist-quick takes up to 4 GiB: close other programs or use fewer --workers"
    )
    return Finding("memory", f"{free / 2**30:.1f} GiB free", remedy)


def _disk(store: Path) -> Finding:
    folder = store.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    return Finding(
        "disk",
        f"{free / 2**30:.1f} GiB free for {store}",
        "" if free >= DISK_NEEDED else "a store takes up to 1 GiB: free some space",
    )


def _bucket(store: str) -> Finding:
    try:
        models = open_store(store).kinds().get("model", 0)
    except ZooauditError as error:
        return Finding("store", "cannot be used", str(error))
    return Finding("store", f"{store} honours conditional writes and holds {models} models")


def _how(name: str) -> str:
    if name == "tiny-imagenet":
        return "give its folder with --data"
    if name == "cifar10":
        return "will be downloaded from its authors"
    return "will be downloaded with " + (
        "torchvision or apt-get" if shutil.which("apt-get") else "torchvision"
    )


def _data(cache: Path) -> list[Finding]:
    found = []
    for name in DATASETS:
        if name == "digits":
            found.append(Finding("data: digits", "comes with scikit-learn"))
        elif (cache / name).is_dir():
            found.append(Finding(f"data: {name}", f"in {cache / name}"))
        else:
            found.append(Finding(f"data: {name}", f"not in {cache}: {_how(name)}"))
    return found
