"""Parquet and Arrow as Hugging Face writes them: any usual name and type of the columns, every file of a
split, memory bounded."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.data_folders import refused, told
from tests.support.data_parquet import IMAGES, LABELS, PNGS, ROWS, saved, written
from tests.support.makers import IMAGE_TYPE, png, write_parquet
from zooaudit.data import parquet_columns, readers
from zooaudit.data.decode import decode_all
from zooaudit.data.readers import read_dataset
from zooaudit.data.reading import Reading


def check(folder: Path, classes: tuple[str, ...] = ("0", "1", "2"), reading: Reading | None = None) -> str:
    """The right pixels and labels; returns what was noted."""
    data = read_dataset(folder, "mine", reading or Reading())
    assert np.array_equal(data.train.images.numpy(), IMAGES)
    assert data.train.labels.tolist() == LABELS and data.classes == classes
    return told(data)


@pytest.mark.parametrize("image", ["image", "img", "images", "photo", "anything"])
@pytest.mark.parametrize("label", ["label", "labels", "fine_label", "class", "target", "anything_else"])
def test_usual_names_of_columns(image: str, label: str, tmp_path: Path) -> None:
    assert check(written(tmp_path, {label: LABELS, image: ROWS})) == ""


def test_bare_bytes_in_every_type_of_bytes(tmp_path: Path) -> None:
    for i, kind in enumerate((pa.binary(), pa.large_binary(), pa.dictionary(pa.int32(), pa.binary()))):
        check(written(tmp_path / str(i), {"image": pa.array(PNGS, pa.binary()).cast(kind), "label": LABELS}))


def test_labels_that_are_names_are_sorted_by_name(tmp_path: Path) -> None:
    names = ["cat", "ant", "bee"]
    texts = [names[i] for i in LABELS]
    for i, kind in enumerate((pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string()))):
        data = read_dataset(
            written(tmp_path / str(i), {"image": ROWS, "label": pa.array(texts).cast(kind)}), "mine"
        )
        assert data.classes == ("ant", "bee", "cat")
        assert [data.classes[y] for y in data.train.labels.tolist()] == texts


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint8(), pa.int32(), pa.uint64(), pa.float64(), "dictionary"])
def test_labels_in_every_type_of_number(kind: Any, tmp_path: Path) -> None:
    labels = pa.array(LABELS)
    check(
        written(
            tmp_path,
            {
                "image": ROWS,
                "label": labels.dictionary_encode() if kind == "dictionary" else labels.cast(kind),
            },
        )
    )


def test_class_names_are_those_of_the_label_column(tmp_path: Path) -> None:
    columns = {"img": ROWS, "fine_label": LABELS, "coarse_label": [0] * 12}
    names = {"fine_label": ["ant", "bee", "cat"], "coarse_label": ["animal"]}
    note = check(written(tmp_path, columns, names), ("ant", "bee", "cat"))
    assert (
        note
        == "labels are those of the column fine_label; there is also coarse_label: --label-column chooses one"
    )
    coarse = read_dataset(tmp_path, "mine", Reading(label_column="coarse_label"))
    assert coarse.classes == ("animal",) and set(coarse.train.labels.tolist()) == {0}


def test_the_one_column_that_the_metadata_calls_a_label(tmp_path: Path) -> None:
    written(tmp_path, {"image": ROWS, "animal": LABELS, "width": [8] * 12}, {"animal": ["ant", "bee", "cat"]})
    check(tmp_path, ("ant", "bee", "cat"))


def test_columns_that_may_all_be_meant_are_refused_until_told_which(tmp_path: Path) -> None:
    folder = written(tmp_path / "a", {"left": PNGS[::-1], "right": PNGS, "label": LABELS})
    refused(folder, "left, right may all be images; expected one column of images: --image-column NAME")
    check(folder, reading=Reading(image_column="right"))
    refused(folder, "there is no --image-column middle", reading=Reading(image_column="middle"))
    folder = written(tmp_path / "b", {"image": ROWS, "label": LABELS, "labels": [0] * 12})
    refused(folder, "label and labels may both be labels", "--label-column NAME")
    check(folder, reading=Reading(label_column="label"))


def test_labels_of_several_classes_an_image_are_refused(tmp_path: Path) -> None:
    refused(
        written(tmp_path, {"image": ROWS, "label": [[1, 2]] * 12}),
        "label is list<",
        "one class for every image",
    )


def test_fractions_and_unpublished_labels_are_refused(tmp_path: Path) -> None:
    refused(
        written(tmp_path / "a", {"image": ROWS, "label": [0.5] * 12}), "labels float64 are not whole numbers"
    )
    folder = written(tmp_path / "b", {"image": ROWS, "label": LABELS}, {"label": ["ant", "bee", "cat"]})
    pq.write_table(pa.table({"image": ROWS, "label": [-1] * 12}), folder / "test.parquet")
    refused(
        folder, "every label of test is -1, which means that it was not published", "--test-split validation"
    )


def test_paths_lead_to_files_beside_the_table_and_never_out(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "pictures").mkdir(parents=True)
    for i, raw in enumerate(PNGS):
        (folder / "pictures" / f"{i}.png").write_bytes(raw)
    paths = [f"pictures/{i}.png" for i in range(12)]
    check(written(folder, {"image": [{"bytes": None, "path": p} for p in paths], "label": LABELS}))
    check(written(folder, {"file_name": paths, "caption": paths, "label": LABELS}))
    outside = tmp_path / "secret.png"
    shutil.copy(folder / "pictures" / "0.png", outside)
    for path in ("../secret.png", str(outside)):
        written(folder, {"file_name": [path, *paths[1:]], "label": LABELS})
        refused(
            folder,
            "train.parquet row 0",
            f"{path} leads out of {folder}; expected a path within it; --allow-outside",
        )
        check(folder, reading=Reading(outside=True))
    written(folder, {"file_name": ["https://example.org/1.png", *paths[1:]], "label": LABELS})
    refused(folder, "https://example.org/1.png is an address; expected a file: download it first")
    written(folder, {"file_name": ["pictures/none.png", *paths[1:]], "label": LABELS})
    refused(folder, "row 0: there is no pictures/none.png in")


@pytest.mark.parametrize("place", ["data", "plain_text", "datasets--a--b/snapshots/0a1b2c/data"])
def test_a_snapshot_of_a_hub(place: str, tmp_path: Path) -> None:
    """Its files are links into a folder of blobs, and stand beside a card and dot-files."""
    blobs, folder = tmp_path / "datasets--a--b" / "blobs", tmp_path / place
    blobs.mkdir(parents=True)
    folder.mkdir(parents=True)
    (folder.parent / "README.md").write_text("a card")
    (folder.parent / ".gitattributes").write_text("x")
    for part in ("train", "validation"):
        for i, rows in enumerate((range(7), range(7, 12))):
            blob = write_parquet(blobs / f"{part}{i}", [PNGS[j] for j in rows], [LABELS[j] for j in rows])
            (folder / f"{part}-0000{i}-of-00002-0a1b2c3d4e5f.parquet").symlink_to(blob)
    assert check(tmp_path) == f"the data is in {folder}"


def test_a_missing_file_of_a_split_is_never_passed_over(tmp_path: Path) -> None:
    names = [f"train-0000{i}-of-00003.parquet" for i in range(3)]
    for i, name in enumerate(names):
        write_parquet(tmp_path / name, PNGS[4 * i : 4 * i + 4], LABELS[4 * i : 4 * i + 4])
    write_parquet(tmp_path / "test-00000-of-00001.parquet", PNGS, LABELS)
    check(tmp_path)
    moved = tmp_path / "elsewhere"
    (tmp_path / names[1]).rename(moved)
    refused(tmp_path, f"holds {names[0]}, {names[2]}; number 1 is missing: fetch the rest")
    moved.rename(tmp_path / names[1])
    write_parquet(tmp_path / "train-00000-of-00001.parquet", PNGS, LABELS)
    refused(tmp_path, "expected the files of one writing: remove the others")


def test_words_that_only_begin_like_a_split_are_others(tmp_path: Path) -> None:
    written(tmp_path, {"image": ROWS, "label": LABELS})
    write_parquet(tmp_path / "trainable.parquet", PNGS[:1], [0])
    write_parquet(tmp_path / "testimony.parquet", PNGS[:1], [0])
    check(tmp_path)


def test_files_of_a_split_must_go_together(tmp_path: Path) -> None:
    folder = written(tmp_path, {"image": ROWS, "label": LABELS}, {"label": ["ant", "bee", "cat"]})
    (folder / "train.parquet").rename(folder / "train-0.parquet")
    metadata = json.dumps({"info": {"features": {"label": {"names": ["bee", "ant", "cat"]}}}})
    write_parquet(folder / "train-1.parquet", PNGS, LABELS, metadata)
    refused(folder, "train-1.parquet has other class names than", "train-0.parquet")
    pq.write_table(pa.table({"img": PNGS, "label": LABELS}), folder / "train-1.parquet")
    refused(folder, "train-1.parquet has columns ['img', 'label']; expected image and label")


@pytest.mark.parametrize("repeated", [False, True])
def test_one_row_group_of_everything_is_read_a_few_rows_at_a_time(
    repeated: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrow holds a few rows at once, not a row group; nor all rows of a small file that
    repeat a large value."""
    raw = [png(np.random.default_rng(i).integers(0, 256, (3, 200, 200), dtype=np.uint8)) for i in range(8)]
    images = pa.array([{"bytes": raw[i % 8], "path": None} for i in range(160)], IMAGE_TYPE)
    table = pa.table({"image": images, "label": [i % 2 for i in range(160)]})
    for part, rows in (("train", table), ("test", table.slice(0, 8))):
        pq.write_table(rows, tmp_path / f"{part}.parquet", use_dictionary=repeated, write_batch_size=8)
    pool = pa.default_memory_pool()
    before, most = pool.bytes_allocated(), 0

    def watched(encoded: Any, *rest: Any) -> Any:
        def each() -> Any:
            nonlocal most
            for item in encoded:
                most = max(most, pool.bytes_allocated() - before)
                yield item

        return decode_all(each(), *rest)

    monkeypatch.setattr(readers, "decode_all", watched)
    monkeypatch.setattr(parquet_columns, "BATCH_BYTES", 2**21)
    data = read_dataset(tmp_path, "mine")
    assert len(data.train) == 160 and pq.ParquetFile(tmp_path / "train.parquet").num_row_groups == 1
    assert most < images.nbytes / 3, f"{most / 2**20:.1f} of {images.nbytes / 2**20:.1f} MiB"


def test_arrow_files_of_save_to_disk(tmp_path: Path) -> None:
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    check(saved(saved(tmp_path, "train"), "test", 1), ("ant", "bee", "cat"))
    (tmp_path / "train" / "data-00001-of-00002.arrow").unlink()
    refused(tmp_path, "lacks data-00001-of-00002.arrow, which its state.json lists; expected all of them")


def test_arrow_files_that_are_cut_short_or_reordered_are_refused(tmp_path: Path) -> None:
    folder = saved(saved(tmp_path, "train"), "test")
    path = folder / "train" / "data-00000-of-00002.arrow"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    refused(folder, str(path), "has no end: not a readable Arrow file")
    path.write_bytes(whole[:-8])
    refused(folder, str(path), "has no end")
    path.write_bytes(whole)
    state = json.loads((folder / "train" / "state.json").read_text())
    (folder / "train" / "state.json").write_text(
        json.dumps(state | {"_indices_data_files": [{"filename": "indices.arrow"}]})
    )
    refused(folder, "its rows were chosen or shuffled by a list of indices", "flatten_indices()")
