"""Damaged and wrong data files: each is a DataError that names the file, whatever is broken in it."""

import gzip
import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.support.data_archives import tar, zipped
from tests.support.data_damage import IMAGES, LABELS, PNGS, refused
from tests.support.data_parquet import saved
from tests.support.data_readers import class_folders
from tests.support.data_tables import rows, table
from tests.support.makers import idx_bytes, write_idx, write_parquet
from zooaudit.data.decode import decode_image
from zooaudit.data.images import ImageSet
from zooaudit.data.readers import read_dataset
from zooaudit.errors import DataError

NAMES = '{"info": {"features": {"label": {"names": ["a", "b", "c"]}}}}'
DAMAGE = st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7))


def flip(raw: bytes, where: float, bit: int) -> bytes:
    """One bit flipped at the share ``where`` of the file."""
    damaged = bytearray(raw)
    damaged[int(where * len(raw))] ^= 1 << bit
    return bytes(damaged)


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"x": IMAGES}, "['x']; expected images and labels"),
        ({"images": IMAGES.astype(np.float32), "labels": LABELS}, "images are float32 (4, 1, 8, 8)"),
        ({"images": IMAGES[:, 0, 0], "labels": LABELS}, "images are uint8 (4, 8)"),
        ({"images": IMAGES, "labels": np.array([0.5] * 4)}, "labels float64"),
    ],
)
def test_wrong_npz_says_what_is_in_it(arrays: dict[str, np.ndarray], expected: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "train.npz", **arrays)
    refused(tmp_path / "train.npz", expected)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04", pickle.dumps({"images": 1})])
def test_npz_that_is_something_else(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "train.npz").write_bytes(content)
    refused(tmp_path / "train.npz", "not a readable .npz file")


def test_npz_that_holds_one_array_or_objects(tmp_path: Path) -> None:
    path = tmp_path / "train.npz"
    with path.open("wb") as file:
        np.save(file, np.arange(3))
    refused(path)
    np.savez(path, images=IMAGES, labels=np.array([{"a": 1}] * 4, dtype=object))
    refused(path, "not a readable .npz file")


def test_npz_whose_class_names_are_one_word(tmp_path: Path) -> None:
    np.savez(tmp_path / "train.npz", images=IMAGES, labels=LABELS, classes=np.array("abc"))
    refused(tmp_path / "train.npz", "classes")


@pytest.mark.parametrize("keep", [0, 3, 4, 9, 16, 17, 100])
def test_truncated_idx_file_is_named(keep: int, tmp_path: Path) -> None:
    write_idx(tmp_path, (IMAGES[:, 0], np.array(LABELS)), (IMAGES[:, 0], np.array(LABELS)))
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError) as caught:
        read_dataset(tmp_path, "mine")
    assert str(path) in str(caught.value)


def test_idx_of_another_kind_and_missing_ones(tmp_path: Path) -> None:
    write_idx(tmp_path, (IMAGES[:, 0], np.array(LABELS)), (IMAGES[:, 0], np.array(LABELS)))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx_bytes(np.array(LABELS)))
    with pytest.raises(
        DataError, match=r"train-images-idx3-ubyte starts with 2049; expected the IDX magic number 2051"
    ):
        read_dataset(tmp_path, "mine")
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx_bytes(IMAGES[:, 0]))
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(
        DataError, match=r"has no t10k-labels-idx\*-ubyte\[.gz\]; expected MNIST's four IDX files"
    ):
        read_dataset(tmp_path, "mine")


def test_idx_with_fewer_labels_than_images(tmp_path: Path) -> None:
    write_idx(tmp_path, (IMAGES[:, 0], np.array(LABELS[:3])), (IMAGES[:, 0], np.array(LABELS)))
    with pytest.raises(DataError, match=r"shape \(3,\); expected int64 \[4\], one per image"):
        read_dataset(tmp_path, "mine")


def test_empty_idx_files(tmp_path: Path) -> None:
    write_idx(tmp_path, (IMAGES[:0, 0], np.array([])), (IMAGES[:, 0], np.array(LABELS)))
    with pytest.raises(DataError, match="no images"):
        read_dataset(tmp_path, "mine")


@pytest.mark.parametrize("images", [torch.zeros(2, 1, 4, 4), torch.zeros(2, 4, 4, dtype=torch.uint8)])
def test_images_must_be_bytes_in_four_dimensions(images: torch.Tensor) -> None:
    with pytest.raises(DataError, match=r"expected uint8 \[n, channels, height, width\]"):
        ImageSet(images, torch.zeros(2, dtype=torch.int64))


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=120)
@given(
    st.sampled_from(["PNG", "JPEG", "BMP", "GIF", "TIFF"]),
    st.lists(DAMAGE, min_size=1, max_size=4),
    st.floats(0.1, 1),
)
def test_a_damaged_image_decodes_or_is_refused(
    kind: str, damage: list[tuple[float, int]], keep: float
) -> None:
    buffer = io.BytesIO()
    Image.fromarray(IMAGES[0, 0]).save(buffer, kind)
    raw = buffer.getvalue()
    for where, bit in damage:
        raw = flip(raw, where, bit)
    try:
        assert decode_image(raw[: int(len(raw) * keep)], "image 5").dtype == torch.uint8
    except DataError as error:
        assert "image 5: not a readable image" in str(error)


