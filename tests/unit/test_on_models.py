"""The twin test's studies on models that zooaudit did not train: a thief is found, a hub is seen, and all
candidates are treated alike. Other methods on the same models: test_rivals.py."""

import argparse
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.foreign import TWINS, change, collection, load, owner_of
from zooaudit.cli.study import named_studies
from zooaudit.errors import ConfigError
from zooaudit.storage.opening import open_store
from zooaudit.studies import own_defence, power, validity
from zooaudit.studies.collected import read
from zooaudit.studies.owners import Owner, owners
from zooaudit.studies.registry import ON_MODELS
from zooaudit.studies.runner import Result, run_on_models
from zooaudit.studies.trials import ASKINGS, Defending, Trial, decided, draws, last
from zooaudit.studies.validity import leaning_of, of, total, worst_of
from zooaudit.suspects.access import Access
from zooaudit.suspects.blackbox import Recorded
from zooaudit.zoo.planner import shares

Row = dict[str, Any]
PROVENANCE = {"command": "a test", "commit": "none", "hardware": "none"}


@pytest.fixture(scope="module", autouse=True)
def few() -> Iterator[None]:
    """Studies with fewer kinds of questions."""
    with pytest.MonkeyPatch.context() as patch:
        for study in (validity, power):
            patch.setattr(study, "ASKINGS", (ASKINGS[1], ASKINGS[2], ASKINGS[4]))
        patch.setattr(validity, "ACCESSES", (Access(), Access("label"), Access("top", 3)))
        yield


@pytest.fixture(scope="module")
def innocents(owner: Owner) -> list[Row]:
    return validity.rows(owner)


@pytest.fixture(scope="module")
def thieves(owner: Owner) -> list[Row]:
    return power.rows_of(owner)


def test_a_verdict_of_a_study_is_that_of_an_audit(owner: Owner) -> None:
    for asking in (ASKINGS[0], ASKINGS[-1]):
        trial = Trial.of(owner, asking)
        models = [*owner.thieves, *(about for _, about in owner.innocents)]
        for access in (Access(), Access("top", 2), Access("label")):
            for model, compared in zip(models, trial.compared(models, access), strict=True):
                reduced = access.reduced(owner.answers([model], trial.families)[0, trial._chosen[0]])
                by_itself = trial.test.examine(Recorded(reduced)).verdict
                verdict = decided(trial.test, compared)
                assert (verdict.decision, verdict.rank, verdict.queries) == (
                    by_itself.decision,
                    by_itself.rank,
                    by_itself.queries,
                )
                assert verdict.statistics == pytest.approx(by_itself.statistics)


def test_a_test_in_another_order_calls_what_a_test_of_that_victim_calls(owner: Owner) -> None:
    order = [3, *(i for i in range(TWINS + 1) if i != 3)]
    one = Trial.of(owner, ASKINGS[1])
    other = Trial(owner, ASKINGS[1], [owner.candidates[i] for i in order], owner.references)
    turned = one.test.single_look().ordered(order)
    models = [about for _, about in owner.innocents]
    for mine, theirs in zip(one.compared(models, Access()), other.compared(models, Access()), strict=True):
        found, expected = (
            turned.decide(last(mine).ordered(order)),
            other.test.single_look().decide(last(theirs)),
        )
        assert (found.decision, found.rank) == (expected.decision, expected.rank)
        assert found.statistics == pytest.approx(expected.statistics)
        assert found.p_value == pytest.approx(expected.p_value)


def test_the_references_are_kept_in_the_new_order(owner: Owner) -> None:
    order = [5, *(i for i in range(TWINS + 1) if i != 5)]
    test = Trial.of(owner, ASKINGS[1]).test.single_look()
    before = test.hub()
    after = test.ordered(order).hub()
    afresh = (
        Trial(owner, ASKINGS[1], [owner.candidates[i] for i in order], owner.references)
        .test.single_look()
        .hub()
    )
    assert after.statistics == pytest.approx(afresh.statistics) and not np.allclose(
        after.statistics, before.statistics
    )
    assert (after.first, after.p_mean) == (afresh.first, pytest.approx(afresh.p_mean))


