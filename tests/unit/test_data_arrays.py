"""Arrays: Keras' .npz, parts as .npz and .npy, numbers of every range and type, labels in
every form; nothing is unpickled."""

import gzip
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.data_folders import refused, told
from tests.support.makers import pixels, write_idx
from zooaudit.data.readers import read_dataset
from zooaudit.data.reading import Reading

GREY, COLOURED = pixels(12, seed=4), pixels(12, channels=3, seed=5)
for _images in (GREY, COLOURED):
    _images.flat[:2] = (0, 255)  # a range that is filled
LABELS = np.arange(12) % 3


def parts(
    folder: Path, images: np.ndarray, labels: Any = LABELS, test: np.ndarray | None = None, **more: Any
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "train.npz", images=images, labels=labels, **more)
    np.savez(folder / "test.npz", images=images if test is None else test, labels=labels, **more)
    return folder


def check(folder: Path, images: np.ndarray, reading: Reading | None = None) -> str:
    data = read_dataset(folder, "mine", reading or Reading())
    assert np.array_equal(data.train.images.numpy(), images)
    assert data.train.labels.tolist() == LABELS.tolist()
    return told(data)


@pytest.mark.parametrize("form", [("x_{}", "y_{}"), ("{}_images", "{}_labels")])
def test_keras_files_hold_both_parts(form: tuple[str, str], tmp_path: Path) -> None:
    arrays = {form[0].format(p): GREY[:, 0] for p in ("train", "test")} | {
        form[1].format(p): LABELS[:, None] for p in ("train", "test")
    }
    np.savez(tmp_path / "mnist.npz", **arrays)
    assert check(tmp_path, GREY) == check(tmp_path / "mnist.npz", GREY) == ""
    np.savez(tmp_path / "other.npz", **arrays)
    refused(
        tmp_path, "mnist.npz", "other.npz", "each hold x_train and x_test; expected one: give the file itself"
    )


def test_pairs_of_npy(tmp_path: Path) -> None:
    for part in ("train", "test"):
        np.save(tmp_path / f"x_{part}.npy", GREY)
        np.save(tmp_path / f"y_{part}.npy", np.eye(3)[LABELS])
    check(tmp_path, GREY)
    (tmp_path / "y_test.npy").unlink()
    refused(tmp_path, "expected test.npz")


@pytest.mark.parametrize(
    ("stored", "note"),
    [
        ((GREY / 255).astype(np.float32), "0 becomes 0, 1 becomes 255"),
        ((GREY / 255).astype(np.float16), "0 becomes 0, 1 becomes 255"),
        (GREY / 127.5 - 1, "-1 becomes 0, 1 becomes 255"),
        (GREY.astype(np.float64), "0 becomes 0, 255 becomes 255"),
        (GREY.astype(np.int64), "0 becomes 0, 255 becomes 255"),
        (GREY.astype(np.uint16) * 257, "0 becomes 0, 65535 becomes 255"),
    ],
)
def test_a_certain_range_gives_back_the_bytes_and_is_said(
    stored: np.ndarray, note: str, tmp_path: Path
) -> None:
    assert note in check(parts(tmp_path, stored), GREY)


def test_true_and_false_are_white_and_black(tmp_path: Path) -> None:
    check(parts(tmp_path, GREY > 127), (GREY > 127) * np.uint8(255))


@pytest.mark.parametrize(
    ("stored", "given"),
    [
        ((GREY / 255 - 0.4) / 0.3, (-0.4 / 0.3, 0.6 / 0.3)),
        (GREY / 255 * 0.5, (0, 0.5)),
        (GREY / 255 - 0.5, (-0.5, 0.5)),
        (GREY.astype(np.float32) / 16, (0, 255 / 16)),
        (GREY.astype(np.int32) * 100, (0, 25500)),
        (GREY.astype(np.uint16) * 16, (0, 4080)),
        ((GREY.astype(np.int16) - 128).astype(np.int8), (-128, 127)),
    ],
)
def test_any_other_range_is_refused_until_told(
    stored: np.ndarray, given: tuple[float, float], tmp_path: Path
) -> None:
    folder = parts(tmp_path, stored)
    refused(
        folder,
        str(stored.dtype),
        "which more than one range fits",
        "--value-range BLACK WHITE, for example 0 1, 0 255, -1 1",
    )
    check(folder, GREY, Reading(value_range=given))
    refused(
        folder,
        "its numbers lie in [",
        reading=Reading(value_range=(given[0], given[0] + (given[1] - given[0]) / 2)),
    )


