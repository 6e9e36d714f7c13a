"""Answers in bodies: every format comes down to the same rows, and no bytes do more than be refused."""

import json
import sys
from http import HTTPStatus
from typing import Any

import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.support.bodies import GOOD, MOST, K, as_arrow, as_parquet, bomb, table
from zooaudit.data import limited_parquet
from zooaudit.data.limited_parquet import Reader
from zooaudit.errors import AnswersError
from zooaudit.serving.bodies import (
    ARROW,
    JSON,
    PARQUET,
    RAW,
    most_bytes,
    read_carefully,
    read_json_fast,
    read_rows,
)
from zooaudit.serving.problems import Refused
from zooaudit.suspects.offline import questions_json

CLASSES = ("ankle boot", "bag", "coat", "dress")


def as_json(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def read(kind: str, body: bytes) -> Tensor:
    return read_rows(kind, body, CLASSES, MOST)


BACKWARDS = list(reversed(range(MOST)))
FORMS = {
    "JSON": (JSON, as_json(answers=GOOD.tolist())),
    "numbers": (RAW, GOOD.numpy().astype("<f4").tobytes()),
    "Arrow": (ARROW, as_arrow(table())),
    "Arrow, lists of doubles": (ARROW, as_arrow(table(fixed=False))),
    "Arrow, backwards": (ARROW, as_arrow(table(GOOD.flip(0), BACKWARDS))),
    "Parquet": (PARQUET, as_parquet(table())),
    "Parquet, lists of doubles, zstd": (PARQUET, as_parquet(table(fixed=False), compression="zstd")),
    "Parquet, backwards": (PARQUET, as_parquet(table(GOOD.flip(0), BACKWARDS), compression="none")),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_format_gives_the_same_rows_to_the_bit(form: str) -> None:
    assert torch.equal(read(*FORMS[form]), GOOD)
    assert len(FORMS[form][1]) < most_bytes(MOST, K)


VALUES = st.one_of(
    st.floats(),
    st.floats(0, 1),
    st.integers(),
    st.booleans(),
    st.none(),
    st.text(max_size=3),
    st.lists(st.integers(), max_size=2),
)
ROWS = st.lists(
    st.lists(st.one_of(st.floats(0, 1), st.integers(-(2**70), 2**70)), min_size=K, max_size=K), max_size=5
)
ODD_ROWS = st.lists(st.one_of(VALUES, st.lists(VALUES, max_size=K + 1)), max_size=4)
OBJECTS = st.one_of(
    st.fixed_dictionaries({"answers": ROWS}),
    st.fixed_dictionaries({"answers": ODD_ROWS}),
    st.fixed_dictionaries(
        {"answers": ROWS}, optional={"labels": st.none() | st.lists(st.integers(0, 3)), "more": VALUES}
    ),
    VALUES,
)
ODD_TEXTS = (
    '{"answers": [[1,0,0,0]], "answers": [[0,1,0,0]]}',
    '{"answers": [[1e999,0,0,0]]}',
    '{"answers": [[01,0,0,0]]}',
    '{"answers": [[1,0,0,0]]} x',
    '{"answers": [[1,0,0,0],]}',
    '{"\\u0061nswers": [[1,0,0,0]]}',
    '{"answers": [[1,2],[3,4,5,6,7,8]]}',
    '{"answers": [[1,0,0,[0]]]}',
    '{"answers": [{"a":1,"b":0,"c":0,"d":0}]}',
    '{"answers": ["abcd"]}',
    "[" * 2000,
    '{"answers":' + "[" * 1100 + "]" * 1100 + "}",
    '{"answers": [[100000000000000000000,0,0,0]]}',
    '\ufeff{"answers": [[1,0,0,0]]}',
    "",
)


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_odd_texts_are_read_as_carefully_or_refused(text: str) -> None:
    fast, body = read_json_fast(text.encode(), K), text.encode()
    try:
        careful = read_carefully(JSON, body, CLASSES, MOST)
    except (AnswersError, Refused):
        assert fast is None
        with pytest.raises((AnswersError, Refused)):
            read(JSON, body)
    else:
        assert torch.equal(read(JSON, body), careful)


def test_too_many_labels_are_refused_before_they_are_laid_out() -> None:
    with pytest.raises(AnswersError, match="61 rows"):
        read(JSON, as_json(labels=[0] * 61))


@given(OBJECTS.map(json.dumps).map(str.encode))
def test_what_is_read_fast_is_what_is_read_carefully(body: bytes) -> None:
    if (fast := read_json_fast(body, K)) is not None:
        assert torch.equal(fast, read_carefully(JSON, body, CLASSES, MOST))


def test_plain_answers_are_read_fast() -> None:
    assert torch.equal(read_json_fast(FORMS["JSON"][1], K), GOOD)


def test_labels_by_name_and_by_number() -> None:
    rows = read(JSON, as_json(labels=["bag", 3, "ankle boot"]))
    assert rows.tolist() == [[0, 1, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0]]


def test_json_with_as_many_digits_as_there_can_be_is_within_the_limit() -> None:
    answers = GOOD.double().add(1 / 3).tolist()
    assert len(json.dumps({"answers": answers}, indent=4)) < most_bytes(MOST, K)


WRONG = {
    "no rows": (JSON, as_json(answers=[]), "0 rows", "1 to 60"),
    "too many rows": (RAW, b"\0" * 16 * 61, "61 rows", "1 to 60"),
    "too few classes": (
        JSON,
        as_json(answers=GOOD[:, 1:].tolist()),
        "3 numbers for image 0",
        "4, one for each class",
    ),
    "a text": (
        JSON,
        as_json(answers=[[0.1, 0.2, 0.3, "0.4"]]),
        "[0.1, 0.2, 0.3, '0.4'] for image 0",
        "4 numbers",
    ),
    "nothing": (JSON, as_json(answers=[[0.1, 0.2, 0.3, None]]), "None] for image 0", "4 numbers"),
    "a list": (JSON, b"[]", "no rows", "one for each query"),
    "neither": (JSON, as_json(more=1), "neither", "one of them"),
    "both": (JSON, as_json(answers=[[1, 0, 0, 0]], labels=[0]), "both", "one of them"),
    "another label": (
        JSON,
        as_json(labels=["shoe"]),
        "the class 'shoe'",
        "one of ankle boot, bag, coat, dress",
    ),
    "a label beyond": (JSON, as_json(labels=[4]), "the class '4'", "one of ankle boot"),
    "cut off": (RAW, b"\0" * 17, "17 bytes", "a multiple of 4"),
    "compressed": (ARROW, as_arrow(table(), compression="zstd"), "compressed buffers", "without compression"),
    "compressed, in the old way": (
        ARROW,
        as_arrow(table(), metadata_version=pa.ipc.MetadataVersion.V4),
        "an old format",
        "version 5",
    ),
    "a column twice": (
        ARROW,
        as_arrow(pa.table([[0], [0], [[1.0, 0, 0, 0]]], ["query", "query", "probabilities"])),
        "the columns",
        "query and one of",
    ),
    "other columns": (
        ARROW,
        as_arrow(pa.table({"a": [1]})),
        "the columns a",
        "query and one of probabilities",
    ),
    "texts": (
        ARROW,
        as_arrow(pa.table({"query": [0], "probabilities": [["a"]]})),
        "['a'] for image 0",
        "4 numbers",
    ),
    "a dictionary": (
        ARROW,
        as_arrow(pa.table({"query": [0], "probabilities": pa.array(["a"]).dictionary_encode()})),
        "a dictionary",
        "plain",
    ),
    "twice": (ARROW, as_arrow(table(GOOD[:2], [0, 0])), "query 0 2 times", "each once"),
    "missing": (PARQUET, as_parquet(table(GOOD[:2], [0, 2])), "2 rows but no query 1", "without a gap"),
    "gaps": (
        PARQUET,
        as_parquet(pa.table({"query": [0], "probabilities": [[0.5, None, 0.25, 0.25]]})),
        "with gaps",
        "as many numbers in each",
    ),
    "no list": (
        ARROW,
        as_arrow(pa.table({"query": [0, 1], "probabilities": [[1.0, 0, 0, 0], None]})),
        "missing values",
        "a list of numbers in each row",
    ),
    "other lengths": (
        PARQUET,
        as_parquet(pa.table({"query": [0], "probabilities": [[0.5, 0.5]]})),
        "2 numbers for image 0",
        "4, one for each class",
    ),
    "more rows than there are questions": (
        PARQUET,
        as_parquet(table(torch.ones(61, 4))),
        "61 rows",
        "1 to 60",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_another_layout_says_what_was_found_and_expected(name: str) -> None:
    kind, body, found, expected = WRONG[name]
    with pytest.raises(AnswersError) as caught:
        read(kind, body)
    assert found in caught.value.found and expected in caught.value.expected


@pytest.mark.long
def test_a_parquet_bomb_goes_off_elsewhere() -> None:
    body = bomb(300_000_000)
    assert len(body) < 200_000
    with pytest.raises(Refused, match="cannot be read as Parquet") as caught:
        read(PARQUET, body)
    assert caught.value.status == HTTPStatus.BAD_REQUEST
    assert torch.equal(read(*FORMS["Parquet"]), GOOD), "the next one is read as ever"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (JSON, b"{"),
        (ARROW, b"no stream at all, though it is long enough"),
        (ARROW, FORMS["Arrow"][1][:-200]),
        (PARQUET, b"PAR1"),
        (PARQUET, FORMS["Parquet"][1][:-20]),
        (PARQUET, b""),
    ],
)
def test_what_is_not_of_its_type_is_a_400(kind: str, body: bytes) -> None:
    with pytest.raises(Refused) as caught:
        read(kind, body)
    assert caught.value.status == HTTPStatus.BAD_REQUEST and caught.value.found


@settings(max_examples=200)
@given(st.binary(max_size=200), st.integers(0, 10**6), st.sampled_from(sorted(FORMS)))
def test_no_bytes_do_more_than_be_refused(noise: bytes, place: int, form: str) -> None:
    """Noise alone, and noise written over a good body."""
    kind, good = FORMS[form]
    start = place % len(good)
    for body in (noise, good[:start] + noise + good[start + len(noise) :]):
        try:
            assert read(kind, body).shape[1] == K
        except Refused as refused:
            assert refused.status == HTTPStatus.BAD_REQUEST
        except AnswersError as error:
            assert error.found and error.expected


def test_questions_in_json_are_exact() -> None:
    images = torch.rand(3, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    data = json.loads(questions_json(images))
    assert data["image_shape"] == [1, 2, 2] and [q["query"] for q in data["queries"]] == [0, 1, 2]
    assert torch.equal(torch.tensor([q["image"] for q in data["queries"]]).view(3, 1, 2, 2), images)


def test_a_reader_that_does_not_start_is_no_fault_of_the_body(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    monkeypatch.setattr(limited_parquet, "reader", Reader())
    with pytest.raises(Refused, match="does not start") as caught:
        read_rows(PARQUET, b"", CLASSES, 10)
    assert caught.value.status == 503 and caught.value.headers
