"""QuRD's protocol on a folder of models: every pair is scored by every method for every budget, and a copy
scores above innocents."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from tests.support.foreign import change, collection, load, owner_of
from zooaudit.baselines.intersection import Iris
from zooaudit.baselines.methods import METHODS, Crafted
from zooaudit.baselines.trajectory import LENGTH
from zooaudit.cli.main import main
from zooaudit.errors import ModelError
from zooaudit.studies import cuts as cutting
from zooaudit.studies import qurd
from zooaudit.studies.cuts import Cut, Natural, cuts, needed
from zooaudit.studies.owners import Owner
from zooaudit.studies.trials import Asking, Trial
from zooaudit.studies.validity import of
from zooaudit.suspects.access import Access
from zooaudit.verdict.examined import NATURAL
from zooaudit.verdict.statistic import features

Row = dict[str, Any]
SMALL = (4, 10, 30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = collection(tmp_path_factory.mktemp("models"))
    change(at, "copy-2", recovery=0.6)
    return at


@pytest.fixture(scope="module")
def owner(folder: Path) -> Owner:
    return owner_of(folder)


@pytest.fixture(scope="module", autouse=True)
def small() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        for module in (cutting, qurd):
            patch.setattr(module, "BUDGETS", SMALL)
        yield


@pytest.fixture(scope="module")
def rows(owner: Owner) -> list[Row]:
    return qurd.rows(owner, load)


def test_every_pair_is_scored_by_every_method_for_every_budget(rows: list[Row]) -> None:
    names = {m.name for m in METHODS if not m.learns} | {qurd.OURS, qurd.DEVIATIONS}
    assert {r["method"] for r in rows} == names and {r["budget"] for r in rows} == set(SMALL)
    for method in names:
        for budget in SMALL:
            mine = of(rows, method=method, budget=budget)
            pairs = Counter((r["suspect"], r["access"]) for r in mine)
            assert set(pairs.values()) == {1} and len({s for s, _ in pairs}) == 16, (method, budget)
            assert all(budget // 2 < r["asked"] <= budget for r in mine), (method, budget)
    stolen = {r["suspect"]: r["task"] for r in rows if r["stolen"]}
    assert stolen == {
        "copy-0": "fine-tuned",
        "copy-1": "fine-tuned",
        "copy-2": "fine-tuned",
        "asker": "distilled",
    }


def test_copies_score_above_innocents(rows: list[Row]) -> None:
    found = qurd.outcome(rows)
    for method in (qurd.OURS, "label agreement", "DeepJudge JSD", "SAC-m"):
        (row,) = of(
            found.rows,
            method=method,
            budget=30,
            task="fine-tuned",
            **({"access": "probabilities"} if method == qurd.OURS else {}),
        )
        assert row["auc"] > 0.9, method
    assert {r["task"] for r in found.rows} == {"all", "fine-tuned", "distilled"}


def test_a_thief_that_did_not_learn_is_in_no_number_and_named(rows: list[Row]) -> None:
    found = qurd.outcome(rows)
    assert {(r["task"], r["stolen"], r["innocent"]) for r in found.rows} == {
        ("all", 3, 12),
        ("fine-tuned", 2, 12),
        ("distilled", 1, 12),
    }
    assert all(
        "did not learn, and are in no number: copy-2" in f.note
        for f in found.findings
        if "task by task" not in f.claim
    )
    assert len(found.tables["pairs"]) == len(rows)


def test_few_innocents_are_said_to_be_few(rows: list[Row]) -> None:
    (note,) = {f.note for f in qurd.outcome(rows).findings if "task by task" in f.claim}
    assert note.endswith(
        "with 12 innocent pairs, fewer than 100, the rate at 1 % and 5 % FPR is the rate at no false positive"
        " at all"
    )
    assert "1 % FPR" in qurd.told_of_rates(99) and "5 %" not in qurd.told_of_rates(99).partition("; ")[2]
    assert "no false positive" not in qurd.told_of_rates(100)


def test_innocents_count_for_the_tasks_that_they_name() -> None:
    def row(task: str, stolen: bool, score: float, *tasks: str) -> Row:
        return qurd.pair("g", "v", f"{task}{score}", task, stolen, "m", "label", 10, 10, score, tasks)

    rows = [
        row("transfer", True, 0.5),
        row("finetune", True, 0.5),
        row("other data", False, 0.9, "transfer"),
        row("same", False, 0.1, "finetune"),
    ]
    found = {r["task"]: (r["auc"], r["innocent"]) for r in qurd.outcome(rows).rows}
    assert found == {"all": (0.5, 2), "transfer": (0.0, 1), "finetune": (1.0, 1)}


def test_our_score_is_the_statistic_before_it_is_ranked(owner: Owner) -> None:
    trial = Trial.of(owner, Asking("30", (30,), (NATURAL,), 6))
    assert (
        trial.test.budget == 30
        and trial.test.control_questions == 6
        and set(trial.test.families) == {NATURAL}
    )
    models = [*owner.thieves, *(a for _, a in owner.innocents)]
    for access in (Access(), Access("label")):
        _, comparison = trial.test._comparisons(access, True, 30)[0]
        answers = owner.answers(models, (NATURAL,))[:, trial._chosen[0]]
        expected = comparison.of(features(access.reduced(answers), access))[:, 0]
        assert trial.cosines(models, access) == pytest.approx(expected.tolist())
        compared = [c.looks[-1] for c in trial.compared(models, access)]
        for one, row in zip(compared, comparison.of(features(access.reduced(answers), access)), strict=True):
            assert one == pytest.approx((row - row.mean()) / row.std(), abs=1e-6)


def crafted(owner: Owner, many: int = 30) -> Crafted:
    victim = owner.candidates[0]
    natural = owner.collection.answers(victim.id)["natural"]
    module = load(owner.collection.folder / "models", victim.id)
    return Crafted(module, owner.collection.pools["natural"], owner.collection.labels, natural, many=many)


def test_pairs_of_an_image_and_what_was_made_of_it_stay_together(owner: Owner) -> None:
    one = crafted(owner)
    made = one.made()
    found = {(c.method.name, c.budget): c for c in cuts(one, {n: len(x) for n, x in made.items()})}
    ddv = found["ModelDiff DDV", 10]
    assert (len(ddv.rows), ddv.made, ddv.asked) == (5, 5, 10)
    moved = made["adversarial"][:5] - one.images[ddv.rows].float() / 255
    assert float(moved.abs().max()) <= 0.0301, "each is near its own image"
    uap = found["UAP fingerprints", 30]
    steps = made["perturbed"][: uap.made] - one.images[uap.rows].float() / 255
    inside = (made["perturbed"][: uap.made] > 0) & (made["perturbed"][: uap.made] < 1)
    same = torch.where(inside, steps, torch.nan).nanmedian(0).values
    assert float(torch.where(inside, (steps - same).abs(), 0.0).max()) < 1e-5, "one perturbation is on all"


def test_fewer_questions_are_the_first_of_many(owner: Owner) -> None:
    """A score for a budget is what the method makes of the first questions alone, and of their labels."""
    one = crafted(owner)
    labels: list[Tensor] = []
    spy = replace(
        next(m for m in METHODS if m.name == "DeepJudge RobD"),
        score=lambda mine, theirs, classes: labels.append(classes) or float(len(mine)),
    )
    own = {"adversarial": torch.eye(4)[torch.zeros(30, dtype=torch.int64)]}
    natural = Natural.to_all(one.answers)
    assert spy.made == "adversarial"
    assert Cut(spy, 10, torch.empty(0, dtype=torch.int64), 10).score(one, own, natural, own) == 10
    assert torch.equal(labels[0], one.labels[one.surest][:10])


def test_a_method_with_fewer_questions_than_the_budget_is_counted_once(owner: Owner) -> None:
    one = crafted(owner)
    few = replace_wrong(one, 12)
    found = [(c.budget, c.asked) for c in cuts(few, {}) if c.method.name == "AKH"]
    assert found == [(4, 4), (10, 10), (30, 12)]
    assert [c.asked for c in cuts(replace_wrong(one, 10), {}) if c.method.name == "AKH"] == [4, 10]
    assert not [c for c in cuts(replace_wrong(one, 0), {}) if c.method.name == "AKH"], (
        "the victim errs nowhere"
    )


def replace_wrong(one: Crafted, count: int) -> Crafted:
    """A victim who errs on so many images."""
    labels = one.answers.argmax(1)
    labels[:count] = (labels[:count] + 1) % 4
    return Crafted(one.module, one.images, labels, one.answers, many=one.many)


def test_answers_to_some_images_are_found_by_their_rows() -> None:
    rows = needed(
        [Cut(METHODS[0], 3, torch.tensor([7, 2, 5]), 0), Cut(METHODS[1], 2, torch.tensor([5, 9]), 0)]
    )
    assert rows.tolist() == [2, 5, 7, 9]
    natural = Natural(rows, rows.float().unsqueeze(1))
    assert natural.at(torch.tensor([9, 2])).flatten().tolist() == [9, 2]


def test_more_than_one_part_is_made_of_all_images(owner: Owner) -> None:
    """Sixty-four at a time: each point is of its own image."""
    one = crafted(owner, many=130)
    assert len(one.border) == 130 and len(one.trajectory) == 126 and len(one.intersection) == 128
    assert float((one.adversarial - one.images[one.surest].float() / 255).abs().max()) <= 0.0301
    pool = one.images[:130].float().flatten(1) / 255
    for points, each in ((one.border, 1), (one.trajectory, LENGTH), (one.intersection, Iris().samples)):
        nearest = torch.cdist(points.flatten(1), pool).argmin(1)
        assert float((nearest == torch.arange(len(points)) // each).float().mean()) > 0.8


def test_a_victim_without_weights_is_refused_and_a_suspect_is_asked_what_it_has_answered(
    tmp_path: Path,
) -> None:
    at = collection(tmp_path / "answers", innocents=2)
    change(at, "innocent-00", architecture="answers only")
    owner = owner_of(at)
    found = {r["method"] for r in qurd.rows(owner, load) if r["suspect"] == "innocent-00"}
    assert {"AKH", "SAC-w", "label agreement", qurd.OURS} <= found and "IPGuard" not in found
    change(at, "candidate-00", architecture="answers only")
    owner = owner_of(at)
    with pytest.raises(ModelError, match="the victim candidate-00 has no weights"):
        qurd.rows(owner, load)


def test_what_was_made_from_the_victim_is_no_innocent(tmp_path: Path) -> None:
    at = collection(tmp_path / "made", innocents=3)
    change(at, "innocent-00", parent="candidate-00")
    owner = owner_of(at)
    assert {r["suspect"] for r in qurd.rows(owner, load) if not r["stolen"]} == {"innocent-01", "innocent-02"}


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, out = str(tmp_path / "store"), tmp_path / "out"
    given = [
        "study",
        "qurd",
        "--models",
        str(folder),
        "--load",
        "tests.support.foreign:load",
        "--store",
        store,
        "--out",
        str(out),
    ]
    assert main([*given, "--set", "dev"]) == 0
    assert (
        "twin test tells stolen models from innocent ones (squares, probabilities)" in capsys.readouterr().out
    )
    assert {p.name for p in out.iterdir()} == {"qurd.json", "qurd.parquet", "qurd-pairs.parquet", "qurd.svg"}
    pairs = pq.read_table(out / "qurd-pairs.parquet").to_pylist()
    assert len({r["suspect"] for r in pairs}) == 16 and json.loads((out / "qurd.json").read_text())[
        "owners"
    ] == ["own-P1"]
    assert main(given) == 0 and "read from the store" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "say where they are, --models DIR; or alone on a download of the published models: --data DIR"),
        (["--models", "a", "--data", "b"], "--models and --data: qurd is tried on one of them"),
        (["--models", "a"], "qurd asks models about new images: say how they are loaded"),
        (["--data", "a", "--set", "report"], "--set goes with --models"),
        (["--data", "a", "--load", "a:b"], "--load goes with --models"),
        (["--data", "nowhere"], "nowhere is not a folder; expected one with models/SACBenchmark-"),
    ],
)
def test_what_is_asked_wrongly_is_settled_on_one_line(
    more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "qurd", *more]) == 2
    assert said in capsys.readouterr().err
