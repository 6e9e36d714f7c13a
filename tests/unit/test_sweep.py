"""Sweeps: spaces as they are typed, trials that ask nobody, Ray Tune for real, killed and resumed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.zoos import TINY, bench
from zooaudit.cli.main import main
from zooaudit.config import EncoderConfig
from zooaudit.data.images import Dataset
from zooaudit.errors import ConfigError, NotEnoughModelsError
from zooaudit.storage.opening import open_store
from zooaudit.studies import thieves
from zooaudit.studies.cohort import Cohort
from zooaudit.sweep import tuner
from zooaudit.sweep.evaluate import Field, evaluate
from zooaudit.sweep.field import line_up
from zooaudit.sweep.result import Row, best, picture, table
from zooaudit.sweep.space import AXES, PRESETS, Space, parse_space
from zooaudit.sweep.tuner import run_trials, trial_id
from zooaudit.telemetry import metrics
from zooaudit.telemetry.metrics import Metric
from zooaudit.training.farm import SerialFarm
from zooaudit.zoo.spec import Group, Role


def test_a_space_is_every_combination() -> None:
    space = parse_space(["points=5,8", "top_k=0,all"])
    assert list(space.trials()) == [
        {"points": 5, "top_k": 0},
        {"points": 5, "top_k": "all"},
        {"points": 8, "top_k": 0},
        {"points": 8, "top_k": "all"},
    ]


@given(
    st.lists(st.integers(1, 100), min_size=1, max_size=6, unique=True),
    st.lists(st.integers(0, 10), min_size=1, max_size=4, unique=True),
)
def test_what_is_typed_is_what_is_swept(points: list[int], ks: list[int]) -> None:
    space = parse_space([f"points={','.join(map(str, points))}", f"top_k={','.join(map(str, ks))}"])
    trials = list(space.trials())
    assert len(trials) == len(points) * len(ks) == len({tuple(t.values()) for t in trials})


@pytest.mark.parametrize("name", PRESETS)
def test_presets_parse(name: str) -> None:
    space = parse_space([name])
    assert list(space.trials()) and set(space.axes) <= set(AXES)
    assert len(list(parse_space(["answers"]).trials())) == 40


def test_a_later_word_replaces_an_axis() -> None:
    assert parse_space(["answers", "points=7"]).axes["points"] == (7,)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "nothing to sweep"),
        (["speed=1"], "neither an axis nor a preset; axes: points"),
        (["points"], "neither an axis nor a preset"),
        (["points=0"], "expected N"),
        (["points=two"], "expected N"),
        (["points="], "expected N"),
        (["points=5,5"], "a value twice"),
        (["top_k=some"], "label only"),
        (["temperature=0"], r"tau, a number in \(0, 10\]"),
        (["encoder=best"], "one of paper"),
        (["modification=int8:4"], "KIND:STRENGTH"),
        (["modification=prune:7"], "KIND:STRENGTH"),
        (["modification=fine-tune:inf"], "KIND"),
        (["modification=adversarial:45.5"], "KIND:STRENGTH"),
        (["modification=melt:1"], "KIND:STRENGTH"),
        (["modification=prune"], "KIND:STRENGTH"),
        (["overlap=1.5"], "share"),
        (["overlap=0", "seed_share=0.1"], "each choose the suspects"),
    ],
)
def test_what_cannot_be_swept_is_named(words: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_space(words)


def test_a_trial_says_how_fingerprints_are_made() -> None:
    ours, papers = EncoderConfig("hellinger", steps=7), EncoderConfig("paper", steps=9, architectures=("E",))
    field = Field(Cohort("v", (), (), {}, 0), {"paper": papers, "hellinger": ours}, ours, {})
    assert field.variant({}).encoder == ours
    made = field.variant(
        {"points": 3, "top_k": "all", "views": 2, "temperature": 0.5, "encoder": "paper", "draw": 4}
    )
    assert (made.points, made.top_k, made.views, made.draw) == (3, None, 2, 4)
    assert made.encoder == replace(papers, temperature=0.5), (
        "the paper's encoder is the recipe's, not ours by another name"
    )
    assert field.variant({"encoder": "autoencoder"}).encoder == replace(papers, name="autoencoder")
    assert field.variant({"top_k": 0}).top_k == 0


# on a real zoo


class Counted:
    """Adds up what is asked and trained."""

    def __init__(self) -> None:
        self.totals: dict[str, float] = {}

    def record(self, metric: Metric, value: float, tags: dict[str, str]) -> None:
        self.totals[metric.name] = self.totals.get(metric.name, 0) + value


def test_a_sweep_over_answers_asks_and_trains_nothing(digits: Dataset, sweep_store: str) -> None:
    counted = Counted()
    before = metrics.collect_with(counted)
    try:
        working = bench(digits, open_store(sweep_store))  # without a farm: it could not train if it wanted to
        space = parse_space(["points=4,8", "top_k=0,3,all", "views=2,4", "temperature=0.1,0.2"])
        field = line_up(space, working).field()
        rows = [evaluate(field, t) for t in space.trials()]
    finally:
        metrics.collect_with(before)
    assert len(rows) == 24 and all(0 <= r["auc"] <= 1 for r in rows)
    assert metrics.QUERIES.name not in counted.totals and metrics.MODELS.name not in counted.totals
    assert metrics.STORE_SECONDS.name in counted.totals, "the counter does count"
    assert (working.queries, working.trained) == (0, 0)


def test_an_axis_of_models_puts_them_in_the_place_of_their_role(
    digits: Dataset, sweep_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thieves, "PER_SHARE", 2)
    working = bench(digits, open_store(sweep_store), SerialFarm())
    space = parse_space(["modification=int8:8,adversarial:31"])
    field = line_up(space, working).field()
    for trial in space.trials():
        suspects = field.suspects(trial)
        stolen = [s for s in suspects if s.role is Role.PIRACY]
        assert stolen and all(
            s.modification and f"{s.modification.kind}:{s.modification.strength:g}" == trial["modification"]
            for s in stolen
        )
        assert {s.group for s in suspects if s.role is not Role.PIRACY} == {Group.SUSPECT}
        assert evaluate(field, trial)["piracy_models"] == len(stolen)
    assert working.trained == 3, "one model is modified: INT8, and two stages of adversarial training"
    overlapping = line_up(parse_space(["overlap=0.5"]), working).of({"overlap": 0.5})
    assert [s.overlap.share for s in overlapping if s.role is Role.HOMOLOGOUS and s.overlap] == [0.5]
    weak = line_up(parse_space(["seed_share=0.25"]), working).of({"seed_share": 0.25})
    assert [s.group for s in weak if s.role is Role.PIRACY] == [Group.STUDY] * 2


def test_models_that_are_missing_are_named_before_anything_runs(digits: Dataset, sweep_store: str) -> None:
    with pytest.raises(NotEnoughModelsError, match=r"lacks 1 models .*1 piracy \(prune\).* --build"):
        line_up(parse_space(["modification=prune:0.77"]), bench(digits, open_store(sweep_store)))


def test_a_trial_without_models_says_so(digits: Dataset, sweep_store: str) -> None:
    field = line_up(parse_space(["points=4"]), bench(digits, open_store(sweep_store))).field()
    innocent = tuple(s for s in field.cohort.suspects if not s.role.stolen)
    nobody = replace(field, cohort=replace(field.cohort, suspects=innocent))
    with pytest.raises(NotEnoughModelsError, match="0 piracy and 3 homologous"):
        evaluate(nobody, {"points": 4})


# tables and pictures


def rows_of(space: Space) -> list[Row]:
    return [Row(t, {"auc": 0.5 + 0.01 * i}) for i, t in enumerate(space.trials())]


def test_a_table_has_a_column_an_axis_and_a_metric() -> None:
    rows = [
        *rows_of(parse_space(["points=5,8", "top_k=0,all"])),
        Row({"points": 9, "top_k": 1}, {}, "too many"),
    ]
    found = table(rows).to_pylist()
    assert found[0] == {"points": 5, "top_k": "0", "auc": 0.5, "error": ""}
    assert found[-1] == {"points": 9, "top_k": "1", "auc": None, "error": "too many"}


def test_the_best_trial_is_the_highest_that_has_a_result() -> None:
    rows = rows_of(parse_space(["points=5,8,9"]))
    assert best([Row({"points": 1}, {}, "no"), *rows], "auc") == rows[-1]
    assert best([Row({"points": 1}, {"auc": None})], "auc") is None


@pytest.mark.parametrize(
    "words",
    [
        ["points=5,8"],
        ["points=5,8", "top_k=0,all"],
        ["encoder=paper,hellinger"],
        ["modification=prune:0.1,int8:8"],
    ],
)
def test_every_space_has_a_picture(words: list[str]) -> None:
    space = parse_space(words)
    svg = picture(rows_of(space), "auc")
    assert svg.startswith(b"<?xml") and len(svg) > 3000
    assert picture([Row(t, {}, "no") for t in space.trials()], "auc").startswith(b"<?xml"), (
        "even with no result"
    )


# the command line


def test_axes_and_presets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in (*AXES, *PRESETS, "metrics: auc"))


@pytest.mark.parametrize("words", [["points=0"], ["points=5", "--metric", "beauty"]])
def test_bad_input_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", *words, "--recipe", "digits"]) == 2
    assert "expected" in capsys.readouterr().err


def test_more_than_the_recipe_has_is_refused_before_anything_runs(digits: Dataset, sweep_store: str) -> None:
    for words, says in (
        (["points=3,99"], "points=99; recipe tiny has answers to 8"),
        (["views=5"], "views=5; recipe tiny has answers to 4"),
    ):
        with pytest.raises(ConfigError, match=says):
            line_up(parse_space(words), bench(digits, open_store(sweep_store)))


def test_no_trials_at_once_and_a_store_in_memory_are_refused(digits: Dataset, sweep_store: str) -> None:
    chosen = line_up(parse_space(["points=4"]), bench(digits, open_store(sweep_store)))
    with pytest.raises(ConfigError, match="--at-once 0; expected at least 1"):
        run_trials([{"points": 4}], chosen, lambda _: None, 0)
    with pytest.raises(ConfigError, match="cannot reach a store in this process's memory"):
        run_trials(
            [{"points": 4}], replace(chosen, bench=bench(digits, open_store("memory:"))), lambda _: None
        )


def test_a_trials_id_changes_with_everything_that_it_rests_on(digits: Dataset, sweep_store: str) -> None:
    chosen = line_up(parse_space(["points=4,5"]), bench(digits, open_store(sweep_store)))
    fewer = replace(chosen, suspects=chosen.suspects[1:])
    other = replace(
        chosen,
        bench=replace(
            bench(digits, open_store(sweep_store)), recipe=replace(TINY, encoder=EncoderConfig(steps=21))
        ),
    )
    assert (
        len({trial_id({"points": 4}, c) for c in (chosen, fewer, other)} | {trial_id({"points": 5}, chosen)})
        == 4
    )
    before = trial_id({"points": 4}, chosen)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuner, "METHOD", "another")
        assert trial_id({"points": 4}, chosen) != before
