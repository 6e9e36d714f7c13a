"""What ``zooaudit plan`` foretells, against arithmetic, committed measurements, and a real audit."""

import json
import runpy
import time
import tracemalloc
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.collecting import key
from tests.support.finished import Finished
from tests.support.places import ROOT
from zooaudit.config import ExtractConfig, Recipe, TwinTestConfig, ZooConfig
from zooaudit.data.images import Dataset
from zooaudit.errors import ConfigError
from zooaudit.planning import sizing, sizing_notes
from zooaudit.planning.footprint import PROBE, asking, audit_requests, on_s3
from zooaudit.planning.given import Devices
from zooaudit.planning.measured import DOMAINS, Domain, Measured, measured
from zooaudit.planning.sizing import estimate, planned, scaled
from zooaudit.planning.twin_footprint import pools_of, twin_test_of
from zooaudit.recipes.named import DIGITS, FMNIST_QUICK, RECIPES
from zooaudit.storage.models import load_record
from zooaudit.storage.opening import open_store
from zooaudit.telemetry.metrics import QUERIES, STORE_SECONDS
from zooaudit.zoo.build import Status

FMNIST = DOMAINS["fashion-mnist"]


@settings(max_examples=15)
@given(st.integers(1, 300), st.floats(0.5, 100))
def test_more_and_faster_devices_are_never_slower(count: int, speedup: float) -> None:
    recipe, _ = scaled(FMNIST_QUICK, 90)
    base = estimate(recipe, FMNIST, Devices(count, speedup, "GPUs"))
    for better in (Devices(count + 1, speedup, "GPUs"), Devices(count, speedup * 1.5, "GPUs")):
        found = estimate(recipe, FMNIST, better)
        assert found.hours[0] <= base.hours[0] and found.hours[1] <= base.hours[1]
        assert found.core_hours == base.core_hours and found.requests == base.requests
    assert base.critical_path_hours <= base.training_hours[0] <= base.training_hours[1] * (1 + 1e-9)


@settings(max_examples=20)
@given(st.sampled_from(sorted(RECIPES)), st.integers(13, 1000))
def test_a_scaled_recipe_plans_about_as_many_models(name: str, models: int) -> None:
    recipe = RECIPES[name]
    zoo = recipe.zoo
    cells = 2 * len(zoo.architectures) * len(zoo.optimisers)
    smallest = (
        1
        + len(zoo.taken)
        + zoo.twins
        + zoo.references
        + zoo.other_victims * 2
        + 2 * zoo.encoder_per_role
        + cells
    )
    if models < smallest:
        with pytest.raises(ConfigError, match=f"smallest zoo has {smallest}"):
            scaled(recipe, models)
        return
    changed, why = scaled(recipe, models)
    found = estimate(changed, DOMAINS[recipe.dataset], Devices(1))
    assert found.total_models == len(planned(changed, DOMAINS[recipe.dataset]).specs)
    assert abs(found.total_models - models) <= cells / 2 + zoo.other_victims
    assert (
        f"-> {changed.zoo.suspects_per_cell}," in why and f"-> {changed.zoo.look_alikes_per_victim};" in why
    )


def test_unscaled_a_recipe_stays_as_it_is() -> None:
    for recipe in RECIPES.values():
        total = len(planned(recipe, DOMAINS[recipe.dataset]).specs)
        assert scaled(recipe, total)[0] == recipe


def test_ten_thousand_models_take_seconds_and_little_memory() -> None:
    recipe, _ = scaled(FMNIST_QUICK, 10_000)
    started = time.process_time()
    tracemalloc.start()
    found = estimate(recipe, FMNIST, Devices(4))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert abs(found.total_models - 10_000) < 20
    assert time.process_time() - started < 30  # tracing makes it several times slower
    assert peak < 300 * 2**20


