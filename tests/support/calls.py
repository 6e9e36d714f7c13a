"""Audits whose suspects are of known truth."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.support.makers import ATTACK, near, peer, trained_spec
from zooaudit.config import ModifyConfig
from zooaudit.data.images import Dataset
from zooaudit.recipes.named import FMNIST_QUICK
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.verdict.twin_test import TwinTest
from zooaudit.zoo.spec import ModelSpec, Role


@pytest.fixture(scope="module")
def peer_specs(digits: Dataset) -> list[ModelSpec]:
    """Three thieves, of which the last is innocent in truth; two innocents, and a look-alike."""
    trained = trained_spec(digits)
    tuned = replace(trained, role=Role.PIRACY, modification=ModifyConfig("fine-tune", 1), seed=1)
    pruned = replace(trained, role=Role.PIRACY, modification=ModifyConfig("prune", 0.5), seed=2)
    extracted = replace(trained, role=Role.PIRACY, extraction=ATTACK, seed=3)
    innocents = [replace(trained, seed=s) for s in (4, 5)]
    return [
        tuned,
        pruned,
        extracted,
        *innocents,
        replace(trained, role=Role.LOOK_ALIKE, extraction=ATTACK, seed=6),
    ]


def audited(specs: list[ModelSpec], test: TwinTest, models: list[torch.nn.Module] | None = None) -> Any:
    """As much of an audit as the decisions are made from."""
    models = models or [near(0, 1), near(0, 2), *(peer(s) for s in range(2000, 2004))]

    def examined(model: torch.nn.Module) -> Any:
        return test.examine(TorchBlackBox(model, 4))

    suspects = [SimpleNamespace(spec=s, examined=examined(m)) for s, m in zip(specs, models, strict=True)]
    return SimpleNamespace(
        suspects=suspects, itself=examined(peer(0)), kit=SimpleNamespace(twin_test=test), recipe=FMNIST_QUICK
    )
