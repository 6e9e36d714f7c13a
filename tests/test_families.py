"""Who may train what judges whom: folds by victim, architecture and attack, and the table's numbers by hand."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.zoos import TINY, bench
from zooaudit.data.images import Dataset
from zooaudit.farm import SerialFarm
from zooaudit.recipes import FMNIST_VERDICT
from zooaudit.storage.artifacts import open_store
from zooaudit.studies import families
from zooaudit.studies.families import ALL, LOOK_ALIKES, STOLEN, Contest, Fold, left_out
from zooaudit.studies.methods import Entry
from zooaudit.studies.registry import STUDIES
from zooaudit.studies.runner import run_study
from zooaudit.studies.verdict import findings, table_rows
from zooaudit.verdict.metrics import auc, bootstrap_auc, tpr_at_fpr
from zooaudit.zoo.build import training_half
from zooaudit.zoo.plan import plan_zoo
from zooaudit.zoo.spec import Group, ModelSpec, Role
from zooaudit.zoo.variants import distilled, hardened, twin

TWO_STRANGERS = dataclasses.replace(TINY, zoo=dataclasses.replace(TINY.zoo, other_victims=2, look_alikes_per_victim=2))


@pytest.fixture(scope="module")
def contest(digits: Dataset) -> Contest:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(families, "PER_FAMILY", 2)
        patch.setattr(families, "HARDENED", dataclasses.replace(families.HARDENED, strength=1))
        made = Contest(bench(digits, open_store("memory:"), SerialFarm(), TWO_STRANGERS))
        assert made.folds
        return made


def test_a_victims_look_alikes_are_never_on_both_sides_and_each_is_tested_once(contest: Contest) -> None:
    tested: list[ModelSpec] = []
    for fold in contest.folds:
        learnt_from = {s.parent for s in fold.innocent if s.role is Role.LOOK_ALIKE}
        assert learnt_from and not learnt_from & {s.parent for s in fold.tested[LOOK_ALIKES]}
        tested += fold.tested[LOOK_ALIKES]
    assert sorted(s.id for s in tested) == sorted(s.id for s in contest.bench.suspects if s.role is Role.LOOK_ALIKE)


def test_nothing_that_trains_is_tested_and_only_copies_are_stolen(contest: Contest) -> None:
    for fold in contest.folds:
        assert not {s.id for s in (*fold.copies, *fold.innocent)} & {s.id for s in fold.suspects}
        assert all(s.parent == contest.victim for s in (*fold.copies, *fold.tested[STOLEN]))
        assert not any(s.role.stolen for s in (*fold.innocent, *fold.negatives))
        assert sum(s.group is Group.PROBE and s.modification is not None for s in fold.innocent) == TINY.zoo.hardened == 1
        assert len(fold.negatives) + len(fold.tested[STOLEN]) == len(fold.suspects) == len(set(fold.suspects))


def test_families_are_what_they_say(contest: Contest) -> None:
    built = contest.built
    assert all(s.architecture == TINY.zoo.victim_architecture and s.parent is None for s in built["same architecture"])
    for spec in built["distilled in-house"]:
        assert spec.parent is not None and spec.parent.startswith("homologous") and spec.extraction and spec.role is Role.LOOK_ALIKE
    assert all(s.modification and s.modification.kind == "adversarial" and s.role is Role.HOMOLOGOUS for s in built["hardened"])
    assert all(s.group is Group.STUDY for specs in built.values() for s in specs)


def test_with_one_stranger_no_look_alike_trains(digits: Dataset) -> None:
    folds = Contest(bench(digits, open_store("memory:"), SerialFarm())).folds
    assert len(folds) == 1 and not any(s.role is Role.LOOK_ALIKE for s in folds[0].innocent) and LOOK_ALIKES in folds[0].tested


def test_left_out_is_left_out(contest: Contest) -> None:
    """On the reporting recipe's plan, where every protocol has something to leave out."""
    wide = FMNIST_VERDICT.zoo
    planned = plan_zoo(wide, "data", contest.folds[0].copies[0].shape, 1)
    copies = planned.of(Role.PIRACY, Group.ENCODER)
    alike = planned.of(Role.LOOK_ALIKE)
    innocent = [*planned.of(Role.HOMOLOGOUS, Group.ENCODER), *(s for s in alike if s.parent == alike[0].parent)]
    tested = {STOLEN: tuple(planned.of(Role.PIRACY, Group.SUSPECT)), LOOK_ALIKES: tuple(s for s in alike if s.parent != alike[0].parent)}
    fold = Fold(tuple(copies), tuple(innocent), tested)
    protocols = dict(left_out(wide.architectures, [fold]))
    assert set(protocols) == {*(f"without {a}" for a in wide.architectures), "without cloudleak", "without jbda"}
    for architecture in wide.architectures:
        (part,) = protocols[f"without {architecture}"]
        assert architecture not in {s.architecture for s in (*part.copies, *part.innocent)}
        assert {s.architecture for s in part.suspects} == {architecture}
    for attack in ("cloudleak", "jbda"):
        (part,) = protocols[f"without {attack}"]
        assert attack not in {s.extraction.attack for s in (*part.copies, *part.innocent) if s.extraction}
        assert {s.extraction.attack for s in part.suspects if s.extraction} == {attack}
    assert [name for name, _ in left_out(TINY.zoo.architectures, contest.folds)] == [], "nothing would be left to learn from"


