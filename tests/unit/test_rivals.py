"""Other methods under the same test, on models that zooaudit did not train: whom each one finds, by its rank,
by its paper's own rule and by a threshold on references."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.foreign import REFERENCES, TWINS, VICTIM, change, collection, load, owner_of
from zooaudit.baselines import dataset_inference
from zooaudit.baselines.methods import METHODS, Crafted
from zooaudit.baselines.rules import FEWEST, normal_bound
from zooaudit.errors import DataError, ModelError
from zooaudit.studies import rivals
from zooaudit.studies.collected import read
from zooaudit.studies.contest import Contest, load_one
from zooaudit.studies.owners import Owner
from zooaudit.studies.validity import of

Row = dict[str, Any]


@pytest.fixture(scope="module")
def contest(owner: Owner) -> list[Row]:
    return rivals.rows(owner, load)


def test_every_method_ranks_the_victim_of_a_copy(contest: list[Row]) -> None:
    methods = {r["method"] for r in contest}
    assert {m.name for m in METHODS} < methods and "twin test, 500" in methods
    copies = [r for r in contest if r["taken"]]
    for method in ("label agreement", "DeepJudge JSD", "UAP fingerprints", "twin test, 500"):
        mine = of(copies, method=method)
        assert mine and sum(r["first"] == 0 for r in mine) >= len(mine) - 1, method
    innocent = [r for r in contest if not r["thief"]]
    assert {r["suspect"] for r in innocent} == {f"innocent-{i:02d}" for i in range(12)}
    assert all(not r["stolen"] or r["first"] == 0 for r in contest)


def test_a_threshold_on_references_catches_copies(contest: list[Row]) -> None:
    """It is of the victim alone, so of no use to us; it shows what others' rules accuse."""
    rows = [r for r in contest if r["method"] == "DeepJudge JSD"]
    assert all(r["over_references"] for r in rows if r["taken"]), "a copy is nearer than any reference"
    assert all(r["over_references"] is None for r in contest if r["method"].startswith("twin test"))


def test_few_references_give_no_threshold(owner: Owner) -> None:
    few = Contest(replace(owner, references=owner.references[: FEWEST - 1]), load)
    assert normal_bound(few.of_references(METHODS[0], {})) == float("inf")
    enough = Contest(owner, load)
    scores = np.array([enough.score(METHODS[0], 0, {}, {}, enough.natural(r)) for r in owner.references])
    assert np.array_equal(enough.of_references(METHODS[0], {}), scores)
    assert normal_bound(scores) == pytest.approx(scores.mean() + 2.326348 * scores.std(ddof=1))


def test_references_that_questions_were_learnt_from_set_no_threshold(owner: Owner) -> None:
    contest = Contest(replace(owner, candidates=owner.candidates[:2]), load)
    (meta,) = (m for m in METHODS if m.learns)
    assert contest.lent == {f"reference-{i:02d}" for i in range(0, REFERENCES, 2)}
    assert len(contest.crafted[0].strangers) == REFERENCES // 2 and meta in contest.methods
    held = [a for a in owner.references if a.id not in contest.lent]
    own = contest.own(0)
    expected = [
        contest.score(meta, 0, own, contest.answers_to_victims(a) or {}, contest.natural(a)) for a in held
    ]
    assert contest.of_references(meta, own).tolist() == expected


def test_a_reference_is_on_the_side_of_what_it_was_made_of(tmp_path: Path) -> None:
    at = collection(tmp_path / "made", innocents=1)
    change(at, "reference-03", parent="reference-00")
    change(at, "reference-05", parent="reference-03")
    assert {"reference-00", "reference-03", "reference-05"} <= Contest(owner_of(at), load).lent


def test_a_method_that_lacks_something_is_left_out_with_a_word(contest: list[Row], tmp_path: Path) -> None:
    data = {f.claim: f for f in rivals.outcome(contest).findings}
    left = data["Dataset Inference was left out for some victims"]
    assert left.ours == VICTIM and "trained/VICTIM.npz" in left.note
    assert "MetaFinger was left out for some victims" not in data
    at = collection(tmp_path / "weightless", innocents=1)
    for i in range(REFERENCES):
        change(at, f"reference-{i:02d}", architecture="answers only")
    methods = {m.name for m in Contest(owner_of(at), load).methods}
    assert methods == {m.name for m in METHODS} - {"MetaFinger"}
    found = [r for r in contest if r["method"] in methods]
    assert any(
        "MetaFinger was left out" in f.claim and "weights" in f.note for f in rivals.outcome(found).findings
    )


def test_papers_own_rules_are_beside_the_rank(contest: list[Row]) -> None:
    ruled = {r["method"] for r in contest if r["own_rule"] is not None}
    assert ruled == {"DeepJudge JSD", "DeepJudge RobD", "ADV-TRA"}
    assert all(r["own_rule"] for r in contest if r["method"] == "DeepJudge JSD" and r["taken"]), (
        "a copy is nearer than any reference"
    )
    (output,) = (f.ours for f in rivals.outcome(contest).findings if f.claim.startswith("DeepJudge JSD"))
    assert "by the paper's own rule weights taken 1.00" in output and "by a threshold on references" in output


