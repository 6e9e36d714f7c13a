"""Twin tests of models whose truth is known."""

import pytest
import torch
from torch import Tensor

from tests.support.makers import make_twin_test
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.verdict.twin_test import TwinTest


@pytest.fixture(scope="module")
def peers_test() -> TwinTest:
    return make_twin_test()


def box(model: torch.nn.Module) -> TorchBlackBox:
    return TorchBlackBox(model, 4)


def answers_of(test: TwinTest, model: torch.nn.Module) -> Tensor:
    return box(model).ask(test.questions())
