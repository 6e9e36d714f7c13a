"""The service's parts without a server: settings, keys, bodies, kits held in memory."""

import hashlib
import io
import json
import threading
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.test_kit import VIEWS, K, N, make_kit
from zooaudit.errors import AnswersError, ConfigError, DamagedArtifactError, InputError, MissingArtifactError, StoreError
from zooaudit.kit import save_kit
from zooaudit.serving import settings as names
from zooaudit.serving.bodies import JSON, RAW, most_bytes, queries_parquet, read_answers
from zooaudit.serving.kits import Kits
from zooaudit.serving.problems import Refused
from zooaudit.serving.settings import Settings
from zooaudit.steps import answers_schema, answers_table
from zooaudit.storage.artifacts import open_store

SHAPE = (VIEWS, N, 2, K)
GOOD = torch.rand(SHAPE, generator=torch.Generator().manual_seed(1)).softmax(-1)
KEY = "a-key-of-a-test"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()


def as_json(answers: Any) -> bytes:
    return json.dumps({"answers": answers}).encode()


def test_json_and_bare_numbers_come_back_to_the_bit() -> None:
    assert torch.equal(read_answers(JSON, as_json(GOOD.tolist()), SHAPE), GOOD)
    assert torch.equal(read_answers(RAW, GOOD.numpy().astype("<f4").tobytes(), SHAPE), GOOD)


@pytest.mark.parametrize("indent", [None, 4])
def test_a_kits_limit_has_room_for_its_answers(indent: int | None) -> None:
    answers = GOOD.double().add(1 / 3).tolist()  # as many digits as there can be
    assert len(json.dumps({"answers": answers}, indent=indent)) < most_bytes(SHAPE)
    assert most_bytes(SHAPE) > GOOD.numel() * 4


def changed(step: tuple[int, ...], value: Any) -> list[Any]:
    """Good answers with something else at one place."""
    nested: Any = GOOD.tolist()
    place = nested
    for index in step[:-1]:
        place = place[index]
    place[step[-1]] = value
    return nested


@pytest.mark.parametrize(
    ("body", "found", "expected"),
    [
        (as_json(GOOD[1:].tolist()), "5 views", "6"),
        (as_json(GOOD[:, 1:].tolist()), "4 datapoints", "5"),
        (as_json(GOOD[:, :, 1:].tolist()), r"1 answers to a datapoint \(clean, perturbed\)", "2"),
        (as_json(GOOD[..., 1:].tolist()), "3 probabilities", "4"),
        (as_json(changed((3, 2, 1), [0.5, 0.5])), "2 probabilities", "4"),
        (as_json(changed((3, 2), 1.0)), r"answers\[3\]\[2\]: Input should be a valid (list|array)", "lists of numbers"),
        (as_json(changed((3, 2, 1, 0), "0.5")), r"answers\[3\]\[2\]\[1\]\[0\]: Input should be a valid number", "lists of numbers"),
        (as_json(changed((3, 2, 1, 0), None)), "Input should be a valid number", "lists of numbers"),
        (b"[]", "at the top", "answers"),
        (b'{"more": 1}', "answers: Field required", "answers"),
    ],
)
def test_json_of_another_layout_says_what_was_found_and_expected(body: bytes, found: str, expected: str) -> None:
    with pytest.raises(AnswersError, match=found) as caught:
        read_answers(JSON, body, SHAPE)
    assert expected in caught.value.expected


def test_numbers_are_as_many_as_the_kit_asks_for() -> None:
    for size in (0, 1, GOOD.numel() * 4 - 4, GOOD.numel() * 4 + 1):
        with pytest.raises(AnswersError, match=f"{size:,} bytes; expected 960: little-endian float32"):
            read_answers(RAW, b"\0" * size, SHAPE)


@given(st.binary(max_size=200), st.integers(0, 10**6), st.sampled_from([JSON, RAW]))
def test_no_bytes_do_more_than_be_refused(noise: bytes, place: int, kind: str) -> None:
    """Noise alone, and noise written over a good body."""
    good = as_json(GOOD.tolist()) if kind == JSON else GOOD.numpy().tobytes()
    start = place % len(good)
    for body in (noise, good[:start] + noise + good[start + len(noise) :]):
        try:
            assert read_answers(kind, body, SHAPE).shape == SHAPE
        except Refused as refused:
            assert refused.status == HTTPStatus.BAD_REQUEST
        except AnswersError as error:
            assert error.found and error.expected


@pytest.mark.parametrize(
    ("value", "found"),
    [(float("nan"), "NaN"), (float("inf"), "NaN or infinite"), (1e300, "NaN or infinite"), (-0.1, "negative"), (0.9, "do not sum to 1")],
)
def test_values_that_are_no_probabilities_are_refused_by_the_kit(value: float, found: str) -> None:
    answers = read_answers(JSON, as_json(changed((0, 0, 0), [value, 0.1, 0.5, 0.5])), SHAPE)
    with pytest.raises(AnswersError, match=f"{found}.* in 1 of 60 rows"):
        make_kit().score_answers("s", answers)


def test_answers_of_another_shape_are_refused_by_the_kit() -> None:
    with pytest.raises(AnswersError, match=r"shape \(5, 5, 2, 4\); expected \(6, 5, 2, 4\)"):
        make_kit().score_answers("s", GOOD[1:])


