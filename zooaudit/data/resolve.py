"""Find a data set: the user's folder, a cache, a download; report what is tried, and keep nothing partial."""

import hashlib
import shutil
import socket
import subprocess
import tarfile
import tempfile
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from zooaudit.data import cifar, tiny_imagenet
from zooaudit.data.images import Dataset, ImageSet
from zooaudit.data.places import default_cache
from zooaudit.data.readers import read_dataset
from zooaudit.data.reading import PLAIN, Reading
from zooaudit.data.splits import random_part
from zooaudit.errors import ConfigError, DataError

Say = Callable[[str], None]
DATASETS = ("digits", "fashion-mnist", "cifar10", "tiny-imagenet")
SUBSETS = {"tiny-imagenet-50": ("tiny-imagenet", 50)}
"""Data sets that consist of the first classes of another."""
DEBIAN_PACKAGE = "dataset-fashion-mnist"
DOWNLOAD_TIMEOUT_S = 20.0
APT_TIMEOUT_S = 180.0
WAYS_OUT = {
    "fashion-mnist": "give a folder with its four IDX files: --data FOLDER",
    "cifar10": (
        f"give a folder with its binary version ({cifar.URL}, unpacked), Parquet in the Hugging Face image"
        " convention, or a folder per class: --data FOLDER (torchvision's own download is pickles, which are"
        " never opened)"
    ),
    "tiny-imagenet": (
        f"give the tiny-imagenet-200 folder ({tiny_imagenet.URL}, unpacked) or Parquet in the Hugging Face"
        " image convention, all of its classes or some: --data FOLDER"
    ),
}


class DatasetUnavailableError(DataError):
    """Every source of a known data set was tried, and none had it."""


def resolve(
    name: str,
    folder: Path | None = None,
    cache: Path | None = None,
    say: Say = lambda _: None,
    reading: Reading = PLAIN,
) -> Dataset:
    """Find data set ``name``, trying in order: ``folder``, ``cache``, and its downloads and Debian packages,
    if any.

    Args:
        name: one of ``DATASETS`` or ``SUBSETS``; any name for the user's own ``folder``.
        folder: the user's data; if given, nothing else is tried, so that an audit never runs on other data.
        say: called with each source and its result, and with the notes on the user's folder.
        reading: how the user's folder is read; unused without one.

    Raises:
        DataError: the user's folder cannot be read.
        DatasetUnavailableError: no source had it; the message lists what was tried.
        ConfigError: the name is unknown and no folder was given.
    """
    if name in SUBSETS:
        whole, count = SUBSETS[name]
        return first_classes(resolve(whole, folder, cache, say, reading), count, name)
    if folder is not None:
        say(f"data: reading {folder}")
        return _reported(read_dataset(folder, name, reading), say)
    if reading != PLAIN:
        raise ConfigError(
            f"options that say how images are read go with --data; {name} is read as it is published"
        )
    if name not in DATASETS:
        raise ConfigError(
            f"unknown dataset {name!r}; known: {', '.join((*DATASETS, *SUBSETS))}; or give your own with"
            " --data FOLDER"
        )
    if name == "digits":
        say("data: scikit-learn's digits (no download)")
        return load_digits()
    return _known(name, (cache or default_cache()) / name, say)


def _reported(dataset: Dataset, say: Say) -> Dataset:
    for note in dataset.found.notes if dataset.found else ():
        say(f"data: {note}")
    if dataset.found and dataset.found.sizing:
        say(f"data: images are {dataset.found.sizing}")
    return dataset


def first_classes(dataset: Dataset, count: int, name: str) -> Dataset:
    """The images of the first ``count`` classes, or all if there are fewer."""
    parts = [part.take((part.labels < count).nonzero().flatten()) for part in (dataset.train, dataset.test)]
    return replace(dataset, name=name, train=parts[0], test=parts[1], classes=dataset.classes[:count])


