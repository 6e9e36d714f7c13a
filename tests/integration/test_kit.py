"""The audit kit: what it holds comes back whole, and judges as before."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.kits import VIEWS, K, N, make_kit
from tests.support.makers import Affine, make_twin_test, near
from zooaudit.auditing.steps import questions
from zooaudit.config import VerdictConfig
from zooaudit.errors import DamagedArtifactError, MissingArtifactError, NotEnoughModelsError
from zooaudit.kits.kit import Kit, load_kit, save_kit
from zooaudit.paper.t_test import PaperDecision
from zooaudit.paper.uap import Uap
from zooaudit.storage.artifacts import Artifacts
from zooaudit.suspects.blackbox import TorchBlackBox


@pytest.fixture
def kit() -> Kit:
    return make_kit()


def test_a_kit_comes_back_whole(kit: Kit, artifacts: Artifacts) -> None:
    saved = save_kit(artifacts, kit)
    again = load_kit(artifacts, saved.id)
    for name in ("v", "points", "victim_answers"):
        assert torch.equal(getattr(again, name), getattr(kit, name))
        assert getattr(again, name).dtype == getattr(kit, name).dtype
    assert np.array_equal(again.references, kit.references)
    for name in (
        "victim",
        "encoder_config",
        "reference_ids",
        "verdict",
        "seed",
        "facts",
        "num_classes",
        "image_shape",
    ):
        assert getattr(again, name) == getattr(kit, name), name
    for name in ("images", "labels", "answers", "reference_answers"):
        assert torch.equal(getattr(again.twin_test, name), getattr(kit.twin_test, name))
        assert getattr(again.twin_test, name).dtype == getattr(kit.twin_test, name).dtype
    for name in ("families", "control_questions", "looks", "level", "candidates", "references", "procedure"):
        assert getattr(again.twin_test, name) == getattr(kit.twin_test, name), name
    x = torch.rand(3, 2 * N * K)
    assert torch.equal(again.encoder.embed(x), kit.encoder.embed(x))
    assert not again.encoder.training


def test_a_stored_kit_judges_to_the_bit_as_before(kit: Kit, artifacts: Artifacts) -> None:
    again = load_kit(artifacts, save_kit(artifacts, kit).id)
    for seed in range(3):
        (before, verdict), (after, same) = (
            k.score("s", TorchBlackBox(Affine(seed=seed), K)) for k in (kit, again)
        )
        assert np.array_equal(before, after)
        assert verdict == same
        one, other = (k.twin_test.examine(TorchBlackBox(near(0, seed), K)) for k in (kit, again))
        assert one.verdict == other.verdict


def test_the_id_is_the_digest_of_all_it_holds(kit: Kit, artifacts: Artifacts) -> None:
    one = save_kit(artifacts, kit).id
    assert save_kit(artifacts, make_kit()).id == one
    changes: tuple[dict[str, Any], ...] = (
        {"seed": 10},
        {"v": kit.v + 0.01},
        {"points": 255 - kit.points},
        {"victim": "other"},
        {"facts": {}},
        {"references": kit.references + 0.01},
        {"reference_ids": ("h1", "h2", "h4")},
        {"verdict": VerdictConfig(fingerprints=5)},
        {"twin_test": make_twin_test(level=0.1)},
        {"twin_test": make_twin_test(references=15)},
        {"twin_test": make_twin_test(twins=18)},
        {"twin_test": make_twin_test(control_questions=19)},
        {"twin_test": make_twin_test(looks=(40, 120))},
    )
    others = [save_kit(artifacts, replace(kit, **change)).id for change in changes]
    assert len({one, *others}) == len(others) + 1


def test_the_start_of_an_id_is_enough_if_it_is_the_only_one(kit: Kit, artifacts: Artifacts) -> None:
    with pytest.raises(MissingArtifactError, match=r"there are: none; 'zooaudit audit' makes one"):
        load_kit(artifacts, "ab")
    ids = {save_kit(artifacts, replace(kit, seed=s)).id: s for s in (1, 2)}
    for id_, seed in ids.items():
        assert load_kit(artifacts, id_[:8]).seed == seed
    with pytest.raises(MissingArtifactError) as caught:
        load_kit(artifacts, "")
    assert "2 have an id that starts so" in str(caught.value)
    assert all(id_ in str(caught.value) for id_ in ids)


def test_a_damaged_kit_is_not_used(kit: Kit, artifacts: Artifacts) -> None:
    artifact = save_kit(artifacts, kit)
    sha = artifact.files["kit.safetensors"]["sha256"]
    key = f"objects/{sha[:2]}/{sha}"
    content = bytearray(artifacts._store.read(key))
    content[-1] ^= 1
    artifacts._store.delete(key)
    artifacts._store.create(key, bytes(content))
    with pytest.raises(DamagedArtifactError, match=r"kit\.safetensors"):
        load_kit(artifacts, artifact.id)


def test_questions_are_those_that_the_audit_asked(kit: Kit) -> None:
    uap = Uap(kit.v, 0.2, "linf", "gradient", 0.9, 0.9, 1)
    assert torch.equal(kit.questions(), questions(uap, kit.points))
    assert kit.questions().shape == (VIEWS, N, 2, 1, 4, 4)


def test_the_victim_is_wholly_similar_to_itself_and_costs_its_queries(kit: Kit) -> None:
    box = TorchBlackBox(Affine(seed=0), K)
    scores, verdict = kit.score("itself", box)
    np.testing.assert_allclose(scores, 1, atol=1e-5)
    assert box.queries == VIEWS * N * 2
    assert verdict.decision is PaperDecision.PIRACY
    assert verdict.similarity == pytest.approx(1, abs=1e-5)
    assert verdict.reference_models == 3


def test_a_reference_is_not_compared_with_itself(kit: Kit) -> None:
    assert kit.judge("h2", kit.references[1]).reference_models == 2
    assert kit.judge("somebody", kit.references[1]).reference_models == 3
    shifted = replace(
        kit, references=np.stack([kit.references[0], np.full(VIEWS, 0.99, np.float32), kit.references[2]])
    )
    high = np.full(VIEWS, 0.9, np.float32) + np.linspace(0, 0.01, VIEWS, dtype=np.float32)
    assert shifted.judge("h2", high).reference_above == 0
    assert shifted.judge("somebody", high).reference_above == 1


def test_too_few_references_are_left(kit: Kit) -> None:
    strict = replace(kit, verdict=replace(kit.verdict, min_reference_models=3))
    assert strict.judge("somebody", kit.references[0]).reference_models == 3
    with pytest.raises(NotEnoughModelsError, match="needs 3 homologous reference models, 2 learnt"):
        strict.judge("h1", kit.references[0])


def test_a_verdict_is_repeatable_whoever_else_is_judged(kit: Kit) -> None:
    first = kit.judge("s", kit.references[0])
    kit.judge("t", kit.references[1])
    assert kit.judge("s", kit.references[0]) == first


class Stubborn(nn.Module):
    """Answers everything alike: the fingerprint of a constant."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[3.0, 1.0, 0.0, 0.0]]).expand(len(x), -1)


def test_a_suspect_that_always_says_the_same_gets_a_finite_verdict(kit: Kit) -> None:
    scores, verdict = kit.score("constant", TorchBlackBox(Stubborn(), K))
    assert np.isfinite(scores).all()
    assert 0 <= verdict.p_value <= 1
