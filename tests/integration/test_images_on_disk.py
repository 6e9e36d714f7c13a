"""Images that are decoded when they are asked for: the same pixels as in memory, whoever
asks, whatever was there before."""

import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.support.makers import png
from tests.support.zoos import TINY
from zooaudit.auditing.context import Context
from zooaudit.auditing.pipeline import run_audit
from zooaudit.config import OwnTraining
from zooaudit.data.decode import decode_image
from zooaudit.data.encoded import Files, content_digest
from zooaudit.data.images import Dataset, ImageSet
from zooaudit.data.on_disk import ImagesOnDisk, ahead
from zooaudit.errors import DataError
from zooaudit.storage.opening import open_store
from zooaudit.training.farm import SerialFarm
from zooaudit.zoo.own_training import train

COUNT = 12


def as_files(images: Tensor, folder: Path) -> ImagesOnDisk:
    """The images as PNG files, which nobody has decoded yet."""
    folder.mkdir(parents=True)
    for i, image in enumerate(images.numpy()):
        (folder / f"{i:05}.png").write_bytes(png(image))
    c, h, w = images.shape[1:]
    return ImagesOnDisk(Files(sorted(folder.glob("*.png"))), decode_image, (c, h, w), folder / "kept")


def test_an_audit_of_data_on_disk_is_that_of_data_in_memory_to_the_bit(
    digits: Dataset, tmp_path: Path
) -> None:
    parts = {
        name: ImageSet(as_files(part.images, tmp_path / name), part.labels)
        for name, part in vars(digits).items()
        if name in PARTS
    }
    on_disk = replace(digits, **parts)
    assert on_disk.digest != digits.digest and on_disk.channel_stats == digits.channel_stats
    vars(on_disk)["digest"] = digits.digest  # what ids and seeds follow from
    recipe = replace(TINY, zoo=replace(TINY.zoo, twins=2, references=4))
    first, second = (
        run_audit(Context(recipe, data, open_store("memory:"), SerialFarm(), lambda _: None))
        for data in (digits, on_disk)
    )
    assert [s.verdict for s in first.suspects] == [s.verdict for s in second.suspects]
    assert [s.examined.verdict for s in first.suspects] == [s.examined.verdict for s in second.suspects]


def test_batches_are_read_ahead_in_order(folder: Path, tmp_path: Path) -> None:
    lazy, expected = images(folder, tmp_path / "kept"), whole(folder)
    batches = list(torch.randperm(COUNT).split(2))
    for way in (lazy, expected):
        assert all(
            torch.equal(found, expected[batch])
            for found, batch in zip(ahead(way, batches), batches, strict=True)
        )
    assert not list(ahead(lazy, []))


def test_a_function_that_takes_the_images_is_not_given_what_does_not_fit(
    folder: Path, tmp_path: Path
) -> None:
    part = ImageSet(images(folder, tmp_path / "kept"), torch.zeros(COUNT, dtype=torch.int64))
    own = OwnTraining("tests.support.makers:Affine", "", function=f"{__name__}:takes_images")
    trained = train(own, 1, Dataset("d", part, part, ("a",), ""))
    assert (
        trained.module is None
        and "these do not fit in memory; expected function(seed), or --train-command" in trained.reason
    )


def takes_images(images: Tensor, labels: Tensor, seed: int) -> None:
    """Never called."""


