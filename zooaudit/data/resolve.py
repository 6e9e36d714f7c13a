"""Find a dataset: the user's folder, a cache, a download; say what is tried, and keep nothing partial."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from zooaudit.data.images import Dataset, ImageSet
from zooaudit.data.readers import read_dataset
from zooaudit.data.splits import random_part
from zooaudit.errors import ConfigError, DataError

Say = Callable[[str], None]
DATASETS = ("digits", "fashion-mnist")
DEBIAN_PACKAGE = "dataset-fashion-mnist"
DOWNLOAD_TIMEOUT_S = 20.0
APT_TIMEOUT_S = 180.0


class DatasetUnavailableError(DataError):
    """Every source of a known dataset was tried and none had it."""


def default_cache() -> Path:
    """``$ZOOAUDIT_CACHE``, else ``$XDG_CACHE_HOME/zooaudit``, else ``~/.cache/zooaudit``."""
    if "ZOOAUDIT_CACHE" in os.environ:
        return Path(os.environ["ZOOAUDIT_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zooaudit"


def resolve(name: str, folder: Path | None = None, cache: Path | None = None, say: Say = lambda _: None) -> Dataset:
    """Find dataset ``name``, trying in order: ``folder``, ``cache``, torchvision's download, the Debian package.

    Args:
        name: one of ``DATASETS``; any name will do for the user's own ``folder``.
        folder: the user's data; if given nothing else is tried, so that an audit never runs on other data than asked for.
        say: told each thing tried and how it went.

    Raises:
        DataError: the user's folder cannot be read.
        DatasetUnavailableError: no source had it; the message lists what was tried.
        ConfigError: the name is unknown and no folder was given.
    """
    if folder is not None:
        say(f"data: reading {folder}")
        return read_dataset(folder, name)
    if name not in DATASETS:
        raise ConfigError(f"unknown dataset {name!r}; known: {', '.join(DATASETS)}; or give your own with --data FOLDER")
    if name == "digits":
        say("data: scikit-learn's digits (no download)")
        return load_digits()
    return _fashion_mnist((cache or default_cache()) / name, say)


def load_digits() -> Dataset:
    """scikit-learn's 1,797 digits, 8 x 8, split once and for all into 1,347 for training and 450 for testing."""
    from sklearn.datasets import load_digits as sklearn_digits

    bunch = sklearn_digits()
    images = torch.from_numpy((bunch.images * 255 / 16).round().astype("uint8")).unsqueeze(1)
    labels = torch.from_numpy(bunch.target.astype("int64"))
    test = torch.zeros(len(images), dtype=torch.bool)
    test[random_part(len(images), 450 / len(images), seed=0)] = True
    everything = ImageSet(images, labels)
    parts = [everything.take(mask.nonzero().flatten()) for mask in (~test, test)]
    return Dataset("digits", parts[0], parts[1], tuple("0123456789"), "scikit-learn")


def _fashion_mnist(target: Path, say: Say) -> Dataset:
    tried = []
    for source, fetch in (("cache", None), ("torchvision's download", _torchvision), ("Debian package", _debian)):
        try:
            if fetch is not None:
                say(f"data: trying {source}")
                _fetch_into(target, fetch)
            elif not target.is_dir():
                raise DataError(f"{target} does not exist")
            dataset = read_dataset(target, "fashion-mnist")
        except (DataError, OSError, RuntimeError, subprocess.SubprocessError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            tried.append(f"{source}: {reason}")
            say(f"data: {source}: {reason}")
            continue
        say(f"data: fashion-mnist from {source}, {len(dataset.train):,} + {len(dataset.test):,} images in {target}")
        return dataset
    raise DatasetUnavailableError(
        "fashion-mnist is not to be had here (" + "; ".join(tried) + "); give a folder with its four IDX files: --data FOLDER"
    )


def _fetch_into(target: Path, fetch: Callable[[Path], Path]) -> None:
    """Fetch into a temporary folder beside ``target`` and move it there whole: nothing partial is ever taken for complete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as scratch:
        found = fetch(Path(scratch))
        read_dataset(found, "fashion-mnist")
        if target.exists():
            shutil.rmtree(target)
        found.rename(target)


def _torchvision(scratch: Path) -> Path:
    from torchvision.datasets import FashionMNIST

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_S)
    try:
        FashionMNIST(str(scratch), download=True)
    finally:
        socket.setdefaulttimeout(before)
    return scratch / "FashionMNIST" / "raw"


def _debian(scratch: Path) -> Path:
    """``apt-get download`` and ``dpkg -x``: needs no root. Package lists are made afresh in ``scratch`` if the system has none."""
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise DataError("no apt-get and dpkg on this machine")
    if _apt(scratch, "download", DEBIAN_PACKAGE).returncode != 0:
        (scratch / "lists" / "partial").mkdir(parents=True)
        (scratch / "archives" / "partial").mkdir(parents=True)
        own = [f"-oDir::State::Lists={scratch}/lists", f"-oDir::Cache={scratch}", "-oAPT::Sandbox::User="]
        _apt(scratch, *own, "update")
        last = _apt(scratch, *own, "download", DEBIAN_PACKAGE)
        if last.returncode != 0:
            raise DataError(f"apt-get download {DEBIAN_PACKAGE}: {(last.stderr.strip() or 'failed').splitlines()[-1]}")
    package = next(scratch.glob("*.deb"))
    subprocess.run(["dpkg", "-x", package.name, "unpacked"], cwd=scratch, check=True, timeout=APT_TIMEOUT_S, capture_output=True)
    return scratch / "unpacked" / "usr" / "share" / "datasets" / "fashion-mnist"


def _apt(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["apt-get", "-q", *arguments], cwd=folder, check=False, timeout=APT_TIMEOUT_S, capture_output=True, text=True)