@settings(max_examples=80)
@given(st.sampled_from(["train.npz", "train.parquet", "train-images-idx3-ubyte.gz"]), DAMAGE)
def test_a_flipped_bit_is_harmless_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, damage: tuple[float, int]
) -> None:
    folder = tmp_path_factory.mktemp("flipped")
    if name.endswith(".gz"):
        write_idx(folder, (IMAGES[:, 0], np.array(LABELS)), (IMAGES[:, 0], np.array(LABELS)))
        (folder / "train-images-idx3-ubyte").unlink()
        (folder / name).write_bytes(gzip.compress(idx_bytes(IMAGES[:, 0]), mtime=0))
    else:
        np.savez_compressed(
            folder / "test.npz", images=IMAGES, labels=LABELS, classes=np.array(["a", "b", "c"])
        )
        if name.endswith(".npz"):
            np.savez_compressed(
                folder / name, images=IMAGES, labels=LABELS, classes=np.array(["a", "b", "c"])
            )
        else:
            write_parquet(folder / name, list(PNGS), LABELS, NAMES)
    (folder / name).write_bytes(flip((folder / name).read_bytes(), *damage))
    try:
        read_dataset(folder, "mine")
    except DataError as error:
        assert len(str(error)) > 20


def test_a_footer_that_contradicts_itself_ends_no_process(tmp_path: Path) -> None:
    """Arrow throws where nobody catches if it is asked for one column of such a file (a
    histogram of another size)."""
    for part in ("train", "test"):
        write_parquet(tmp_path / f"{part}.parquet", list(PNGS), LABELS, NAMES)
    raw = (tmp_path / "train.parquet").read_bytes()
    footer = len(raw) - 8 - int.from_bytes(raw[-8:-4], "little")
    code = "import sys; from pathlib import Path; from zooaudit.data.readers import read_dataset\n"
    code += (
        "for place in sys.argv[1:]:\n  try: read_dataset(Path(place), 'mine')\n  except Exception as error:"
        " print(type(error).__name__)"
    )
    places = []
    for byte in range(30, 60):
        place = tmp_path / str(byte)
        place.mkdir()
        (place / "test.parquet").write_bytes(raw)
        changed = bytearray(raw)
        changed[footer + byte] ^= 8
        (place / "train.parquet").write_bytes(changed)
        places.append(str(place))
    done = subprocess.run([sys.executable, "-c", code, *places], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and set(done.stdout.split()) <= {"DataError"}, done.stderr[-500:]


def npy_pair(folder: Path) -> Path:
    for part in ("train", "test"):
        np.save(folder / f"x_{part}.npy", IMAGES)
        np.save(folder / f"y_{part}.npy", LABELS)
    return folder / "x_train.npy"


def keras(folder: Path) -> Path:
    np.savez_compressed(folder / "k.npz", x_train=IMAGES, y_train=LABELS, x_test=IMAGES, y_test=LABELS)
    return folder / "k.npz"


def tars(folder: Path) -> Path:
    for part in ("train", "test"):
        tar(
            folder / f"{part}.tar",
            [
                m
                for i, raw in enumerate(PNGS)
                for m in ((f"{i}.png", raw), (f"{i}.cls", str(LABELS[i]).encode()))
            ],
        )
    return folder / "train.tar"


def arrow(folder: Path) -> Path:
    saved(saved(folder, "train"), "test")
    return folder / "train" / "data-00000-of-00002.arrow"


def csvs(folder: Path) -> Path:
    return table(folder, rows("path", "label")) / "train.csv"


def zip_of_folders(folder: Path) -> Path:
    return zipped(class_folders(folder / "in"), folder / "data.zip")


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=60)
@given(
    st.sampled_from([npy_pair, keras, tars, arrow, csvs, zip_of_folders]),
    DAMAGE,
    st.one_of(st.just(1.0), st.floats(0.1, 1)),
)
def test_damage_of_every_other_kind_is_harmless_or_refused(
    tmp_path_factory: pytest.TempPathFactory,
    write: Callable[[Path], Path],
    damage: tuple[float, int],
    keep: float,
) -> None:
    """Never another exception; and what is cut short is never taken for whole."""
    folder = tmp_path_factory.mktemp("damaged")
    path = write(folder)
    whole, rows_before = path.read_bytes(), len(read_dataset(place_of(path, folder), "mine").train)
    path.write_bytes(flip(whole, *damage)[: int(len(whole) * keep)])
    try:
        found = read_dataset(place_of(path, folder), "mine")
    except DataError as error:
        assert len(str(error)) > 20 and " at 0x" not in str(error)
    else:
        assert write is csvs or len(found.train) == rows_before


def place_of(path: Path, folder: Path) -> Path:
    return path if path.suffix == ".zip" else folder
