"""Folders of transformers, and images for them."""

from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from zooaudit.suspects.contract_files import contract_of
from zooaudit.suspects.load import Asked

CLASSES = ("cat", "dog", "owl")


def vit(folder: Path, size: int = 24, labels: tuple[str, ...] = CLASSES, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=size,
        patch_size=8,
        id2label=dict(enumerate(labels)),
        label2id={n: i for i, n in enumerate(labels)},
        initializer_range=0.3,
    )
    model = transformers.ViTForImageClassification(config).eval()
    model.save_pretrained(folder, **options)
    return model


PROCESSORS: dict[str, Any] = {
    "squashed": lambda: transformers.ViTImageProcessor(size={"height": 24, "width": 24}),
    "shorter, then the middle": lambda: transformers.ViTImageProcessor(
        size={"shortest_edge": 28}, do_center_crop=True, crop_size={"height": 24, "width": 24}, resample=3
    ),
    "ConvNeXt's": lambda: transformers.ConvNextImageProcessor(size={"shortest_edge": 24}, crop_pct=0.75),
    "BGR": lambda: transformers.MobileViTImageProcessor(
        size={"shortest_edge": 26}, crop_size={"height": 24, "width": 24}
    ),
    "from -1 to 1": lambda: transformers.ViTImageProcessor(
        size={"height": 24, "width": 24}, rescale_factor=1 / 127.5, image_mean=[1, 1, 1], image_std=[1, 1, 1]
    ),
    "from 0 to 255": lambda: transformers.ViTImageProcessor(
        size={"height": 24, "width": 24}, do_rescale=False, image_mean=[120, 110, 100], image_std=[58, 57, 56]
    ),
}


def blobs(count: int, height: int, width: int, channels: int = 3) -> Tensor:
    """Images of 8 bits that are not noise."""
    coarse = torch.rand(count, channels, 5, 5, generator=torch.Generator().manual_seed(3))
    return (
        nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1) * 255
    ).round() / 255


def asked(shape: tuple[int, int, int], kit: tuple[str, ...] = CLASSES, **tables: Any) -> Asked:
    return Asked(shape, kit, contract_of(tables))
