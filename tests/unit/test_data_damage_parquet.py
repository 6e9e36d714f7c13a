"""Damaged Parquet files are refused in one line."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.data_damage import IMAGES, LABELS, PNGS, refused
from tests.support.makers import write_parquet
from zooaudit.data.readers import read_dataset
from zooaudit.errors import DataError


def test_corrupt_parquet_bytes(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "train.parquet", PNGS, LABELS)
    path.write_bytes(path.read_bytes()[:-20])
    refused(path, "not a readable Parquet file", "fetch or write it again")


def test_parquet_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_bytes(b"label,image\n1,x.png\n")
    refused(tmp_path / "train.parquet", "not a readable Parquet file")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"bytes": None, "path": None}, "image is null"),
        (None, "image is null"),
        ({"bytes": None, "path": "x.png"}, "there is no x.png in"),
    ],
)
def test_null_image_names_its_row(bad: object, message: str, tmp_path: Path) -> None:
    refused(write_parquet(tmp_path / "train.parquet", [PNGS[0], PNGS[1], bad], [0, 1, 2]), "row 2", message)


def test_null_label_names_its_row(tmp_path: Path) -> None:
    refused(write_parquet(tmp_path / "train.parquet", PNGS[:2], [0, None]), "row 1", "null")


def test_corrupt_image_in_a_row_names_the_row(tmp_path: Path) -> None:
    refused(
        write_parquet(tmp_path / "train.parquet", [PNGS[0], PNGS[1][:50]], [0, 1]),
        "row 1",
        "not a readable image",
    )


def test_parquet_columns_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    pq.write_table(pa.table({"pixels": [[1, 2]], "label": [1]}), path)
    refused(path, "has columns pixels, label, and none of them holds encoded images", "--image-column NAME")
    pq.write_table(pa.table({"image": [b"x"], "a": [1], "b": [1]}), path)
    refused(path, "a, b may all be labels", "--label-column NAME")
    refused(
        write_parquet(path, PNGS[:1], [[1]], label_type=pa.list_(pa.int64())),
        "label is list<",
        "one class for every image",
    )
    pq.write_table(pa.table({"one": [b"x"], "two": [b"x"], "label": [1]}), path)
    refused(path, "one, two may all be images", "--image-column NAME")


def test_parquet_whose_image_bytes_are_text(tmp_path: Path) -> None:
    text = pa.struct([("bytes", pa.string()), ("path", pa.string())])
    refused(write_parquet(tmp_path / "train.parquet", [{"bytes": "abc", "path": None}], [0], image_type=text))


@pytest.mark.parametrize("metadata", ["{not json", '{"info": {"features": null}}', '{"info": null}', "[]"])
def test_parquet_with_broken_class_names(metadata: str, tmp_path: Path) -> None:
    """Unreadable metadata is either passed over, and classes are numbered, or named in a DataError."""
    path = write_parquet(tmp_path / "train.parquet", PNGS, LABELS, metadata)
    try:
        np.savez(tmp_path / "test.npz", images=IMAGES, labels=LABELS)
        assert read_dataset(tmp_path, "mine").classes == ("0", "1", "2")
    except DataError as error:
        assert str(path) in str(error)


def test_empty_parquet(tmp_path: Path) -> None:
    refused(write_parquet(tmp_path / "train.parquet", [], []), "holds no images")
