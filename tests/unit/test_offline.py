"""Questions as files, and the answers that come back."""

import csv
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.support.makers import Affine
from zooaudit.errors import AnswersError, ColumnsError, ConfigError, InputError
from zooaudit.suspects.contract_files import contract_of
from zooaudit.suspects.how import ANSWERS, How
from zooaudit.suspects.naming import Naming
from zooaudit.suspects.offline import read_answers, write_questions
from zooaudit.suspects.opened import OpenSuspect

CLASSES = ("ankle boot", "bag", "coat")
NAMING = Naming(CLASSES)
IMAGES = (torch.randint(0, 256, (12, 3, 5, 4), generator=torch.Generator().manual_seed(0)) / 255).float()
ROWS = torch.softmax(torch.randn(12, 3, generator=torch.Generator().manual_seed(1)), 1)


def test_parquet_is_exact(tmp_path: Path) -> None:
    write_questions(tmp_path / "q.parquet", IMAGES, "kit1", CLASSES)
    table = pq.read_table(tmp_path / "q.parquet")
    shape = json.loads(table.schema.metadata[b"image_shape"])
    assert np.array_equal(np.stack(table["image"].to_numpy()).reshape(-1, *shape), IMAGES.numpy())
    assert table["query"].to_pylist() == list(range(12)) and table.schema.metadata[b"kit"] == b"kit1"
    assert json.loads(table.schema.metadata[b"classes"]) == list(CLASSES)


def test_a_zip_holds_pictures_and_what_to_do_with_them(tmp_path: Path) -> None:
    write_questions(tmp_path / "q.zip", IMAGES, "kit1", CLASSES)
    with zipfile.ZipFile(tmp_path / "q.zip") as archive:
        names = [n for n in archive.namelist() if n.endswith(".png")]
        assert names == [f"{i:02}.png" for i in range(12)]
        seen = np.stack([np.array(Image.open(io.BytesIO(archive.read(n)))) for n in names])
        note = archive.read("README.txt").decode()
    assert np.array_equal(seen, (IMAGES * 255).round().byte().permute(0, 2, 3, 1).numpy())
    assert "ankle boot, bag, coat" in note and "kit1" in note
    with pytest.raises(InputError, match="is there already"):
        write_questions(tmp_path / "q.zip", IMAGES, "kit1", CLASSES)
    with pytest.raises(InputError, match=r"expected \.parquet, \.json, or \.zip"):
        write_questions(tmp_path / "q.tar", IMAGES, "kit1", CLASSES)


def as_parquet(path: Path, order: list[int]) -> None:
    pq.write_table(pa.table({"query": order, "probabilities": [ROWS[i].tolist() for i in order]}), path)


def as_csv(path: Path, order: list[int]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["query", "probabilities"])
        writer.writeheader()
        writer.writerows({"query": i, "probabilities": json.dumps(ROWS[i].tolist())} for i in order)


def as_json(path: Path, order: list[int]) -> None:
    path.write_text(
        json.dumps([{"query": i, "answer": dict(zip(CLASSES, ROWS[i].tolist(), strict=True))} for i in order])
    )


@pytest.mark.parametrize("write", [as_parquet, as_csv, as_json])
def test_answers_come_back_in_any_format_and_order(
    write: Callable[[Path, list[int]], None], tmp_path: Path
) -> None:
    path = tmp_path / f"a.{write.__name__.removeprefix('as_')}"
    write(path, list(reversed(range(12))))
    rows, form = read_answers(path, NAMING, "kit1")
    assert torch.allclose(rows, ROWS) and form == ("scores" if write is as_json else "list")