def test_the_measurements_are_those_of_the_committed_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))  # where a script finds its neighbours
    script = runpy.run_path(str(ROOT / "benchmarks" / "model_seconds.py"))
    committed = json.loads((ROOT / "benchmarks" / "results" / "model_seconds.json").read_text())
    assert json.loads((ROOT / "zooaudit" / "planning" / "measured.json").read_text()) == script[
        "for_the_product"
    ](committed)
    assert Measured(**script["for_the_product"](committed)) == measured()


BEFORE_TWINS = replace(
    FMNIST_QUICK,
    zoo=ZooConfig(
        encoder_architectures=("B", "C", "D", "E"),
        epochs=(("A", 6), ("B", 3), ("C", 12), ("D", 3)),
        mirrored=("A", "C"),
        second_attack=ExtractConfig(attack="jbda"),
        twins=0,
        references=0,
    ),
    twin_test=TwinTestConfig(control_questions=1, looks=(1,)),
)
"""The recipe as it was in November 2026, when audits were by the paper's test alone."""


RENAMED = "4639a33c6919ec44"
"""Of the same recipe, when its field ``twin_test.control_questions`` was called ``checks``."""


def test_the_measured_audits_would_have_been_foretold() -> None:
    data = json.loads((ROOT / "benchmarks" / "results" / "audit_fmnist-quick.json").read_text())
    rows = data["rows"]
    then = FMNIST_QUICK if data["recipe_digest"] in (FMNIST_QUICK.digest, RENAMED) else BEFORE_TWINS
    low, high = estimate(then, FMNIST, Devices(2)).hours
    for row in rows:
        assert row["models"]["trained"] == len(planned(then, FMNIST).specs)
        assert low * 3600 * 0.9 < row["wall_s"] < high * 3600 * 1.1
    seconds = sum(r["phases_s"]["training"] for r in rows) / len(rows)
    assert low * 3600 < 2 * seconds, "core seconds, not those of two cores"


def test_the_domains_are_those_of_the_datasets(digits: Dataset) -> None:
    known = DOMAINS["digits"]
    assert (known.train_size, known.image, known.num_classes) == (
        len(digits.train),
        digits.image_shape,
        digits.num_classes,
    )
    assert {r.dataset for r in RECIPES.values()} <= DOMAINS.keys()


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda r: r.name)
def test_every_recipe_fits_its_dataset(recipe: Recipe) -> None:
    """Enough images for all datapoints of all views, and for the attackers: an audit would
    be refused after the data is read."""
    domain = DOMAINS[recipe.dataset]
    held = round(domain.train_size * recipe.zoo.data_fraction)
    assert recipe.fingerprint.points * recipe.fingerprint.views <= held
    for attack in (recipe.zoo.extraction, recipe.zoo.second_attack):
        assert attack is None or attack.seed_size <= domain.train_size - held


def test_planning_leaves_the_random_generators_alone(same_global_rng: None) -> None:
    estimate(DIGITS, DOMAINS["digits"], Devices(1))


def test_what_was_not_measured_is_said() -> None:
    unknown = Domain("my-images", 5000, 1000, (3, 32, 32), 10)
    assert any("nothing was measured on my-images" in n for n in estimate(DIGITS, unknown, Devices(1)).notes)
    gpu = estimate(FMNIST_QUICK, FMNIST, Devices(4, 25.0, "GPUs"))
    assert any("divided by 25" in n and "no measurement on a GPU" in n for n in gpu.notes)
    assert gpu.training_hours[0] == pytest.approx(gpu.core_hours / 25 / 4)
    odd = replace(FMNIST_QUICK, zoo=replace(FMNIST_QUICK.zoo, architectures=("A",)))
    assert any("not measured" in n and "A cloudleak" in n for n in estimate(odd, FMNIST, Devices(1)).notes)


@pytest.mark.parametrize(
    "bad", [{"count": 0}, {"count": 1, "speedup": 0.0}, {"count": 1, "speedup": float("inf")}]
)
def test_impossible_devices_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Devices(**bad)


