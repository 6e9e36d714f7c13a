"""Check that a preprocessor does what we read from its settings."""

from pathlib import Path
from typing import Any

import torch

from zooaudit.errors import ConfigError, ModelError, first_line
from zooaudit.suspects.contract import Input
from zooaudit.suspects.preprocess import Preprocess

PREPROCESSOR = "preprocessor_config.json"
ROUNDED = 4 / 255
"""The largest difference of pixels that an 8-bit pipeline's rounding makes."""


def reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {first_line(error)[:300]}"


def pixel_difference(processor: Any, seen: Input, image_shape: tuple[int, int, int], folder: Path) -> float:
    """How far the processor's pixels are from ours on random images, as a share of the range of pixels.

    Raises:
        ModelError: farther than rounding explains.
    """
    channels, height, width = image_shape
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(
        0, 256, (2, channels, max(height // 4, 1), max(width // 4, 1)), dtype=torch.uint8, generator=generator
    )
    images = (
        torch.nn.functional.interpolate(coarse.float(), (height, width), mode="bilinear")
        .round()
        .to(torch.uint8)
    )
    try:
        theirs = processor(list(images), return_tensors="pt", input_data_format="channels_first")[
            "pixel_values"
        ]
        ours = Preprocess(seen, (channels, height, width))(images.float() / 255)
    except ConfigError:
        raise
    except Exception as error:  # transformers raises many kinds
        raise ModelError(
            f"{folder / PREPROCESSOR} fails on images of {height} x {width} ({reason(error)})"
        ) from error
    if theirs.shape != ours.shape:
        found = f"gives {tuple(theirs.shape)} where its settings, as we read them, give {tuple(ours.shape)}"
        raise ModelError(
            f"{folder / PREPROCESSOR} {found}; state what it does: --contract input.size=... input.resize=..."
        )
    low, high = seen.range or (0.0, 1.0)
    unit = (high - low) / (torch.tensor(seen.std).view(-1, 1, 1) if seen.std else torch.ones(1))
    apart = float(((theirs - ours).abs() / unit).max())
    if apart > ROUNDED:
        raise ModelError(
            f"{folder / PREPROCESSOR} gives pixels that differ by {apart:.2g} of their range from what its"
            " settings say, as we read them; state what it does: --contract input.size=... input.mean=..."
        )
    return apart