def test_kin_stand_or_fall_together(contest: Contest) -> None:
    by = contest.folds[0].tested
    for spec in (*by["distilled in-house"], *by["hardened"], *by[LOOK_ALIKES]):
        assert spec.kin == spec.parent
    assert all(s.kin == s.id for s in (*by["homologous"], *by["same architecture"], *by["overlap"]))
    base = by["homologous"][0]
    assert distilled(by[STOLEN][0], base).kin == base.kin == hardened(base, (3,), families.HARDENED)[0].kin


def test_same_data_is_the_victims_half(contest: Contest) -> None:
    train = contest.bench.dataset.train
    own = set(contest.bench.victim.training_indices.tolist())
    for spec in contest.built["same architecture and data"]:
        assert set(training_half(spec, train).tolist()) == own
    for spec in contest.built["same architecture"]:
        assert set(training_half(spec, train).tolist()) != own


def test_variants_of_a_second_generation_and_in_house(contest: Contest) -> None:
    piracy, other = contest.folds[0].tested[STOLEN][0], contest.folds[0].tested["homologous"][0]
    again = distilled(piracy, piracy)
    assert again.role is Role.PIRACY and again.parent == piracy.id and again.parent_split_seed is None
    house = distilled(piracy, other)
    assert house.role is Role.LOOK_ALIKE and house.parent_split_seed == other.seed
    ids = {again.id, house.id, piracy.id, twin(other, "A", other.training, 0).id, twin(other, "A", other.training, 1).id, other.id}
    assert len(ids) == 6


def test_rows_are_means_over_folds_of_numbers_over_models(contest: Contest) -> None:
    base = contest.folds[0].tested["homologous"][0]
    p1, p2, n1, n2, l1 = (dataclasses.replace(base, data=name) for name in ("p1", "p2", "n1", "n2", "l1"))
    folds = [Fold((), (), {STOLEN: (p1, p2), "homologous": (n1, n2)}), Fold((), (), {STOLEN: (p1, p2), "homologous": (n1, n2), "x": (l1,)})]
    scores = [{p1: 0.9, p2: 0.4, n1: 0.5, n2: 0.1}, {p1: 0.9, p2: 0.8, n1: 0.5, n2: 0.1, l1: 0.85}]
    rows = {r["family"]: r for r in table_rows(ALL, Entry("specific", "label", 400, 1.0, scores), folds)}
    assert rows["homologous"]["auc"] == pytest.approx((0.75 + 1) / 2)
    assert rows["homologous"]["tpr_at_fpr01"] is None, "two negatives show no rate of one in a hundred"
    assert (rows["x"]["auc"], rows["x"]["n_negative"]) == (0.5, 1)
    assert rows[ALL]["auc"] == pytest.approx((0.75 + 5 / 6) / 2)
    assert all(0 <= r["interval"][0] <= r["auc"] <= r["interval"][1] <= 1 for r in rows.values())


