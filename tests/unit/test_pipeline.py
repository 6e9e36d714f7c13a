"""The whole audit on the digits: the same numbers on every store, resumed, and honest about failed models."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.farms import Interrupted, Untouched, quiet, with_zoo
from tests.support.finished import Finished
from tests.support.makers import trained_spec
from tests.support.zoos import TINY
from zooaudit.auditing import answering
from zooaudit.auditing.context import Context
from zooaudit.auditing.pipeline import run_audit, victims_uap
from zooaudit.auditing.results import Audit, embeddings
from zooaudit.data.images import Dataset, to_unit
from zooaudit.errors import FarmError, ZooauditError
from zooaudit.kits.kit import load_kit
from zooaudit.paper.t_test import PaperDecision
from zooaudit.recipes.named import DIGITS
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.memory import MemoryStore
from zooaudit.storage.models import load_module, save_built
from zooaudit.storage.opening import open_store
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.training.farm import SerialFarm, Watch
from zooaudit.zoo.build import BuiltModel, Status, training_half
from zooaudit.zoo.spec import Group, ModelSpec, Role


@pytest.fixture(scope="module")
def local(
    finished: Finished, digits: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Artifacts, Audit]:
    """The digits recipe from end to end, in a folder that this module may change."""
    artifacts = open_store(str(shutil.copytree(finished.store, tmp_path_factory.mktemp("audit") / "store")))
    return artifacts, run_audit(Context(DIGITS, digits, artifacts, Untouched(), quiet))


@pytest.fixture(scope="module")
def tiny(digits: Dataset) -> Audit:
    """A tiny audit from end to end, in memory."""
    return run_audit(Context(TINY, digits, open_store("memory:"), SerialFarm(), quiet))


def numbers(audit: Audit) -> dict[str, object]:
    """Every number of an audit that does not depend on the clock."""
    found: dict[str, object] = {
        "kit": audit.kit_id,
        "fooling": audit.uap.fooling_rate,
        "references": audit.kit.reference_ids,
    }
    for suspect in audit.suspects:
        found[suspect.spec.id] = (suspect.verdict, suspect.similarities.tolist())
    for id_, record in audit.zoo.records.items():
        found[f"{id_} record"] = replace(record, seconds=0)
    return found


def test_memory_and_an_interrupted_local_run_agree_to_the_bit(
    tiny: Audit, digits: Dataset, tmp_path: Path
) -> None:
    artifacts = open_store(str(tmp_path / "store"))
    with pytest.raises(FarmError):
        run_audit(Context(TINY, digits, artifacts, Interrupted(), quiet))
    assert len(artifacts.ids("model")) == 6
    local = run_audit(Context(TINY, digits, artifacts, SerialFarm(), quiet))
    assert numbers(tiny) == numbers(local)
    assert torch.equal(tiny.uap.v, local.uap.v)
    assert tiny.answers.keys() == local.answers.keys()
    assert all(torch.equal(a, local.answers[id_]) for id_, a in tiny.answers.items())
    assert tiny.zoo.trained == len(tiny.zoo.plan.specs)
    assert local.zoo.trained == len(tiny.zoo.plan.specs) - 6


def files(folder: str) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in Path(folder).rglob("*") if p.is_file()}


def test_a_second_run_trains_nothing_and_changes_nothing(
    local: tuple[Artifacts, Audit], digits: Dataset
) -> None:
    artifacts, first = local
    before = files(artifacts.url)
    again = run_audit(Context(DIGITS, digits, open_store(artifacts.url), Untouched(), quiet))
    assert again.zoo.trained == 0
    assert numbers(again) == numbers(first)
    assert files(artifacts.url) == before


def test_a_lost_step_is_made_again_with_the_same_numbers(
    local: tuple[Artifacts, Audit], digits: Dataset
) -> None:
    artifacts, first = local
    for kind in ("uap", "points", "encoder", "kit", "answers"):
        artifacts.remove(kind, artifacts.ids(kind)[0])
    assert numbers(run_audit(Context(DIGITS, digits, artifacts, Untouched(), quiet))) == numbers(first)


@pytest.mark.parametrize(
    "changes",
    [
        {"uap": replace(DIGITS.uap, epsilon=0.2)},
        {"fingerprint": replace(DIGITS.fingerprint, points=10)},
        {"encoder": replace(DIGITS.encoder, steps=20)},
        {"verdict": replace(DIGITS.verdict, fingerprints=4)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_changed_step_is_made_anew_from_the_same_models(
    changes: dict[str, Any], local: tuple[Artifacts, Audit], digits: Dataset
) -> None:
    artifacts, first = local
    other = run_audit(Context(replace(DIGITS, **changes), digits, artifacts, Untouched(), quiet))
    assert other.zoo.trained == 0
    assert other.kit_id != first.kit_id
    assert torch.equal(other.uap.v, first.uap.v) != ("uap" in changes)
    assert [s.verdict.p_value for s in other.suspects] != [s.verdict.p_value for s in first.suspects]


def test_one_store_holds_the_uaps_of_two_victims(local: tuple[Artifacts, Audit], digits: Dataset) -> None:
    artifacts, first = local
    uap = victims_uap(Context(replace(DIGITS, seed=1), digits, artifacts, SerialFarm(), quiet))
    assert not torch.equal(uap.v, first.uap.v)


def test_the_stored_kit_judges_as_the_audit_did(local: tuple[Artifacts, Audit]) -> None:
    artifacts, audit = local
    kit = load_kit(artifacts, audit.kit_id)
    for suspect in audit.suspects:
        box = TorchBlackBox(load_module(artifacts, suspect.spec.id), 10)
        scores, verdict = kit.score(suspect.spec.id, box)
        assert np.array_equal(scores, suspect.similarities)
        assert verdict == suspect.verdict
        assert box.queries == 20 * 8 * 2


def test_measures_are_over_models_and_not_over_views(audit: Audit) -> None:
    assert audit.uap.fooling_rate > 0.5
    for role, count in ((Role.PIRACY, 4), (Role.HOMOLOGOUS, 4), (Role.LOOK_ALIKE, 2)):
        found = [s for s in audit.suspects if s.spec.role is role]
        assert len(found) == len(audit.scores(role)) == count
        assert audit.scores(role) == [s.verdict.similarity for s in found]
        assert audit.scores(role) == pytest.approx([float(s.similarities.mean()) for s in found])
        assert audit.accused(role) == sum(s.verdict.decision is PaperDecision.PIRACY for s in found)
        pairs = [(p, n) for p in audit.scores(Role.PIRACY) for n in audit.scores(role)]
        assert audit.auc(role) == pytest.approx(sum((p > n) + (p == n) / 2 for p, n in pairs) / len(pairs))
    assert audit.auc(Role.OTHER_VICTIM) is None


def test_nothing_that_trained_the_encoder_is_reported_on(audit: Audit) -> None:
    encoder = {s.id for s in audit.zoo.plan.specs if s.group is Group.ENCODER}
    assert not encoder & {s.spec.id for s in audit.suspects}
    assert not encoder & set(audit.kit.reference_ids)
    assert encoder <= audit.answers.keys()
    assert set(audit.kit.reference_ids) == {s.id for s in audit.zoo.plan.of(Role.HOMOLOGOUS, Group.SUSPECT)}


def test_points_are_the_victims_own_training_images(audit: Audit, digits: Dataset) -> None:
    half = digits.train.images[training_half(audit.zoo.plan.of(Role.VICTIM)[0], digits.train)]
    known = {image.numpy().tobytes() for image in half}
    assert audit.kit.points.shape == (8, 20, 1, 8, 8)
    assert all(image.numpy().tobytes() in known for image in audit.kit.points.flatten(0, 1))
    assert audit.answers[audit.zoo.plan.victim].shape == (8, 20, 2, 10)
    assert embeddings(audit, audit.zoo.plan.victim).shape == (8, 20)


def test_a_uap_alone_trains_the_victim_alone(audit: Audit, digits: Dataset) -> None:
    artifacts = open_store("memory:")
    uap = victims_uap(Context(DIGITS, digits, artifacts, SerialFarm(), quiet))
    assert artifacts.ids("model") == [audit.zoo.plan.victim]
    assert torch.equal(uap.v, audit.uap.v)


# Failed models


def test_a_failed_model_enters_no_statistic(
    local: tuple[Artifacts, Audit], digits: Dataset, tmp_path: Path
) -> None:
    """One piracy suspect is on record as failed; all else is as before, so every other
    number must be, too."""
    artifacts, before = local
    copy = open_store(str(shutil.copytree(artifacts.url, tmp_path / "store")))
    failed = before.zoo.learnt(Role.PIRACY, Group.SUSPECT)[0]
    record = replace(
        before.zoo.records[failed.id],
        status=Status.FAILED,
        reason="recovery rate 0.110 is under the floor 0.7",
    )
    copy.remove("model", failed.id)
    save_built(copy, BuiltModel(failed, {}, record))
    for id_ in [i for i in copy.ids("answers") if i.startswith(failed.id)]:
        copy.remove("answers", id_)
    audit = run_audit(Context(DIGITS, digits, copy, Untouched(), quiet))
    assert audit.zoo.failed == [failed] and audit.zoo.trained == 0
    assert failed.id not in audit.answers
    assert failed.id not in {s.spec.id for s in audit.suspects}
    assert not any(id_.startswith(failed.id) for id_ in copy.ids("answers")), "it was asked"
    assert len(audit.scores(Role.PIRACY)) == len(before.scores(Role.PIRACY)) - 1
    same = [k for k in numbers(before) if k in numbers(audit) and k != "kit" and not k.startswith(failed.id)]
    assert {k: numbers(audit)[k] for k in same} == {k: numbers(before)[k] for k in same}
    assert len(same) > 20


@pytest.mark.long
def test_a_failed_innocent_is_no_reference(digits: Dataset) -> None:
    """With steps of a hundred, RMSprop learns nothing: its models of both roles fail, those
    of SGD and Adam do not."""
    training = replace(DIGITS.zoo.training, lr_rmsprop=9.9)
    attack = replace(DIGITS.zoo.extraction, rounds=0, final_epochs=30)
    zoo = {
        "architectures": ("C",),
        "optimisers": ("sgd", "adam", "rmsprop"),
        "suspects_per_cell": 2,
        "other_victims": 0,
        "references": 0,
    }
    recipe = replace(
        with_zoo(**zoo, training=training, extraction=attack, recovery_floor=0.5), encoder=TINY.encoder
    )
    audit = run_audit(Context(recipe, digits, open_store("memory:"), SerialFarm(), quiet))
    failed = {s.id for s in audit.zoo.failed}
    assert {s.optimiser for s in audit.zoo.failed} == {"rmsprop"}
    assert {s.role for s in audit.zoo.failed} == {Role.PIRACY, Role.HOMOLOGOUS}
    assert not failed & set(audit.kit.reference_ids)
    assert not failed & audit.answers.keys()
    assert not failed & {s.spec.id for s in audit.suspects}
    assert len(audit.kit.reference_ids) == 4
    assert all(
        s.verdict.reference_models == (3 if s.spec.role is Role.HOMOLOGOUS else 4) for s in audit.suspects
    )


def test_specs_of_the_zoo_are_seen_by_any_farm(digits: Dataset) -> None:
    """A farm that builds nothing is found out, not believed."""

    class Idle:
        def build(self, specs: list[ModelSpec], dataset: Dataset, artifacts: Artifacts, watch: Watch) -> int:
            return SerialFarm().build([trained_spec(dataset)], dataset, artifacts, watch)

    with pytest.raises(ZooauditError, match=r"has no manifests/model/"):
        run_audit(Context(DIGITS, digits, open_store("memory:"), Idle(), quiet))


class Lagging(MemoryStore):
    """A store whose listings show what was there a while ago, as some do; reads and
    conditional writes are up to date."""

    def __init__(self) -> None:
        super().__init__()
        self.old: list[str] = []

    def keys(self, prefix: str) -> Iterator[str]:
        return iter([k for k in self.old if k.startswith(prefix)])


def test_a_listing_that_lags_behind_costs_no_model(tiny: Audit, digits: Dataset) -> None:
    store = Lagging()
    first = run_audit(Context(TINY, digits, Artifacts(store), SerialFarm(), quiet))
    assert numbers(first) == numbers(tiny)
    again = run_audit(Context(TINY, digits, Artifacts(store), SerialFarm(), quiet))
    assert again.zoo.trained == 0, "models that the listing does not show yet were trained again"
    assert numbers(again) == numbers(tiny)


def test_questions_are_the_same_as_bytes_and_as_floats(built: BuiltModel, digits: Dataset) -> None:
    """A pool of photographs is never floats as a whole; answers that a store holds from
    before are found all the same."""
    artifacts, images = open_store("memory:"), digits.test.images[:150]
    save_built(artifacts, built)
    (as_floats,) = answering.clean_answers([built.spec.id], to_unit(images), digits, artifacts).values()
    kept = artifacts.ids("answers")
    assert len(kept) == 1
    assert not answering.unanswered([built.spec.id], images.view(1, 150, 1, *images.shape[1:]), artifacts)
    artifacts.remove("answers", kept[0])
    (as_bytes,) = answering.clean_answers([built.spec.id], images, digits, artifacts).values()
    assert torch.equal(as_floats, as_bytes) and artifacts.ids("answers") == kept
