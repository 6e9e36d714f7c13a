"""Tables of path and label: CSV, TSV, JSON lines, with a header or without; every row is whole, every path
leads to one file within."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.data_folders import refused, told
from tests.support.data_tables import IMAGES, NAMES, pictures, rows, table
from tests.support.makers import png
from zooaudit.data.readers import read_dataset
from zooaudit.data.reading import Reading

CLASSES = ("ant", "bee", "cat")


def check(folder: Path, reading: Reading | None = None, classes: tuple[str, ...] = CLASSES) -> str:
    data = read_dataset(folder, "mine", reading or Reading())
    assert np.array_equal(data.train.images.numpy(), IMAGES)
    assert data.classes == classes
    assert [NAMES[i] for i in range(6)] == [CLASSES[y] for y in data.train.labels.tolist()]
    return told(data)


@pytest.mark.parametrize(("suffix", "mark"), [(".csv", ","), (".csv", ";"), (".tsv", "\t")])
@pytest.mark.parametrize("header", [("path", "label"), ("file_name", "class"), ("Image", "Target")])
def test_tables_with_a_header(header: tuple[str, str], suffix: str, mark: str, tmp_path: Path) -> None:
    assert check(table(tmp_path, rows(*header), suffix, mark)) == ""


def test_a_table_without_a_header(tmp_path: Path) -> None:
    check(table(tmp_path, rows()[1:]))


@pytest.mark.parametrize("form", ["{}", "{}.0"])
def test_labels_that_are_numbers_stay_numbers(form: str, tmp_path: Path) -> None:
    labels = [form.format(CLASSES.index(name)) for name in NAMES]
    check(table(tmp_path, rows("path", "label", label=labels)), classes=("0", "1", "2"))


def test_json_lines_and_a_table_within_the_split(tmp_path: Path) -> None:
    lines = [
        json.dumps({"file_name": f"img/{i}.png", "label": name, "more": {"x": 1}})
        for i, name in enumerate(NAMES)
    ]
    for part in ("train", "test"):
        (tmp_path / f"{part}.jsonl").write_text("\n".join(lines) + "\n\n")
    check(pictures(tmp_path))
    (tmp_path / "other").mkdir()
    for part in ("train", "validation"):
        place = (pictures(tmp_path / part) / "img").rename(tmp_path / "other" / part)
        (place / "metadata.csv").write_text(
            "file_name,label\n" + "".join(f"{i}.png,{n}\n" for i, n in enumerate(NAMES))
        )
    check(tmp_path / "other")


def test_paths_in_other_systems_spelling_and_beside_the_split(tmp_path: Path) -> None:
    check(table(tmp_path / "a", [["path", "label"], *([f"img\\{i}.png", n] for i, n in enumerate(NAMES))]))
    folder = table(tmp_path / "b", [["path", "label"], *([f"{i}.png", n] for i, n in enumerate(NAMES))])
    (folder / "img").rename(folder / "train")
    (folder / "test").symlink_to(folder / "train")
    check(folder)


def test_which_columns_where_names_do_not_tell(tmp_path: Path) -> None:
    folder = table(tmp_path, [["a", "b", "c"], *([f"img/{i}.png", "x", n] for i, n in enumerate(NAMES))])
    refused(
        folder,
        "train.csv: has columns a, b, c, and none of them holds paths of images",
        "--image-column NAME",
    )
    refused(
        folder,
        "has columns b, c, and none of them holds labels",
        "--label-column NAME",
        reading=Reading(image_column="a"),
    )
    check(folder, Reading(image_column="a", label_column="c"))
    check(folder, Reading(image_column="1", label_column="3"))
    refused(folder, "there is no --label-column d", reading=Reading(image_column="a", label_column="d"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["img/0.png"], "train.csv line 8 has 1 cells; expected 2: path, label"),
        (["img/0.png", "cat", "x"], "line 8 has 3 cells"),
        (["img/0.png", ""], "train.csv line 8: label is empty; expected a class"),
        (["img/9.png", "cat"], "train.csv line 8: there is no img/9.png in"),
        (["img/0", "cat"], "there is no img/0 in"),
        (["img/0.png", "bee"], "img/0.png has class bee here and cat before; expected one class an image"),
        (["https://example.org/0.png", "bee"], "is an address; expected a file: download it first"),
    ],
)
def test_rows_that_are_not_whole_are_named(change: list[str], message: str, tmp_path: Path) -> None:
    refused(table(tmp_path, [*rows("path", "label"), change]), message)


def test_a_file_named_twice_is_taken_once_and_it_is_said(tmp_path: Path) -> None:
    note = check(table(tmp_path, [*rows("path", "label"), ["img/0.png", "cat"]]))
    assert "train.csv names 1 images more than once; each is used once" in note


def test_paths_never_lead_out(tmp_path: Path) -> None:
    outside = tmp_path / "secret.png"
    outside.write_bytes(png(IMAGES[0]))
    for path in ("../secret.png", str(outside), "img/../../secret.png"):
        folder = table(tmp_path / "data", [["path", "label"], [path, "cat"], *rows()[2:]])
        refused(
            folder,
            f"train.csv line 2: {path} leads out of {folder}; expected a path within it; --allow-outside",
        )
        check(folder, Reading(outside=True))


def broken(text: bytes, folder: Path, suffix: str) -> Path:
    for part in ("train", "test"):
        (pictures(folder) / f"{part}{suffix}").write_bytes(text)
    return folder


@pytest.mark.parametrize(
    ("text", "suffix", "result"),
    [
        (b"path,label\n\xff\xfe,1\n", ".csv", "not a readable table file"),
        (b'path,label\n"img/0.png,1\n', ".csv", "train.csv line"),
        (b"path,path\nimg/0.png,1\n", ".csv", "has columns path, path; expected every name once"),
        (b"", ".csv", "has no rows"),
        (b"path,label\n", ".csv", "has no rows"),
        (b'{"path": "img/0.png", "label": null}', ".jsonl", "line 1: label is empty"),
        (b'{"path": "img/0.png", "label": "a"}\n{"path": "img/1.png"}', ".jsonl", "line 2 lacks label"),
        (b'{"path": "img/0.png", "label": "a"}\n{"path"', ".jsonl", "line 2: not readable JSON"),
        (b"[" * 100_000, ".jsonl", "line 1: not readable JSON"),
    ],
)
def test_tables_that_are_none_are_refused(text: bytes, suffix: str, result: Any, tmp_path: Path) -> None:
    refused(broken(text, tmp_path, suffix), result)