def load_digits() -> Dataset:
    """scikit-learn's 1,797 digits, 8 x 8, always split into the same 1,347 for training and 450 for
    testing."""
    from sklearn.datasets import load_digits as sklearn_digits

    bunch = sklearn_digits()
    images = torch.from_numpy((bunch.images * 255 / 16).round().astype("uint8")).unsqueeze(1)
    labels = torch.from_numpy(bunch.target.astype("int64"))
    test = torch.zeros(len(images), dtype=torch.bool)
    test[random_part(len(images), 450 / len(images), seed=0)] = True
    everything = ImageSet(images, labels)
    parts = [everything.take(mask.nonzero().flatten()) for mask in (~test, test)]
    return Dataset("digits", parts[0], parts[1], tuple("0123456789"), "scikit-learn")


def _known(name: str, target: Path, say: Say) -> Dataset:
    sources: dict[str, dict[str, Callable[[Path], Path]]] = {
        "fashion-mnist": {"torchvision's download": _torchvision, "Debian package": _debian},
        "cifar10": {"its authors' download": _cifar_archive},
    }
    tried = []
    for source, fetch in {"cache": None, **sources.get(name, {})}.items():
        try:
            if fetch is not None:
                say(f"data: trying {source}")
                _fetch_into(target, fetch, name)
            elif not target.is_dir():
                raise DataError(f"{target} does not exist")
            dataset = read_dataset(target, name)
        except (DataError, OSError, RuntimeError, subprocess.SubprocessError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            tried.append(f"{source}: {reason}")
            say(f"data: {source}: {reason}")
            continue
        say(f"data: {name} from {source}, {len(dataset.train):,} + {len(dataset.test):,} images in {target}")
        return dataset
    raise DatasetUnavailableError(f"{name} cannot be had here (" + "; ".join(tried) + f"); {WAYS_OUT[name]}")


def _fetch_into(target: Path, fetch: Callable[[Path], Path], name: str) -> None:
    """Fetch into a temporary folder next to ``target`` and move it there when complete, so that nothing
    partial is mistaken for the whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as scratch:
        found = fetch(Path(scratch))
        read_dataset(found, name)
        if target.exists():
            shutil.rmtree(target)
        found.rename(target)


def _cifar_archive(scratch: Path) -> Path:
    """The authors' binary archive, checked against their MD5; only its expected files are extracted."""
    archive = scratch / "archive.tar.gz"
    with (
        urllib.request.urlopen(cifar.URL, timeout=DOWNLOAD_TIMEOUT_S) as response,
        archive.open("wb") as file,
    ):
        shutil.copyfileobj(response, file)
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != cifar.MD5:
        raise DataError(f"{cifar.URL} has MD5 {found}; expected {cifar.MD5}: the download is damaged")
    folder = scratch / cifar.BINARY
    folder.mkdir()
    with tarfile.open(archive) as packed:
        for name in cifar.FILES:
            member = packed.extractfile(f"{cifar.BINARY}/{name}")
            if member is None:
                raise DataError(f"{cifar.URL}: {name} is not a file")
            (folder / name).write_bytes(member.read())
    return folder


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
    """``apt-get download`` and ``dpkg -x``: needs no root. If the system has no package lists, they are made
    in ``scratch``."""
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise DataError("no apt-get and dpkg on this machine")
    if _apt(scratch, "download", DEBIAN_PACKAGE).returncode != 0:
        (scratch / "lists" / "partial").mkdir(parents=True)
        (scratch / "archives" / "partial").mkdir(parents=True)
        own = [f"-oDir::State::Lists={scratch}/lists", f"-oDir::Cache={scratch}", "-oAPT::Sandbox::User="]
        _apt(scratch, *own, "update")
        last = _apt(scratch, *own, "download", DEBIAN_PACKAGE)
        if last.returncode != 0:
            raise DataError(
                f"apt-get download {DEBIAN_PACKAGE}: {(last.stderr.strip() or 'failed').splitlines()[-1]}"
            )
    package = next(scratch.glob("*.deb"))
    subprocess.run(
        ["dpkg", "-x", package.name, "unpacked"],
        cwd=scratch,
        check=True,
        timeout=APT_TIMEOUT_S,
        capture_output=True,
    )
    return scratch / "unpacked" / "usr" / "share" / "datasets" / "fashion-mnist"


def _apt(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["apt-get", "-q", *arguments],
        cwd=folder,
        check=False,
        timeout=APT_TIMEOUT_S,
        capture_output=True,
        text=True,
    )