PARTS = ("train", "test")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve small coloured PNGs."""
    made = tmp_path_factory.mktemp("images")
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, 6, 5, 3), dtype=np.uint8)
    for i, image in enumerate(pixels):
        (made / f"{i:02}.png").write_bytes(png(image.transpose(2, 0, 1)))
    return made


def files(folder: Path) -> Files:
    return Files(sorted(folder.glob("*.png")))


def images(folder: Path, kept: Path) -> ImagesOnDisk:
    return ImagesOnDisk(files(folder), decode_image, (3, 6, 5), kept)


def whole(folder: Path) -> Tensor:
    return torch.stack([decode_image(p.read_bytes(), p.name) for p in sorted(folder.glob("*.png"))])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, COUNT - 1), max_size=6), min_size=1, max_size=4))
def test_any_batches_are_those_of_a_tensor(
    tmp_path_factory: pytest.TempPathFactory, folder: Path, batches: list[list[int]]
) -> None:
    lazy, expected = images(folder, tmp_path_factory.mktemp("kept") / "images"), whole(folder)
    for batch in batches:
        index = torch.tensor(batch, dtype=torch.int64)
        assert torch.equal(lazy[index], expected[index])


def test_it_acts_as_a_tensor(folder: Path, tmp_path: Path) -> None:
    lazy, expected = images(folder, tmp_path / "kept"), whole(folder)
    assert (
        lazy.shape == expected.shape
        and len(lazy) == COUNT
        and lazy.numel() == expected.numel()
        and lazy.dtype is torch.uint8
    )
    assert torch.equal(lazy[2:7], expected[2:7]) and torch.equal(lazy[:], expected)
    assert torch.equal(torch.cat(list(lazy.split(5))), expected)
    rows = torch.tensor([7, 1, 1])
    assert torch.equal(lazy.take(rows)[torch.tensor([2, 0])], expected[rows][[2, 0]])
    with pytest.raises(TypeError, match="int64"):
        lazy[torch.zeros(2, 2, dtype=torch.int64)]


def test_what_was_decoded_is_not_decoded_again(folder: Path, tmp_path: Path) -> None:
    first = images(folder, tmp_path / "kept")[:]
    again = ImagesOnDisk(files(folder), never, (3, 6, 5), tmp_path / "kept")
    assert torch.equal(again[:], first)


def never(raw: bytes, where: str) -> Tensor:
    raise AssertionError(f"{where} was decoded")


def test_what_a_crash_tore_is_decoded_again(folder: Path, tmp_path: Path) -> None:
    expected = images(folder, tmp_path / "kept")[:]
    with (tmp_path / "kept").open("r+b") as file:
        file.seek(3 * 90 + 7)
        file.write(b"\x00\x01\x02")
    (tmp_path / "short").write_bytes((tmp_path / "kept").read_bytes()[:500])
    (tmp_path / "short.sums").write_bytes((tmp_path / "kept.sums").read_bytes())
    for name in ("kept", "short"):
        assert torch.equal(images(folder, tmp_path / name)[:], expected)


def test_an_image_of_another_size_names_itself(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.png"
    other.write_bytes(png(np.zeros((3, 9, 5), dtype=np.uint8)))
    lazy = ImagesOnDisk(
        Files([*sorted(folder.glob("*.png")), other]), decode_image, (3, 6, 5), tmp_path / "kept"
    )
    assert len(lazy[:COUNT]) == COUNT
    with pytest.raises(
        DataError, match=r"other\.png is 3 x 9 x 5 .* others are 3 x 6 x 5; expected one size: give --size"
    ):
        lazy[torch.tensor([COUNT])]


def test_a_file_that_is_gone_names_itself(folder: Path, tmp_path: Path) -> None:
    lazy = ImagesOnDisk(Files([tmp_path / "gone.png"]), decode_image, (3, 6, 5), tmp_path / "kept")
    with pytest.raises(DataError, match=r"gone\.png can no longer be read \(No such file"):
        lazy[:]


def asked(lazy: ImagesOnDisk, start: int) -> Tensor:
    return torch.cat([lazy[torch.tensor([(start + i) % COUNT])] for i in range(COUNT)])


@pytest.mark.processes
def test_processes_share_what_is_kept(folder: Path, tmp_path: Path) -> None:
    lazy = images(folder, tmp_path / "kept")
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.starmap(asked, [(lazy, start) for start in (0, 5)])
    expected = whole(folder)
    assert torch.equal(found[0], expected) and torch.equal(found[1], expected.roll(-5, 0))


def test_the_digest_is_of_content_and_order(folder: Path, tmp_path: Path) -> None:
    paths = sorted(folder.glob("*.png"))
    first = content_digest(Files(paths))
    assert first == content_digest(Files(paths)) != content_digest(Files(paths[::-1]))
    changed = tmp_path / "00.png"
    changed.write_bytes(paths[0].read_bytes() + b" ")
    assert content_digest(Files([changed, *paths[1:]])) != first
