"""One reader: every format that one place reads, all do; see docs/answers.md."""

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.answer_bodies import WRITERS
from tests.support.places import ROOT
from zooaudit.errors import AnswersError, InputError
from zooaudit.serving.bodies import ACCEPTED, read_rows
from zooaudit.serving.kit_routes import BODY
from zooaudit.serving.problems import Refused
from zooaudit.suspects.answers import BY_ENDING, FORMATS, read
from zooaudit.suspects.how import ANSWERS, How
from zooaudit.suspects.naming import Naming
from zooaudit.suspects.offline import write_questions
from zooaudit.suspects.opened import OpenSuspect

CONSOLE = ROOT / "zooaudit" / "serving" / "console"
CLASSES = ("ankle boot", "bag", "coat")
ROWS = torch.rand(12, 3, generator=torch.Generator().manual_seed(1)).softmax(1)


def by_the_command_line(ending: str, body: bytes, folder: Path) -> torch.Tensor:
    (folder / f"answers{ending}").write_bytes(body)
    with OpenSuspect.to(
        str(folder / f"answers{ending}"), How("kit1", (1, 2, 2), CLASSES, kind=ANSWERS)
    ) as opened:
        assert opened.answers is not None
        return opened.answers


def by_the_service(ending: str, body: bytes, folder: Path) -> torch.Tensor:
    return read_rows(BY_ENDING[ending].media, body, CLASSES, 12, "kit1")


READERS = {"command line": by_the_command_line, "service": by_the_service}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", WRITERS)
def test_every_reader_reads_every_format(name: str, reader: str, tmp_path: Path) -> None:
    ending, write = WRITERS[name]
    assert torch.equal(READERS[reader](ending, write(ROWS), tmp_path), ROWS)


def npy(array: np.ndarray) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array)
    return sink.getvalue()


LABELLED = {
    "CSV": (".csv", b"query,label\n1,bag\n0,2\n"),
    "CSV of a spreadsheet": (".csv", b"\xef\xbb\xbfquery,label\r\n1,bag\r\n0,2\r\n"),
    "JSON by query": (".json", b'[{"query": 1, "label": "bag"}, {"query": 0, "label": 2}]'),
    "JSON in order": (".json", b'{"labels": ["coat", 1]}'),
    "NumPy, numbers": (".npy", npy(np.array([2, 1], np.uint8))),
    "NumPy, names": (".npy", npy(np.array(["coat", "bag"]))),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", LABELLED)
def test_every_reader_reads_labels(name: str, reader: str, tmp_path: Path) -> None:
    assert READERS[reader](*LABELLED[name], tmp_path).tolist() == [[0, 0, 1], [0, 1, 0]]


@pytest.mark.parametrize("reader", READERS)
def test_answers_to_another_kits_questions_are_refused_everywhere(reader: str, tmp_path: Path) -> None:
    with pytest.raises(AnswersError, match="kit other; expected those of kit kit1"):
        READERS[reader](".csv", b"query,label,kit\n0,bag,other\n", tmp_path)


def test_docs_note_console_and_openapi_name_the_same_formats(tmp_path: Path) -> None:
    assert {ending for ending, _ in WRITERS.values()} == set(BY_ENDING) == {f.ending for f in FORMATS}
    rows = re.findall(
        r"^\| ([^|]+) \| `(\.\w+)` \| `([^|]+)` \| (.+) \|$",
        (ROOT / "docs" / "answers.md").read_text(),
        re.MULTILINE,
    )
    assert rows == [(f.name, f.ending, f.media, f.holds) for f in FORMATS]
    write_questions(tmp_path / "q.zip", torch.zeros(2, 1, 2, 2), "kit1", CLASSES)
    with zipfile.ZipFile(tmp_path / "q.zip") as archive:
        note = archive.read("README.txt").decode()
    assert all(
        re.search(rf"^\{f.ending} ", note, re.MULTILINE) and f.holds.replace("`", "") in note for f in FORMATS
    )
    script = (CONSOLE / "judge.js").read_text()
    kinds = {
        f".{name}": media for name, media in re.findall(r"(\w+): \"(application/[^\"]+|text/csv)\"", script)
    }
    assert kinds == {f.ending: f.media for f in FORMATS}
    assert tuple(BODY["requestBody"]["content"]) == ACCEPTED == tuple(f.media for f in FORMATS)


HOSTILE_NPY = {
    "a pickle": npy(np.array([{"a": 1}], dtype=object)),
    "more than there is": npy(np.zeros((1, 3), np.float32)).replace(b"(1, 3)", b"(9, 3)"),
    "a header of nothing": npy(np.zeros((1, 3), np.float32)).replace(b"'<f4'", b"'<f0'"),
    "less than nothing": npy(np.zeros((1, 3), np.float32)).replace(b"(1, 3)", b"(-1,3)"),
    "three axes": npy(np.zeros((1, 3, 1), np.float32)),
    "labels that are not numbers": npy(np.zeros(3)),
    "complex": npy(np.zeros((1, 3), complex)),
    "cut off": npy(np.zeros((1, 3), np.float32))[:-3],
    "no header": b"\x93NUMPY",
    "text": b"hello",
    "several names a row": npy(np.array([["a", "b", "c"]])),
}


@pytest.mark.parametrize("name", HOSTILE_NPY)
def test_an_array_that_is_none_is_refused(name: str) -> None:
    with pytest.raises((InputError, Refused)):
        read_rows(BY_ENDING[".npy"].media, HOSTILE_NPY[name], CLASSES, 12)
    with pytest.raises(InputError):
        read(BY_ENDING[".npy"], HOSTILE_NPY[name]).rows(Naming(CLASSES))


def test_arrays_of_other_kinds_and_orders_of_numbers() -> None:
    for array in (
        ROWS.numpy().astype(">f8"),
        np.asfortranarray(ROWS.numpy()),
        ROWS.numpy().astype(np.float16),
    ):
        found = read(BY_ENDING[".npy"], npy(array)).rows(Naming(CLASSES))[0]
        torch.testing.assert_close(found, ROWS, atol=1e-3, rtol=0)


@pytest.mark.parametrize("reader", READERS)
def test_a_whole_number_that_no_float_holds_is_refused(reader: str, tmp_path: Path) -> None:
    with pytest.raises(AnswersError, match="that no float holds"):
        READERS[reader](".json", b'{"answers": [[1' + b"0" * 400 + b", 0, 0]]}", tmp_path)