def test_labels_by_name_and_by_number(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("query,label\n1,bag\n0,2\n2,ankle boot\n")
    assert read_answers(path, NAMING, "kit1")[0].tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("query,label\n0,bag\n0,coat\n", "query 0 2 times; expected each once"),
        ("query,label\n0,bag\n2,coat\n", "2 rows but no query 1"),
        ("query,label\nfirst,bag\n", "the query 'first'"),
        ("query,label\n", "no rows"),
        (
            "query,class\n0,bag\n",
            "the columns query, class; expected query and one of probabilities, answer, label",
        ),
        ("query,label\n0,shoe\n", "the class 'shoe'; expected one of ankle boot, bag, coat"),
        (
            "query,label,kit\n0,bag,other\n",
            "answers to the questions of kit other; expected those of kit kit1",
        ),
        ('query,probabilities\n0,"[0.5, 0.5]"\n', "2 numbers for image 0; expected 3"),
        ('query,probabilities\n0,"[0.5, null, 0.5]"\n', "expected 3 numbers"),
        ("query,label\n0.9,bag\n1.2,coat\n", "the query '0.9'; expected the number of the question"),
        ("query,label\n1e400,bag\n", "the query 'inf'"),
        ('query,answer\n0,bag\n1,"{""bag"": 1.0}"\n', "answers of the forms label, scores"),
        ("query,label\n0\n", "None for image 0"),
    ],
)
def test_what_is_wrong_with_answers_is_said(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(AnswersError, match=says):
        read_answers(tmp_path / "a.csv", NAMING, "kit1")


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.parquet", b"PAR1 cut off"), ("a.json", b"{"), ("a.json", b"{}"), ("a.txt", b""), ("b.csv", b"\xff")],
)
def test_what_is_no_file_of_answers(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="expected"):
        read_answers(tmp_path / name, NAMING, "kit1")
    with pytest.raises(InputError, match=r"gone\.csv cannot be read"):
        read_answers(tmp_path / "gone.csv", NAMING, "kit1")


WIDE = torch.softmax(torch.randn(12, 11, generator=torch.Generator().manual_seed(2)), 1)


def opened(path: Path, described: bool = False, **tables: Any) -> torch.Tensor:
    with OpenSuspect.to(
        str(path), How("kit1", (3, 5, 4), CLASSES, described, kind=ANSWERS, contract=contract_of(tables))
    ) as opened:
        assert opened.answers is not None
        return opened.answers


def test_answers_of_a_model_with_more_classes(tmp_path: Path) -> None:
    pq.write_table(pa.table({"query": range(12), "probabilities": WIDE.tolist()}), tmp_path / "a.parquet")
    with pytest.raises(ColumnsError, match="11 numbers for image 0; expected 3"):
        opened(tmp_path / "a.parquet")
    some = WIDE[:, [10, 2, 4]]
    torch.testing.assert_close(
        opened(tmp_path / "a.parquet", classes={"columns": [10, 2, 4]}), some / some.sum(1, keepdim=True)
    )
    names = ["x0", "x1", "bag", "x3", "coat", *(f"x{i}" for i in range(5, 10)), "ankle boot"]
    torch.testing.assert_close(
        opened(tmp_path / "a.parquet", classes={"names": names}), some / some.sum(1, keepdim=True)
    )
    assert torch.equal(opened(tmp_path / "a.parquet", described=True, classes={"names": names}), some), (
        "what is described is taken as it is"
    )
    with pytest.raises(ColumnsError, match="expected column 11"):
        opened(tmp_path / "a.parquet", classes={"columns": [11, 2, 4]})


def test_labels_of_a_model_with_more_classes(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("query,label\n0,bag\n1,dress\n2,ankle boot\n")
    found = opened(tmp_path / "a.csv", classes={"names": ["bag", "dress", "ankle boot", "coat"]})
    assert found.tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 0]]


def test_answers_in_percent(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"query": range(12), "probabilities": (ROWS * 100).tolist()}), tmp_path / "a.parquet"
    )
    torch.testing.assert_close(opened(tmp_path / "a.parquet", output={"values": "percentages"}), ROWS)
    with pytest.raises(ConfigError, match="give only its output and classes"):
        opened(tmp_path / "a.parquet", input={"mean": [0.5]})


def test_a_file_described_by_toml(tmp_path: Path) -> None:
    save_file(Affine().state_dict(), tmp_path / "m.safetensors")
    described = tmp_path / "theirs.toml"
    described.write_text(
        'file = "m.safetensors"\nfactory = "tests.support.makers:Affine"\n[input]\nrange = [-1,'
        " 1]\n[classes]\ncolumns = [3, 0, 1]\n"
    )
    images = torch.rand(2, 1, 4, 4)
    expected = Affine()(images * 2 - 1)[:, [3, 0, 1]].softmax(1).detach()
    with OpenSuspect.to(str(described), How("k", (1, 4, 4), CLASSES)) as opened:
        torch.testing.assert_close(opened.black_box.ask(images), expected)
        assert opened.how["said"] == {"input": {"range": [-1, 1]}, "classes": {"columns": [3, 0, 1]}}
    described.write_text('file = "m.safetensors"\nfactori = "x"\n')
    with pytest.raises(
        ConfigError, match="'factori' is unknown; expected some of file, factory, input, output, classes"
    ):
        OpenSuspect.to(str(described), How("k", (1, 4, 4), CLASSES))
