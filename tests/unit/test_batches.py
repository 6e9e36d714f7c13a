"""Photographs are asked in small batches wherever nothing is learnt: 500 of 224 x 224 pixels would be
gigabytes in a real net."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from zooaudit.config import UapConfig
from zooaudit.data.batches import MOST_VALUES, images_at_once
from zooaudit.data.images import ImageSet, to_unit
from zooaudit.paper.datapoints import representation
from zooaudit.paper.fingerprint import ask
from zooaudit.paper.uap import craft_uap, fooling_rate, local_perturbations, predict
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.zoo.attacks.crafted import jacobian_step, least_certain, move_to_boundary
from zooaudit.zoo.fit import accuracy, agreement

COUNT, SIDE = 90, 224
IMAGES = torch.randint(
    256, (COUNT, 3, SIDE, SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
LABELS = torch.arange(COUNT) % 3
UAP = UapConfig(points=COUNT, max_steps=2, batch_size=8, epsilon=0.1)


class Seen(nn.Module):
    """A small net that remembers the most values it was given at once."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head, self.most = nn.Linear(3, 3), 0

    def forward(self, x: Tensor) -> Tensor:
        self.most = max(self.most, x.numel())
        return self.head(x.mean((2, 3)))


USES: dict[str, Callable[[Seen], object]] = {
    "accuracy": lambda m: accuracy(m, ImageSet(IMAGES, LABELS)),
    "agreement": lambda m: agreement(m, m, ImageSet(IMAGES, LABELS)),
    "labels": lambda m: predict(m, IMAGES),
    "fooling rate": lambda m: fooling_rate(m, IMAGES, torch.zeros(3, SIDE, SIDE)),
    "UAP": lambda m: craft_uap(m, IMAGES, IMAGES, UAP, seed=0),
    "UAP by DeepFool": lambda m: craft_uap(m, IMAGES, IMAGES, replace(UAP, method="deepfool"), seed=0),
    "local perturbations": lambda m: local_perturbations(m, to_unit(IMAGES), "linf", 0.1),
    "datapoints": lambda m: representation(m, IMAGES),
    "answers": lambda m: ask(TorchBlackBox(m, 3, "seen"), to_unit(IMAGES).view(1, COUNT, 1, 3, SIDE, SIDE)),
    "boundary": lambda m: move_to_boundary(m, IMAGES, 0.01, 0.05),
    "Jacobian": lambda m: jacobian_step(m, IMAGES, LABELS, 0.1),
    "least certain": lambda m: least_certain(m, IMAGES, 5),
}


@pytest.mark.parametrize("use", USES.values(), ids=list(USES))
def test_no_batch_is_larger_than_500_images_of_64_by_64(use: Callable[[Seen], object]) -> None:
    seen = Seen().eval()
    use(seen)
    assert 0 < seen.most <= MOST_VALUES


@pytest.mark.parametrize(
    ("shape", "most", "size"),
    [
        ((60_000, 1, 28, 28), 500, 500),
        ((9, 3, 64, 64), 500, 500),
        ((9, 3, 64, 64), 100, 100),
        ((9, 3, 65, 64), 500, 492),
        ((9, 3, 224, 224), 500, 40),
        ((2, 9, 2, 3, 224, 224), 500, 40),
        ((9, 3, 8192, 8192), 500, 1),
    ],
)
def test_small_images_are_asked_as_many_at_once_as_ever(shape: tuple[int, ...], most: int, size: int) -> None:
    assert images_at_once(shape, most) == size