def test_queries_are_the_kits_questions() -> None:
    kit = make_kit()
    table = pq.read_table(io.BytesIO(queries_parquet(kit)))
    assert table.column_names == ["view", "point", "perturbed", "image"]
    images = np.asarray(table["image"].combine_chunks().flatten()).reshape(-1, *json.loads(table.schema.metadata[b"image_shape"]))
    assert torch.equal(torch.from_numpy(images.copy()), kit.questions().flatten(0, 2))
    order = answers_table(GOOD, answers_schema(K))
    for name in ("view", "point", "perturbed"):
        assert table[name].equals(order[name])


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (names.KEYS, names.OPEN, names.QUERIES, names.BODY_MIB, names.KITS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(names.STORE, "somewhere")
    return monkeypatch


def test_settings_come_from_the_environment(environment: pytest.MonkeyPatch) -> None:
    environment.setenv(names.KEYS, f" {DIGEST.upper()}, {'0' * 64},")
    found = Settings.from_environment()
    assert found == Settings(str(Path("somewhere").absolute()), (DIGEST, "0" * 64), queries=False)
    assert found.accepts(KEY)
    assert not any(map(found.accepts, ("", "another", DIGEST, KEY + " ", "ключ")))
    assert DIGEST not in repr(found)
    environment.setenv(names.STORE, "s3://bucket/prefix")
    environment.setenv(names.QUERIES, "1")
    environment.setenv(names.BODY_MIB, "0.5")
    environment.setenv(names.KITS, "3")
    assert Settings.from_environment() == Settings("s3://bucket/prefix", (DIGEST, "0" * 64), True, 2**19, 3)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({}, ConfigError, "found neither"),
        ({names.OPEN: "yes"}, ConfigError, "found neither"),
        ({names.OPEN: "1", names.KEYS: DIGEST}, ConfigError, "found both"),
        ({names.KEYS: f"{DIGEST},{KEY}"}, ConfigError, f"entry 2 has {len(KEY)} characters; expected the 64 hex digits"),
        ({names.OPEN: "1", names.STORE: ""}, ConfigError, names.STORE),
        ({names.OPEN: "1", names.STORE: "memory:"}, ConfigError, names.STORE),
        ({names.OPEN: "1", names.BODY_MIB: "much"}, InputError, names.BODY_MIB),
        ({names.OPEN: "1", names.KITS: "-1"}, InputError, names.KITS),
    ],
)
def test_settings_that_stop_the_start(change: dict[str, str], error: type[Exception], says: str, environment: pytest.MonkeyPatch) -> None:
    for name, value in change.items():
        environment.setenv(name, value)
    with pytest.raises(error, match=says) as caught:
        Settings.from_environment()
    assert KEY not in str(caught.value)


def test_a_few_kits_are_held_and_the_least_recently_used_goes(tmp_path: Path) -> None:
    store = tmp_path / "store"
    ids = [save_kit(open_store(str(store)), replace(make_kit(), seed=seed)).id for seed in range(3)]
    kits = Kits(str(store), 2)
    assert [s.id for s in kits.summaries()] == sorted(ids)
    for id_ in (ids[0], ids[1], ids[0], ids[2]):
        assert kits.get(id_)[1].seed == ids.index(id_)
    store.rename(tmp_path / "away")
    assert kits.get(ids[0])[0].id == ids[0]
    assert kits.get(ids[2])[1].seed == 2
    for ask in (lambda: kits.get(ids[1]), kits.summaries, kits.there):
        with pytest.raises(StoreError, match=r"it has gone") as caught:
            ask()
        assert not isinstance(caught.value, MissingArtifactError)
    (tmp_path / "away").rename(store)
    assert kits.get(ids[1])[1].seed == 1


def test_what_is_no_kit_is_missing_and_what_is_damaged_says_so(tmp_path: Path) -> None:
    artifact = save_kit(open_store(str(tmp_path)), make_kit())
    kits = Kits(str(tmp_path), 1)
    for id_ in ("", "..", "a/b", artifact.id[:8], "0" * 16, "x" * 1000):
        with pytest.raises(MissingArtifactError):
            kits.get(id_)
    for path in (tmp_path / "objects").rglob("*"):
        if path.is_file():
            path.write_bytes(b"damage")
    with pytest.raises(DamagedArtifactError):
        kits.get(artifact.id)


def test_a_damaged_kit_does_not_hide_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    damaged, sound = (save_kit(open_store(str(tmp_path)), replace(make_kit(), seed=seed)).id for seed in range(2))
    (tmp_path / "manifests" / "kit" / f"{damaged}.json").write_text("{")
    assert [s.id for s in Kits(str(tmp_path), 1).summaries()] == [sound]
    assert damaged in caplog.text


def test_only_one_caller_at_a_time_asks_a_store_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others hear its last word at once, or they would take every place there is."""
    kits, hangs, entered = Kits(str(tmp_path), 1), threading.Event(), threading.Event()

    def there() -> None:
        entered.set()
        hangs.wait(30)

    monkeypatch.setattr(kits, "there", there)
    first = threading.Thread(target=kits.ready)
    first.start()
    assert entered.wait(30)
    with pytest.raises(StoreError, match="not been asked yet"):
        kits.ready()
    hangs.set()
    first.join(30)
    kits.ready()
