"""Finding a dataset: the user's folder alone, or the cache, a download and, for
Fashion-MNIST, the Debian package in turn.

No network: torchvision downloads from a server in this process, apt and CIFAR-10's archive
come from a folder.
"""

import functools
import gzip
import hashlib
import http.server
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import FashionMNIST

from tests.support.downloads import Said
from tests.support.makers import pixels, write_idx
from zooaudit.data.images import Dataset
from zooaudit.data.places import default_cache
from zooaudit.data.resolve import DEBIAN_PACKAGE, DatasetUnavailableError, load_digits, resolve
from zooaudit.errors import ConfigError, DataError

IMAGES, LABELS = pixels(20, seed=4)[:, 0], np.arange(20) % 10


def write_fashion(folder: Path) -> Path:
    return write_idx(folder, (IMAGES, LABELS), (IMAGES[:10], LABELS[:10]))


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that torchvision's FashionMNIST downloads from, holding the four files it looks for."""
    folder = tmp_path / "served"
    resources = []
    for path in sorted(write_fashion(folder).iterdir()):
        packed = path.with_name(path.name + ".gz")
        packed.write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
        resources.append((packed.name, hashlib.md5(packed.read_bytes()).hexdigest()))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setattr(FashionMNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
    monkeypatch.setattr(FashionMNIST, "resources", resources)
    yield folder
    server.shutdown()
    server.server_close()


@pytest.fixture
def no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torchvision finds nobody at its address."""
    monkeypatch.setattr(FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])


@pytest.fixture
def no_apt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine that is not a Debian."""
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


def test_digits_are_there_without_any_download(digits: Dataset) -> None:
    assert (len(digits.train), len(digits.test)) == (1347, 450)
    assert digits.image_shape == (1, 8, 8)
    assert digits.num_classes == 10
    assert int(digits.train.images.max()) == 255
    assert digits.digest == load_digits().digest
    assert torch.unique(digits.test.labels).tolist() == list(range(10))


def test_digits_are_split_not_shared(digits: Dataset) -> None:
    from sklearn.datasets import load_digits as source

    pairs = {
        (image.numpy().tobytes(), int(label))
        for part in (digits.train, digits.test)
        for image, label in zip(*vars(part).values(), strict=True)
    }
    bunch = source()
    expected = {
        ((i * 255 / 16).round().astype("uint8").tobytes(), int(y))
        for i, y in zip(bunch.images, bunch.target, strict=True)
    }
    assert pairs == expected


def test_unknown_name_lists_the_known_and_the_way_out() -> None:
    with pytest.raises(
        ConfigError,
        match=r"unknown dataset 'svhn'; known: digits, .*cifar10.*; or give your own with --data FOLDER",
    ):
        resolve("svhn")


def test_a_given_folder_is_read_and_nothing_else_tried(tmp_path: Path) -> None:
    said = Said()
    data = resolve("cifar10", folder=write_fashion(tmp_path / "mine"), say=said)
    assert (data.name, len(data.train)) == ("cifar10", 20)
    with pytest.raises(DataError, match="is not a folder"):
        resolve("digits", folder=tmp_path / "nowhere", say=said)
    assert said == [f"data: reading {tmp_path / 'mine'}", f"data: reading {tmp_path / 'nowhere'}"]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"ZOOAUDIT_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/zooaudit"),
        ({"XDG_CACHE_HOME": "", "HOME": "/c"}, "/c/.cache/zooaudit"),
    ],
)
def test_where_the_cache_is(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ZOOAUDIT_CACHE", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert default_cache() == Path(expected)


@pytest.mark.usefixtures("no_download", "no_apt")
def test_the_cache_comes_first(tmp_path: Path) -> None:
    write_fashion(tmp_path / "cache" / "fashion-mnist")
    data = resolve("fashion-mnist", cache=tmp_path / "cache")
    assert np.array_equal(data.train.images[:, 0].numpy(), IMAGES)
    assert data.classes[:2] == ("T-shirt/top", "Trouser")
    assert data.source == str(tmp_path / "cache" / "fashion-mnist")


@pytest.mark.usefixtures("no_apt")
def test_a_download_fills_the_cache(served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = Said()
    data = resolve("fashion-mnist", cache=tmp_path / "cache", say=said)
    assert np.array_equal(data.train.images[:, 0].numpy(), IMAGES)
    assert [line.partition(", 20 + 10")[0] for line in said[1:]] == [
        "data: trying torchvision's download",
        "data: fashion-mnist from torchvision's download",
    ]
    monkeypatch.setattr(FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])
    again = resolve("fashion-mnist", cache=tmp_path / "cache")
    assert again.digest == data.digest
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["fashion-mnist"], "scratch was left behind"


@pytest.mark.usefixtures("no_apt", "served")
def test_a_damaged_cache_is_replaced(tmp_path: Path) -> None:
    folder = write_fashion(tmp_path / "cache" / "fashion-mnist")
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:100])
    said = Said()
    assert len(resolve("fashion-mnist", cache=tmp_path / "cache", say=said).train) == 20
    assert "its header says" in said[0], said


