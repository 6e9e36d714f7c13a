"""Audits that cannot work, and the user's own victim."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.support.farms import Untouched, quiet, with_zoo
from tests.support.zoos import TINY
from zooaudit.auditing.context import Context
from zooaudit.auditing.pipeline import run_audit
from zooaudit.config import ExtractConfig, FingerprintConfig, Recipe, TrainConfig
from zooaudit.data.images import Dataset, ImageSet
from zooaudit.errors import ConfigError, DataError, ModelError, NotEnoughModelsError, ZooauditError
from zooaudit.recipes.named import DIGITS
from zooaudit.storage.models import OwnModel
from zooaudit.storage.opening import open_store
from zooaudit.training.farm import SerialFarm
from zooaudit.zoo.build import BuiltModel
from zooaudit.zoo.spec import Role

HASTY = with_zoo(
    training=TrainConfig(epochs=1), extraction=ExtractConfig(seed_size=20, rounds=0, final_epochs=1)
)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"accuracy_floor": 0.9999},
            r"the victim victim-A-sgd-\w+ did not learn: accuracy 0\.\d+ is under the floor 0.9999",
        ),
        (
            {"accuracy_floor": 0.0, "recovery_floor": 0.9999},
            r"the encoder needs at least 2 piracy models, 0 learnt; raise encoder_per_role",
        ),
    ],
)
def test_too_few_models_are_no_ground_for_an_audit(
    changes: dict[str, object], expected: str, digits: Dataset
) -> None:
    with pytest.raises(NotEnoughModelsError, match=expected):
        run_audit(Context(with_zoo(HASTY, **changes), digits, open_store("memory:"), SerialFarm(), quiet))


# What cannot work is said before anything is trained


@pytest.mark.parametrize(
    ("recipe", "error", "expected"),
    [
        (
            replace(DIGITS, fingerprint=FingerprintConfig(points=100, views=20)),
            ConfigError,
            "need 2,000 images",
        ),
        (with_zoo(extraction=ExtractConfig(seed_size=5000)), DataError, "asks for 5000 images"),
        (with_zoo(architectures=("B", "X")), ConfigError, "unknown architecture 'X'"),
    ],
)
def test_what_cannot_work_is_said_before_any_training(
    recipe: Recipe, error: type[ZooauditError], expected: str, digits: Dataset
) -> None:
    artifacts = open_store("memory:")
    with pytest.raises(error, match=expected):
        run_audit(Context(recipe, digits, artifacts, Untouched(), quiet))
    assert artifacts.kinds() == {}


def test_images_too_small_are_found_out_by_the_first_model(digits: Dataset) -> None:
    part = ImageSet(digits.train.images[:, :, :3], digits.train.labels)
    artifacts = open_store("memory:")
    with pytest.raises(ConfigError, match="images of 3 x 8 pixels are too small"):
        run_audit(
            Context(
                DIGITS, Dataset("flat", part, part, digits.classes, "here"), artifacts, SerialFarm(), quiet
            )
        )
    assert artifacts.kinds() == {}


# The user's own victim

OWN = replace(
    with_zoo(TINY, other_victims=0, accuracy_floor=0.5, training=TrainConfig(epochs=8)), uap=DIGITS.uap
)


def own_model(
    kind: str, built: BuiltModel, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> OwnModel:
    if kind == "pt2":
        return OwnModel(exported, None, (1, 8, 8), 10)
    save_file(built.weights, tmp_path / "own.safetensors")
    code = "from zooaudit.zoo.arch import build_architecture\n"
    code += "from zooaudit.zoo.shape import ModelShape\n"
    code += f"def make():\n    return build_architecture('A', {built.spec.shape!r})\n"
    (tmp_path / "owners_module.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    return OwnModel(tmp_path / "own.safetensors", "owners_module:make", (1, 8, 8), 10)


@pytest.mark.parametrize("kind", ["safetensors", "pt2"])
def test_the_users_own_victim_is_audited(
    kind: str,
    built: BuiltModel,
    exported: Path,
    digits: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = own_model(kind, built, exported, tmp_path, monkeypatch)
    artifacts = open_store(str(tmp_path / "store"))
    audit = run_audit(Context(OWN, digits, artifacts, SerialFarm(), quiet, own))
    assert audit.zoo.plan.victim == audit.kit.victim == own.id
    assert audit.zoo.records[own.id].accuracy == built.record.accuracy
    assert audit.zoo.plan.of(Role.VICTIM) == []
    assert {s.parent for s in audit.zoo.plan.of(Role.PIRACY)} == {own.id}
    assert audit.uap.fooling_rate > 0.3
    assert audit.scores(Role.PIRACY)
    assert run_audit(Context(OWN, digits, artifacts, Untouched(), quiet, own)).kit_id == audit.kit_id


def test_an_own_victim_that_does_not_know_the_data_is_refused(
    built: BuiltModel, exported: Path, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = own_model("safetensors", built, exported, tmp_path, monkeypatch)
    save_file({k: torch.zeros_like(v) if "head" in k else v for k, v in built.weights.items()}, own.path)
    artifacts = open_store("memory:")
    with pytest.raises(
        ModelError, match=rf"{own.path} has accuracy 0\.\d+ on the test images, under the recipe's floor 0.5"
    ):
        run_audit(Context(OWN, digits, artifacts, Untouched(), quiet, own))
    assert artifacts.kinds() == {}