def test_findings_name_who_is_ahead_among_those_that_are_told_no_more() -> None:
    def row(method: str, access: str, family: str, value: float) -> dict[str, object]:
        told = {"protocol": ALL, "method": method, "access": access, "queries": 400, "family": family, "auc": value}
        return told | {"tpr_at_fpr01": 0.5, "n_positive": 3, "n_negative": 4}

    rows = [row("specific", a, f, v) for a in ("probabilities", "label") for f, v in (("homologous", 0.9), ("look-alike", 0.7), (ALL, 0.8))]
    rows += [row("AKH", "label", f, v) for f, v in (("homologous", 0.95), ("look-alike", 0.6), (ALL, 0.7))]
    rows += [row("SAC-w", "probabilities", f, v) for f, v in (("homologous", 0.1), ("look-alike", 0.75), (ALL, 0.7))]
    by = {(f.claim.rpartition("(")[2], "behind" in f.claim): f.ours for f in findings(rows)}
    assert "least 0.700 (look-alike)" in by["probabilities)", False]
    assert by["label)", True] == "look-alike: 0.700, AKH 0.600; all: 0.800, AKH 0.700; behind: homologous: 0.900, AKH 0.950"
    assert "behind: homologous: 0.900, AKH 0.950; look-alike: 0.700, SAC-w 0.750" in by["probabilities)", True]


scores = st.lists(st.integers(0, 9).map(float), min_size=1, max_size=30)


@given(scores, scores, st.sampled_from([0.05, 0.2, 0.5]))
def test_true_positives_at_a_rate_of_false_ones(positives: list[float], negatives: list[float], rate: float) -> None:
    """Oracle: over every threshold that the rate allows, the most positives above it; none where so few cannot show the rate."""
    if rate * len(negatives) < 1:
        assert tpr_at_fpr(positives, negatives, rate) is None
        return
    allowed = [t for t in (*positives, *negatives, -1.0) if np.mean(np.array(negatives) > t) <= rate]
    best = max(np.mean(np.array(positives) > t) for t in allowed)
    assert tpr_at_fpr(positives, negatives, rate) == pytest.approx(best)


def test_rates_without_models() -> None:
    assert tpr_at_fpr([], [1.0], 0.01) is None and tpr_at_fpr([1.0], [], 0.01) is None


def test_the_interval_holds_the_auc_and_is_narrower_with_more_models() -> None:
    generator = np.random.default_rng(1)
    widths = []
    for count in (8, 32, 128):
        p, n = generator.normal(1, 1, count), generator.normal(0, 1, count)
        low, high = bootstrap_auc([(p, n, np.arange(count))], draws=300)
        assert low <= (auc(p.tolist(), n.tolist()) or 0) <= high
        widths.append(high - low)
    assert all(b < a for a, b in pairwise(widths))


def test_more_models_of_the_same_kin_are_no_more_evidence() -> None:
    generator = np.random.default_rng(2)
    p, sources = generator.normal(1, 1, 40), generator.normal(0, 1, 6)
    once = bootstrap_auc([(p, sources, np.arange(6))])
    often = bootstrap_auc([(p, np.repeat(sources, 10), np.repeat(np.arange(6), 10))])
    careless = bootstrap_auc([(p, np.repeat(sources, 10), np.arange(60))])
    assert often == pytest.approx(once) and careless[1] - careless[0] < 0.8 * (once[1] - once[0])


def test_folds_are_averaged_and_kin_of_another_fold_is_not_this_ones() -> None:
    p = np.arange(5.0)
    folds = [(p, np.array([-1.0]), np.array([0])), (p, np.array([9.0]), np.array([1]))]
    assert bootstrap_auc(folds) == (0.0, 1.0)
    assert bootstrap_auc([(p, p - 9, np.arange(5))] * 2) == (1.0, 1.0)


def test_families_that_are_not_built_are_left_out_named_and_not_kept(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "PER_FAMILY", 2)
    monkeypatch.setattr(families, "HARDENED", dataclasses.replace(families.HARDENED, strength=1))
    artifacts = open_store("memory:")
    whole = bench(digits, artifacts, SerialFarm(), TWO_STRANGERS)
    some = families.twins(whole)
    whole.built(some)
    without = bench(digits, artifacts, None, TWO_STRANGERS)
    result = run_study(STUDIES["verdict"], without, {})
    assert {r["family"] for r in result.rows if r["protocol"] == ALL} == {"homologous", LOOK_ALIKES, "same architecture", ALL}
    told = result.facts["excluded_models"]
    assert result.facts["partial"] and "not built; add --build to train it" in told.values() and not set(told) & {s.id for s in some}
    assert not artifacts.ids("study"), "a later call, with more models, must not find it"