@pytest.mark.usefixtures("no_apt")
def test_a_corrupt_download_is_thrown_away(served: Path, tmp_path: Path) -> None:
    for path in served.iterdir():
        path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DatasetUnavailableError) as caught:
        resolve("fashion-mnist", cache=tmp_path / "cache")
    for text in (
        "cache: ",
        "does not exist",
        "torchvision's download: ",
        "Debian package: no apt-get",
        "--data FOLDER",
    ):
        assert text in str(caught.value), str(caught.value)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Debian repository in a folder, the only one that apt knows; it holds the package
    with the four files."""
    root = tmp_path / "package"
    write_fashion(root / "usr" / "share" / "datasets" / "fashion-mnist")
    (root / "DEBIAN").mkdir()
    control = (
        f"Package: {DEBIAN_PACKAGE}\nVersion: 1\nArchitecture: all\nMaintainer: nobody"
        " <n@example.org>\nDescription: test\n"
    )
    (root / "DEBIAN" / "control").write_text(control)
    repository = tmp_path / "repository"
    repository.mkdir()
    package = repository / f"{DEBIAN_PACKAGE}_1_all.deb"
    subprocess.run(
        ["dpkg-deb", "--build", "-Znone", str(root), str(package)], check=True, capture_output=True
    )
    sha = hashlib.sha256(package.read_bytes()).hexdigest()
    (repository / "Packages").write_text(
        f"{control}Filename: ./{package.name}\nSize: {package.stat().st_size}\nSHA256: {sha}\n"
    )
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] file:{repository} ./\n")
    (tmp_path / "lists" / "partial").mkdir(parents=True)
    settings = {
        "Dir::Etc::sourcelist": tmp_path / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": tmp_path / "lists",
    }
    (tmp_path / "apt.conf").write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()))
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    return repository


@pytest.mark.usefixtures("no_download")
def test_the_debian_package_is_the_last_resort(debian: Path, tmp_path: Path) -> None:
    said = Said()
    data = resolve("fashion-mnist", cache=tmp_path / "cache", say=said)
    assert np.array_equal(data.train.images[:, 0].numpy(), IMAGES)
    assert said[-1].startswith("data: fashion-mnist from Debian package"), said
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["fashion-mnist"]


@pytest.mark.usefixtures("no_download")
def test_nothing_anywhere_lists_what_was_tried(debian: Path, tmp_path: Path) -> None:
    (debian / "Packages").write_text("")
    with pytest.raises(DatasetUnavailableError) as caught:
        resolve("fashion-mnist", cache=tmp_path / "cache")
    for text in (
        "cache: ",
        "torchvision's download: ",
        f"Debian package: apt-get download {DEBIAN_PACKAGE}",
        "--data FOLDER",
    ):
        assert text in str(caught.value), str(caught.value)
    assert list((tmp_path / "cache").iterdir()) == []
