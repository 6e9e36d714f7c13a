"""Images of no particular task, made from a seed: questions for thieves who asked the victim images of
another domain."""

import numpy as np
import torch
from torch import Tensor

from zooaudit.seeds import derive

SMOOTHEST, ROUGHEST = 2.6, 0.6
"""Exponents of the falling spectra from which images are drawn; natural images have about 2."""


def textures(count: int, shape: tuple[int, int, int], seed: int) -> Tensor:
    """Uint8 ``[count, c, h, w]``: coloured noise of random spectra with a few random patches of other noise,
    stretched to the full range.

    Args:
        shape: channels, height, width.
    """
    generator = np.random.default_rng(derive(seed, "textures"))
    return torch.from_numpy(np.stack([_texture(shape, generator) for _ in range(count)]))


def _texture(shape: tuple[int, int, int], generator: np.random.Generator) -> np.ndarray:
    image = _noise(shape, generator)
    for _ in range(generator.integers(1, 4)):
        top, left = (int(generator.integers(0, side)) for side in shape[1:])
        height, width = (int(generator.integers(1, side + 1)) for side in shape[1:])
        image[:, top : top + height, left : left + width] = _noise(shape, generator)[
            :, top : top + height, left : left + width
        ]
    low, high = image.min(), image.max()
    return np.asarray((image - low) / max(high - low, 1e-9) * 255).round().astype(np.uint8)


def _noise(shape: tuple[int, int, int], generator: np.random.Generator) -> np.ndarray:
    """Noise whose power falls with frequency, around a random level: float ``[c, h, w]``."""
    channels, height, width = shape
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    fall = np.maximum(frequency, 1 / max(height, width)) ** -generator.uniform(ROUGHEST, SMOOTHEST)
    shared = generator.normal(size=(1, height, width))
    white = (
        generator.uniform() * shared + generator.normal(size=(channels, height, width)) * generator.uniform()
    )
    made = np.fft.irfft2(np.fft.rfft2(white) * fall, s=(height, width))
    return np.asarray(made / max(made.std(), 1e-9) + generator.normal(size=(channels, 1, 1)))
