"""Zoos of published nets, as small as timm and torchvision have them, and images to train them on."""

import dataclasses

import pytest
import torch

from tests.support.makers import shape_of
from zooaudit.config import ZooConfig
from zooaudit.data.images import Dataset, ImageSet
from zooaudit.zoo.planner import Planner
from zooaudit.zoo.shape import ModelShape

SMALL = "timm:test_resnet"
MOBILE = "torchvision:mobilenet_v3_small"
SIDE = 32


def shape(side: int = SIDE, channels: int = 3, classes: int = 4) -> ModelShape:
    return ModelShape((channels, side, side), classes, (0.5,) * channels, (0.25,) * channels, (8,), 8)


@pytest.fixture(scope="session")
def coloured() -> Dataset:
    """Four classes told apart by their colours."""
    generator = torch.Generator().manual_seed(0)

    def images(count: int) -> ImageSet:
        labels = torch.arange(count) % 4
        tints = torch.tensor([[220, 40, 40], [40, 220, 40], [40, 40, 220], [200, 200, 40]])[labels]
        noise = torch.randint(-40, 40, (count, 3, SIDE, SIDE), generator=generator)
        return ImageSet((tints[:, :, None, None] + noise).clamp(0, 255).to(torch.uint8), labels)

    return Dataset("coloured", images(240), images(80), ("red", "green", "blue", "yellow"), "made up")


def planner(data: Dataset, **changes: object) -> Planner:
    fields = {
        "victim_architecture": SMALL,
        "architectures": (SMALL, "B"),
        "encoder_architectures": ("B",),
        "widths": (8,),
        "hidden": 8,
    }
    return Planner(
        ZooConfig(**(fields | changes)),
        data.digest,
        dataclasses.replace(shape_of(data), widths=(8,), hidden=8),
        0,
    )