def test_every_innocent_is_judged_against_every_candidate(owner: Owner, innocents: list[Row]) -> None:
    part = of(innocents, questions="1,000", rule="once", access="probabilities")
    assert {r["victim"] for r in part} == {a.id for a in owner.candidates}
    assert total(of(part, true=True), "stolen")[1] == 12
    assert sum(r["first"] for r in part) == 12  # each suspect puts one candidate first
    assert all(sum(r["ranks"]) == r["n"] and r["ranks"][0] == r["first"] >= r["stolen"] for r in innocents)
    assert worst_of(part, "first")[2] > 0.05
    assert leaning_of(part)[1] > 0.01
    assert {r["source"] for r in part} == {owner.source(about) for _, about in owner.innocents}


def test_exchanging_victim_and_twin_exchanges_their_numbers(tmp_path: Path, innocents: list[Row]) -> None:
    swapped = validity.rows(owner_of(collection(tmp_path / "swapped", swapped=7)))
    keys = ("victim", "questions", "rule", "access", "family", "source")

    def told(rows: list[Row]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
        return {
            tuple(r[k] for k in keys): (r["n"], r["first"], r["stolen"], r["ranks"], r["hub"])
            for r in rows
            if "log" not in r["questions"]
        }

    assert told(swapped) == told(innocents)
    assert {r["victim"] for r in of(swapped, true=True)} == {"candidate-07"}


def test_a_candidate_that_innocents_resemble_is_seen(tmp_path: Path) -> None:
    rows = validity.rows(owner_of(collection(tmp_path / "hub", like="like {seed} 14 0.5")))
    part = of(rows, questions="500", rule="once", access="probabilities")
    name, (first, n), p = worst_of(part, "first")
    assert name == "candidate-05" and first > n / 2 and p < 1e-4  # seed 14
    share, chance = leaning_of(part)
    assert share > 0.5 and chance < 0.01
    assert total(of(part, true=True), "first")[0] <= 1


def test_what_was_made_from_a_candidate_is_no_innocent_of_it(tmp_path: Path) -> None:
    at = collection(tmp_path / "made", innocents=2)
    change(at, "innocent-00", parent="candidate-03")
    part = of(validity.rows(owner_of(at)), questions="500", rule="once", access="label")
    counts = {name: sum(r["n"] for r in rows) for name, rows in validity.by(part, "victim").items()}
    assert counts.pop("candidate-03") == 1 and set(counts.values()) == {2}


def test_copies_are_found_and_innocents_are_not(innocents: list[Row], thieves: list[Row]) -> None:
    main = [r for r in thieves if not r["curve"]]
    for access in ("probabilities", "rounded-1"):
        assert power.found(of(main, questions="500", rule="once", access=access)) == (4, 4)
    early = of(main, questions="1,000", rule="early", access="probabilities", family="fine-tuned")
    assert all(r["queries"] == 250 and r["lead"] > 0 for r in early)
    true = of(innocents, true=True, questions="500", rule="once", access="probabilities")
    assert total(true, "stolen")[0] <= 2


def test_curves_vary_one_thing_at_a_time(thieves: list[Row]) -> None:
    curves = {r["curve"] for r in thieves}
    assert curves == {
        "",
        "questions",
        "references, convolutional",
        "references, extracted",
        "references, all kinds",
        "twins",
    }
    assert {r["references"] for r in of(thieves, curve="references, convolutional")} == {4}  # of six
    assert {r["references"] for r in of(thieves, curve="references, all kinds")} == {0}, (
        "none is a net of another kind"
    )
    few = of(thieves, curve="twins", twins=9)
    assert all(r["p"] >= 0.1 and r["level"] == 0.1 for r in few) and power.found(few)[0] > 0
    assert {r["level"] for r in of(thieves, curve="twins", twins=TWINS)} == {0.05, 0.1}
    # As many as the pools hold.
    assert {r["budget"] for r in of(thieves, curve="questions")} == {125, 250, 300}


def test_references_are_drawn_in_the_shares_of_an_audit(owner: Owner) -> None:
    names = [a.id for a in owner.references]
    others = {a.id for a in owner.references[:4]}
    changed = tuple(
        replace(a, architecture="mlp", attack="") if a.id in others else a for a in owner.references
    )
    found = of(list(power._by_references(replace(owner, references=changed))), curve="references, all kinds")
    assert {r["references"] for r in found} == {0, 4, 8} and len(names) == 12
    assert shares(8) == (2, 2, 4) and shares(4) == (1, 1, 2) and shares(0) == (0, 0, 0)


def test_a_drawn_part_is_drawn_anew_each_time(owner: Owner) -> None:
    parts = draws(owner.references, 4, 3)
    assert [len(set(p)) for p in parts] == [4, 4, 4] and len({tuple(a.id for a in p) for p in parts}) == 3
    assert draws(owner.references, 99, 3) == [list(owner.references)] and draws(owner.references, 0, 3) == [
        []
    ]
    assert parts == draws(owner.references, 4, 3)


def run(folder: Path, store: str, name: str = "validity") -> Result:
    found, left_out = owners(read(folder), "dev")
    return run_on_models(ON_MODELS[name], found, left_out, open_store(store), PROVENANCE, load)


def test_a_study_is_kept_and_goes_on_where_it_stopped(squares: Path, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    first = run(squares, store)
    again = run(squares, store)
    assert first.fresh and not again.fresh and first.rows == again.rows
    other = Path(shutil.copytree(squares, tmp_path / "other"))
    change(other, "innocent-00", accuracy=0.5)
    assert run(other, store).fresh
    assert {"validity.json", "validity.parquet", "validity.svg"} == {
        p.name for p in first.write(tmp_path / "out")
    }
    data = json.loads((tmp_path / "out" / "validity.json").read_text())
    assert data["owners"] == ["own-P1"] and data["findings"] and data["command"] == "a test"


def test_power_is_drawn_and_told(squares: Path, tmp_path: Path) -> None:
    result = run(squares, str(tmp_path / "store"), "power")
    assert len(result.files["power.svg"]) > 1000
    assert any("4 of 4" in f.ours or "3 of 3" in f.ours for f in result.findings)


def test_thieves_of_a_defended_victim_are_judged_by_kits_that_know_of_it_and_by_others(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_defence, "DEFENCES", {"distilled": Defending("mad", 1.0)})
    rows = own_defence.rows(owner)
    assert {(r["kit"], r["who"]) for r in rows} == {
        (kit, who)
        for kit in (own_defence.NAMED, own_defence.UNNAMED)
        for who in (own_defence.LEARNT, own_defence.TAKEN, own_defence.INNOCENT)
    }
    assert {r["defence"] for r in rows} == {"mad"} and {r["rank"] for r in rows} > {1}
    assert any("named 1.00" in f.ours for f in own_defence.outcome(rows).findings)


def asked(*names: str, models: str = "") -> argparse.Namespace:
    return argparse.Namespace(names=list(names), models=models or None, data=None)


def test_a_study_is_asked_for_what_it_is_tried_on() -> None:
    with pytest.raises(ConfigError, match="say where they are, --models DIR"):
        named_studies(asked("validity"))
    with pytest.raises(ConfigError, match="auc is tried on a zoo"):
        named_studies(asked("auc", models="somewhere"))
    with pytest.raises(ConfigError, match=r"unknown study 'verdict'; known studies: .*validity"):
        named_studies(asked("verdict", models="somewhere"))
    zoo, on_models = named_studies(asked("all", models="somewhere"))
    named = ["validity", "power", "own-defence", "disguises", "baselines", "qurd"]
    assert not zoo and [s.name for s in on_models] == named
    assert not named_studies(asked("all"))[1]