def test_a_real_audit_makes_these_requests_and_keeps_these_bytes(finished: Finished) -> None:
    notebook, store = finished.notebook, str(finished.store)
    counted = {
        o: notebook.times[key(STORE_SECONDS, operation=o)]
        for o in ("create", "read", "exists", "list", "delete")
    }
    artifacts = open_store(store)
    plan = planned(DIGITS, DOMAINS["digits"])
    records = {i: load_record(artifacts, i) for i in artifacts.ids("model")}
    assert all(r.status is Status.LEARNT and r.attempts == 1 for r in records.values()), (
        "the plan is for models that learn at once"
    )
    parents = [s.parent for s in plan.specs if s.parent is not None]
    families = pools_of(DIGITS, DOMAINS["digits"].test_size)
    asked = asking(DIGITS, plan, twin_test_of(DIGITS, plan, families), families)
    assert asked.sets == len(artifacts.ids("answers"))
    found = audit_requests(len(plan.specs), len(parents), len(set(parents)), asked.sets, encoders=2)
    assert vars(found) == dict(zip(("put", "get", "head", "list", "delete"), counted.values(), strict=True))

    expected = estimate(DIGITS, DOMAINS["digits"], Devices(1))
    assert vars(expected.requests) == vars(on_s3(found) + PROBE)
    assert (
        notebook.amount[key(QUERIES, asker="attacker")]
        == expected.attackers_queries
        == sum(r.queries for r in records.values())
    )
    assert notebook.amount[key(QUERIES, asker="auditor")] == expected.audit_queries
    stored: Counter[str] = Counter()
    for kind in expected.storage_bytes:
        for id_ in artifacts.ids(kind):
            manifest = artifacts._store.read(f"manifests/{kind}/{id_}.json")
            stored[kind] += len(manifest) + sum(e["bytes"] for e in artifacts.load(kind, id_).files.values())
    for kind, size in expected.storage_bytes.items():
        if kind == "report":
            assert size / 4 < stored[kind] < size, "an upper limit"
        else:
            assert stored[kind] == pytest.approx(size, rel=0.1, abs=500), kind


def test_zoos_of_other_recipes_are_reckoned_with_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rates made up: ResNet34 measured on CIFAR-10 only, everything else of the recipe nowhere."""
    recipe, known = RECIPES["cifar10-small"], measured()
    source = {
        "recipe": "cifar10-small",
        "models": 16,
        "commit": "abc",
        "date": "2026-01-02T00:00:00",
        "hardware": "2 cores",
    }
    own = {name: known.seconds_per_1e12_work[name] for name in ("fashion-mnist", "digits")}
    rates = own | {"cifar10": {"resnet34 trained": 7.0, "resnet34 cloudleak": 9.0}}
    made_up = replace(known, zoos={"cifar10": source}, seconds_per_1e12_work=rates)
    for module in (sizing, sizing_notes):
        monkeypatch.setattr(module, "measured", lambda: made_up)
    assert made_up.rates("cifar10")["resnet34 trained"] == 7.0
    assert made_up.rates("my-images")["resnet34 trained"] == 7.0, "measured on other data"
    notes = " ".join(estimate(recipe, DOMAINS["cifar10"], Devices(2)).notes)
    assert "one zoo of cifar10-small (16 models, 2 cores, commit abc, 2026-01-02)" in notes
    assert "counted at the slowest measured rate: densenet121 cloudleak" in notes and "resnet34" not in notes
    assert "measured on other data only" in " ".join(
        estimate(FMNIST_QUICK, DOMAINS["cifar10"], Devices(2)).notes
    )


def test_what_was_not_measured_on_tiny_images_is_no_faster_than_what_was() -> None:
    known = measured()
    rates, own = known.rates("digits"), known.seconds_per_1e12_work["digits"]
    assert "D trained" not in own and rates["D trained"] == max(own.values())
    assert all(rates[k] == v for k, v in own.items())
