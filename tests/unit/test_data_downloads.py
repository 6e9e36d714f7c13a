"""CIFAR and Tiny ImageNet: downloaded, checked, kept, or given."""

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from tests.support.downloads import Said
from tests.support.makers import cifar_files, pixels
from zooaudit.data import cifar
from zooaudit.data.resolve import DatasetUnavailableError, first_classes, resolve


@pytest.fixture
def authors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The archive that CIFAR-10's authors offer, at an address of this machine."""
    content = packed(tmp_path / "authors")
    archive = tmp_path / "cifar-10-binary.tar.gz"
    archive.write_bytes(content)
    monkeypatch.setattr(cifar, "URL", archive.as_uri())
    monkeypatch.setattr(cifar, "MD5", hashlib.md5(content).hexdigest())
    return content


@pytest.mark.usefixtures("authors")
def test_cifar_is_downloaded_in_its_binary_version_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = Said()
    data = resolve("cifar10", cache=tmp_path / "cache", say=said)
    assert (len(data.train), len(data.test), data.classes[0]) == (15, 3, "airplane")
    assert said[1:] == [
        "data: trying its authors' download",
        f"data: cifar10 from its authors' download, 15 + 3 images in {tmp_path / 'cache' / 'cifar10'}",
    ]
    monkeypatch.setattr(cifar, "URL", "http://127.0.0.1:9/")
    assert resolve("cifar10", cache=tmp_path / "cache").digest == data.digest
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["cifar10"], "scratch was left behind"
    assert sorted(p.name for p in (tmp_path / "cache" / "cifar10").iterdir()) == sorted(cifar.FILES)
    assert not list(tmp_path.rglob("outside.py")), "nothing else of the archive is unpacked"


@pytest.mark.usefixtures("authors")
def test_a_download_with_another_checksum_is_thrown_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar, "MD5", "0" * 32)
    with pytest.raises(
        DatasetUnavailableError,
        match=rf"has MD5 [0-9a-f]{{32}}; expected {'0' * 32}: the download is damaged",
    ):
        resolve("cifar10", cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_no_cifar_anywhere_says_what_would_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar, "URL", "http://127.0.0.1:9/cifar-10-binary.tar.gz")
    with pytest.raises(DatasetUnavailableError) as caught:
        resolve("cifar10", cache=tmp_path / "cache")
    for text in (
        "cache: ",
        "does not exist",
        "its authors' download: ",
        "binary version",
        "Parquet",
        "--data FOLDER",
        "never opened",
    ):
        assert text in str(caught.value), str(caught.value)


def test_tiny_imagenet_must_be_given(tmp_path: Path) -> None:
    for name in ("tiny-imagenet", "tiny-imagenet-50"):
        with pytest.raises(DatasetUnavailableError) as caught:
            resolve(name, cache=tmp_path / "cache")
        for text in (
            "tiny-imagenet cannot be had here",
            "cache: ",
            "tiny-imagenet-200.zip",
            "Parquet",
            "--data FOLDER",
        ):
            assert text in str(caught.value), str(caught.value)


@pytest.mark.parametrize("given", ["folder", "cache"])
def test_a_subset_is_the_first_classes(given: str, tmp_path: Path) -> None:
    labels = np.arange(120) % 60
    folder = tmp_path / "tiny-imagenet"
    folder.mkdir()
    for part, count in (("train", 120), ("test", 60)):
        np.savez(folder / f"{part}.npz", images=pixels(count, channels=3), labels=labels[:count])
    data = (
        resolve("tiny-imagenet-50", folder)
        if given == "folder"
        else resolve("tiny-imagenet-50", cache=tmp_path)
    )
    assert (data.name, data.num_classes) == ("tiny-imagenet-50", 50)
    assert data.train.labels.tolist() == [*range(50), *range(50)]
    assert np.array_equal(data.train.images[50:].numpy(), pixels(120, channels=3)[60:110])
    assert len(data.test) == 50
    whole = resolve("tiny-imagenet", folder)
    assert (len(whole.train), whole.num_classes) == (120, 60)
    assert first_classes(whole, 60, "whole").digest == whole.digest


def packed(folder: Path, names: list[str] | None = None) -> bytes:
    """CIFAR-10's binary archive, or one with only some of its files."""
    cifar_files(folder / cifar.BINARY)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path in sorted((folder / cifar.BINARY).iterdir()):
            if names is None or path.name in names:
                archive.add(path, f"{cifar.BINARY}/{path.name}")
        archive.add(__file__, "../outside.py")
    return buffer.getvalue()