def test_train_and_test_are_scaled_alike(tmp_path: Path) -> None:
    """A test part whose brightest pixel is 0.8 must not become brighter, nor one of 0 to 1 of bytes."""
    folder = parts(tmp_path, GREY / 255, test=np.minimum(GREY, 204) / 255)
    data = read_dataset(folder, "mine")
    assert np.array_equal(data.test.images.numpy(), np.minimum(GREY, 204))
    parts(tmp_path, GREY / 255, test=GREY)
    refused(
        folder,
        "images are float64 (12, 1, 8, 8) and uint8 (12, 1, 8, 8); expected one type in train and test",
    )


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    for bad in (np.nan, np.inf):
        stored = GREY / 255
        stored[0, 0, 0, 0] = bad
        refused(parts(tmp_path, stored), "not finite")


def test_dark_bytes_are_pointed_out(tmp_path: Path) -> None:
    folder = parts(tmp_path, GREY // 16)
    assert (
        check(folder, GREY // 16)
        == "the largest number in the images is 15 of 255: if 15 is white, say so: --value-range 0 15"
    )
    check(folder, np.rint(GREY // 16 * 17), Reading(value_range=(0, 15)))


@pytest.mark.parametrize(
    "labels",
    [
        LABELS[:, None],
        np.eye(3)[LABELS],
        np.eye(3, dtype=np.uint8)[LABELS],
        np.eye(3, dtype=bool)[LABELS],
        LABELS.astype(np.float32),
    ],
)
def test_labels_in_every_form(labels: np.ndarray, tmp_path: Path) -> None:
    check(parts(tmp_path, GREY, labels), GREY)


@pytest.mark.parametrize("dtype", ["U", "S"])
def test_labels_that_are_names(dtype: str, tmp_path: Path) -> None:
    data = read_dataset(parts(tmp_path, GREY, np.array(["cat", "ant", "bee"])[LABELS].astype(dtype)), "mine")
    assert data.classes == ("ant", "bee", "cat") and data.train.labels.tolist() == [
        (2, 0, 1)[i] for i in LABELS
    ]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full((12, 3), 1 / 3), "are not one-hot rows (a single 1, else 0); expected one class an image"),
        (np.eye(3)[LABELS] * 0.9, "are not one-hot rows"),
        (np.ones((12, 3)), "are not one-hot rows"),
        (LABELS + 0.5, "labels float64 are not whole numbers"),
        (LABELS[:5], "labels int64 of shape (5,)"),
        (np.zeros((12, 3, 2)), "labels float64 of shape (12, 3, 2); expected numbers or names [n]"),
        (LABELS + 10**9, "the largest label is 1,000,000,002"),
    ],
)
def test_labels_that_are_none_are_refused(labels: np.ndarray, message: str, tmp_path: Path) -> None:
    refused(parts(tmp_path, GREY, labels), message)


def test_labels_that_begin_at_one_are_pointed_out(tmp_path: Path) -> None:
    data = read_dataset(parts(tmp_path, GREY, LABELS + 1), "mine")
    assert data.num_classes == 4 and "train has no image of 1 of 4 classes: 0" in told(data)


def test_both_layouts_and_which_it_is_where_both_fit(tmp_path: Path) -> None:
    channels_last = COLOURED.transpose(0, 2, 3, 1)
    check(parts(tmp_path / "a", channels_last), COLOURED)
    check(parts(tmp_path / "b", COLOURED), COLOURED)
    tiny = pixels(12, channels=3, size=3, seed=6)
    folder = parts(tmp_path / "c", tiny)
    refused(
        folder,
        "images of shape (12, 3, 3, 3): both layouts fit; expected one: --array-layout NHWC or --array-layout"
        " NCHW",
    )
    check(folder, tiny, Reading(layout="NCHW"))
    check(folder, tiny.transpose(0, 3, 1, 2), Reading(layout="NHWC"))
    refused(parts(tmp_path / "d", pixels(12, channels=7)), "neither layout has 1, 3 or 4 channels")


@pytest.mark.parametrize("last", [True, False])
def test_a_fourth_channel_is_transparency(last: bool, tmp_path: Path) -> None:
    whole = np.concatenate([COLOURED, np.full((12, 1, 8, 8), 255, np.uint8)], 1)
    check(parts(tmp_path, whole.transpose(0, 2, 3, 1) if last else whole), COLOURED)
    whole[5, 3, 2, 1] = 100
    folder = parts(tmp_path, whole.transpose(0, 2, 3, 1) if last else whole)
    refused(folder, "image 5 has transparent pixels (a fourth channel below 255)", "--background white")
    expected = COLOURED.copy()
    picture = Image.fromarray(np.ascontiguousarray(whole[5].transpose(1, 2, 0)))
    expected[5] = np.asarray(
        Image.alpha_composite(Image.new("RGBA", (8, 8), "white"), picture).convert("RGB")
    ).transpose(2, 0, 1)
    assert (expected[5] != COLOURED[5]).any() and "were put on (255, 255, 255)" in check(
        folder, expected, Reading(background=(255, 255, 255))
    )


def test_grey_of_coloured_arrays_is_pillows(tmp_path: Path) -> None:
    expected = np.stack(
        [np.asarray(Image.fromarray(i.transpose(1, 2, 0)).convert("L"))[None] for i in COLOURED]
    )
    check(parts(tmp_path, COLOURED), expected, Reading(colour="grey"))


def test_python_objects_are_never_opened(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    folder = parts(tmp_path, GREY, np.array([Evil()] * 12, dtype=object))
    refused(folder, "labels holds Python objects, which would have to be unpickled: never done")
    for part in ("train", "test"):
        (folder / f"{part}.npz").unlink()
        np.save(folder / f"x_{part}.npy", np.array([Evil()] * 12, dtype=object), allow_pickle=True)
        np.save(folder / f"y_{part}.npy", LABELS)
    refused(folder, "holds Python objects, which would have to be unpickled: never done")
    assert not (tmp_path / "ran").exists()


def header(shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def test_bombs_are_refused_before_they_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = parts(tmp_path, GREY)
    with zipfile.ZipFile(folder / "train.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", header((10**12, 8, 8)) + bytes(100))
        archive.writestr("labels.npy", header((1,)) + bytes(1))
    refused(folder, "images: its header says 64,000,000,000,000 bytes of uint8", "there are 100")
    with zipfile.ZipFile(folder / "train.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", header((300_000, 8, 8)) + bytes(300_000 * 64))
        archive.writestr("labels.npy", header((300_000,)) + bytes(300_000))
    monkeypatch.setattr(
        "zooaudit.data.decode.psutil.virtual_memory", lambda: type("Memory", (), {"available": 2**20})()
    )
    assert (folder / "train.npz").stat().st_size < 50_000
    refused(folder, "train.npz: the numbers of images take", "this machine has")


def test_gzipped_idx_that_unpacks_to_more_than_it_says_is_refused(tmp_path: Path) -> None:
    folder = write_idx(tmp_path, (GREY[:, 0], LABELS), (GREY[:, 0], LABELS))
    path = folder / "train-images-idx3-ubyte"
    raw = path.read_bytes() + bytes(50_000_000)
    path.unlink()
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(raw))
    refused(folder, "train-images-idx3-ubyte.gz holds at least 769 bytes; its header says (12, 8, 8)")
