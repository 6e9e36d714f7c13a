"""The tiny-imagenet-200 folder as it is published, with fewer classes and images."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zooaudit.data.readers import read_dataset
from zooaudit.errors import DataError

IDS = ["n03", "n01", "n02"]
"""Not sorted: their order is that of the labels."""
WORDS = "n01\tant, pismire\nn02\tbee\nn03\tcat\nn99\tnobody\n"


def jpeg(shade: int, size: int = 64, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (size, size), shade if mode == "L" else (shade, shade, shade)).save(buffer, "JPEG")
    return buffer.getvalue()


def tiny(folder: Path, ids: list[str] = IDS) -> Path:
    """Two training images and one validation image a class; an image's shade is 40 times
    its label, plus its number."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "wnids.txt").write_text("\n".join(ids) + "\n")
    (folder / "words.txt").write_text(WORDS)
    lines = []
    (folder / "val" / "images").mkdir(parents=True)
    for label, id_ in enumerate(ids):
        images = folder / "train" / id_ / "images"
        images.mkdir(parents=True)
        for i in range(2):
            (images / f"{id_}_{i}.JPEG").write_bytes(jpeg(40 * label + i, mode="L" if label == 1 else "RGB"))
        (folder / "train" / id_ / f"{id_}_boxes.txt").write_text("n01_0.JPEG\t0\t0\t62\t62\n")
        name = f"val_{len(ids) - label}.JPEG"
        (folder / "val" / "images" / name).write_bytes(jpeg(40 * label + 9))
        lines.append(f"{name}\t{id_}\t0\t32\t44\t62\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(reversed(lines)))
    (folder / "test" / "images").mkdir(parents=True)
    (folder / "test" / "images" / "test_0.JPEG").write_bytes(jpeg(200))
    return folder


def refused(folder: Path, *expected: str) -> None:
    with pytest.raises(DataError) as caught:
        read_dataset(folder, "tiny-imagenet")
    for text in expected:
        assert text in str(caught.value), str(caught.value)


@pytest.mark.parametrize("inside", ["", "tiny-imagenet-200"])
def test_classes_are_in_the_order_of_wnids_txt(inside: str, tmp_path: Path) -> None:
    tiny(tmp_path / inside)
    data = read_dataset(tmp_path, "tiny-imagenet")
    assert data.classes == ("n03 cat", "n01 ant", "n02 bee")
    assert data.image_shape == (3, 64, 64), "grey images became coloured"
    assert data.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    shades = data.train.images.float().mean((1, 2, 3)).round()
    assert np.allclose(shades, [0, 1, 40, 41, 80, 81], atol=2)


def test_validation_images_are_the_test_set_with_their_listed_classes(tmp_path: Path) -> None:
    test = read_dataset(tiny(tmp_path), "tiny-imagenet").test
    assert test.labels.tolist() == [2, 1, 0]
    assert np.allclose(test.images.float().mean((1, 2, 3)), [89, 49, 9], atol=2)


def test_a_class_without_words_goes_by_its_id(tmp_path: Path) -> None:
    (tiny(tmp_path) / "words.txt").write_text("n01\tant\n")
    assert read_dataset(tmp_path, "tiny-imagenet").classes == ("n03", "n01 ant", "n02")


def test_a_class_that_is_not_there_is_named(tmp_path: Path) -> None:
    folder = tiny(tmp_path)
    for path in (folder / "train" / "n02" / "images").iterdir():
        path.unlink()
    refused(folder, str(folder / "train" / "n02" / "images"), "holds no .JPEG", "wnids.txt lists")


def test_an_annotation_of_another_class_is_named(tmp_path: Path) -> None:
    path = tiny(tmp_path) / "val" / "val_annotations.txt"
    path.write_text(path.read_text() + "val_9.JPEG\tn77\t0\t0\t1\t1\n")
    refused(tmp_path, str(path), "line 4", "'n77' is not in wnids.txt", "expected one of n03, n01, n02")


def test_an_annotation_without_a_class_is_named(tmp_path: Path) -> None:
    path = tiny(tmp_path) / "val" / "val_annotations.txt"
    path.write_text("val_1.JPEG\n")
    refused(tmp_path, str(path), "line 1", "class '' is not in wnids.txt")


def test_a_listed_image_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tiny(tmp_path) / "val" / "images" / "val_2.JPEG"
    path.unlink()
    refused(tmp_path, str(path), "not a readable JPEG file")


@pytest.mark.parametrize("name", ["words.txt", "val/val_annotations.txt"])
def test_missing_lists_are_named(name: str, tmp_path: Path) -> None:
    path = tiny(tmp_path) / name
    path.unlink()
    refused(tmp_path, str(path), "not a readable text file")


@pytest.mark.parametrize(
    ("name", "expected"), [("wnids.txt", "is empty"), ("val/val_annotations.txt", "holds no images")]
)
def test_empty_lists_are_named(name: str, expected: str, tmp_path: Path) -> None:
    (tiny(tmp_path) / name).write_text("")
    refused(tmp_path, str((tmp_path / name).parent), expected)


def test_an_image_of_another_size_is_refused(tmp_path: Path) -> None:
    (tiny(tmp_path) / "train" / "n01" / "images" / "n01_1.JPEG").write_bytes(jpeg(5, size=32))
    refused(tmp_path, str(tmp_path / "train"), "(32, 32), (64, 64)", "expected one size")


def test_a_corrupt_image_is_named(tmp_path: Path) -> None:
    path = tiny(tmp_path) / "train" / "n01" / "images" / "n01_1.JPEG"
    path.write_bytes(path.read_bytes()[:200])
    refused(tmp_path, str(path), "not a readable image")