def test_every_row_reaches_the_table(contest: list[Row]) -> None:
    """A table has the columns of its first row."""
    assert len({tuple(r) for r in contest}) == 1
    kept = rivals.outcome(contest).table.to_pylist()
    assert [r["own_rule"] for r in kept] == [r["own_rule"] for r in contest]
    assert [r["over_references"] for r in kept] == [r["over_references"] for r in contest]


@pytest.fixture(scope="module")
def knowing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With images that the victim learnt, as far as the pools have room."""
    at = collection(tmp_path_factory.mktemp("knowing"), innocents=2)
    learnt(at)
    return at


def learnt(at: Path, count: int = 160, **arrays: Any) -> Path:
    images = np.random.default_rng(8).integers(0, 256, (count, 1, 4, 4), dtype=np.uint8)
    path = at / "squares" / "trained" / f"{VICTIM}.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **({"images": images, "labels": np.arange(count) % 4} | arrays))
    return path


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dataset Inference on fewer images: the pool natural has 200."""
    for module in (dataset_inference, rivals):
        monkeypatch.setattr(module, "NEEDED", 150)
    monkeypatch.setattr(dataset_inference, "LESSONS", 100)


def test_dataset_inference_is_judged_by_its_own_rule_alone(knowing: Path, little: None) -> None:
    owner = owner_of(knowing)
    found = list(
        rivals._knowing(Contest(owner, load), [*owner.thieves, *(about for _, about in owner.innocents)])
    )
    assert [r["suspect"] for r in found] == [a.id for a in owner.thieves] + ["innocent-00", "innocent-01"]
    assert {r["stolen"] for r in found} == {r["first"] for r in found} == {None} and {
        r["access"] for r in found
    } == {"label"}
    assert all(isinstance(r["own_rule"], bool) and 1500 < r["asked"] <= 100 * 15 * 8 for r in found)
    (finding,) = rivals.outcome(found).findings[:1]
    assert finding.claim.startswith("Dataset Inference says who learnt") and finding.ours.startswith(
        "by the paper's own rule"
    )
    assert rivals.counts(found) == (0, 0)


def test_too_few_training_images_are_refused(knowing: Path) -> None:
    owner = owner_of(knowing)
    with pytest.raises(
        DataError, match=r"own-P1.npz has 160 images and the pool natural 200; expected 450 or more"
    ):
        list(rivals._knowing(Contest(owner, load), []))


def test_training_images_are_part_of_what_this_study_is_about(tmp_path: Path) -> None:
    found = read(collection(tmp_path / "digest", innocents=1))[0]
    ids = ["candidate-00"]
    before = found.digest(ids)
    assert found.digest(ids, VICTIM) == before
    learnt(tmp_path / "digest")
    assert found.digest(ids, VICTIM) != before == found.digest(ids) == found.digest(ids, "another")


def test_methods_treat_candidates_alike(tmp_path: Path, contest: list[Row]) -> None:
    swapped = rivals.rows(owner_of(collection(tmp_path / "swapped", swapped=7)), load)
    there = {(r["suspect"], r["method"], r["access"]): r["first"] for r in swapped if not r["thief"]}
    order = [7, *(i for i in range(TWINS + 1) if i != 7)]
    for row in (r for r in contest if not r["thief"]):
        found = there[row["suspect"], row["method"], row["access"]]
        assert (order[found] if found >= 0 else -1) == row["first"], row


def test_a_model_without_weights_is_asked_only_what_it_has_answered(tmp_path: Path) -> None:
    at = collection(tmp_path / "answers", innocents=1)
    change(at, "innocent-00", architecture="answers only")
    found = {r["method"] for r in rivals.rows(owner_of(at), load) if r["suspect"] == "innocent-00"}
    assert {"AKH", "SAC-w", "label agreement"} < found and "IPGuard" not in found
    change(at, "candidate-02", architecture="answers only")
    with pytest.raises(ModelError, match="candidate-02 has no weights"):
        rivals.rows(owner_of(at), load)


def test_loading_that_fails_is_told_on_one_line(squares: Path) -> None:
    def fails(folder: Path, id_: str) -> nn.Module:
        raise RuntimeError("no\nsuch")

    with pytest.raises(ModelError, match=r"loading candidate-00 of .* failed: RuntimeError: no$"):
        load_one(fails, squares, "candidate-00")
    with pytest.raises(ModelError, match="gave a str"):
        load_one(lambda folder, id_: "model", squares, "candidate-00")  # type: ignore[return-value]


def test_questions_are_made_from_the_candidate(owner: Owner) -> None:
    pools, labels = owner.collection.pools["natural"], owner.collection.labels
    made = [
        Crafted(
            load(owner.collection.folder / "models", a.id),
            pools,
            labels,
            owner.collection.answers(a.id)["natural"],
        )
        for a in owner.candidates[:2]
    ]
    for crafted in made:
        assert (crafted.answers[crafted.wrong].argmax(1) != labels[crafted.wrong]).all()
        assert (crafted.answers[crafted.surest].argmax(1) == labels[crafted.surest]).all()
        assert all(float(x.min()) >= 0 and float(x.max()) <= 1 and len(x) for x in crafted.made().values())
    assert not torch.equal(made[0].adversarial, made[1].adversarial)
