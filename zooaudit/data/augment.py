"""Augmentation on the device that holds the images: whole batches at a time, no worker processes."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

STRETCHED = 4 / 3
"""The largest ratio of a piece's sides, relative to the image's own."""


@dataclass(frozen=True)
class Draws:
    """Random draws for one batch. None for an augmentation that is off.

    Attributes:
        mirrored: whether each image is mirrored, bool ``[n]``.
        shifts: how far it is moved down and right, in pixels, int64 ``[n, 2]``.
        pieces: the piece that is cropped from it: centre (down, right) and size (down, right), float ``[n,
            4]`` as shares of the image.
    """

    mirrored: Tensor | None
    shifts: Tensor | None
    pieces: Tensor | None = None

    @staticmethod
    def make(count: int, mirror: bool, shift: int, crop: float, generator: torch.Generator) -> "Draws":
        """Mirror each image with probability 1/2, move it by up to ``shift`` pixels, uniformly, and crop a
        piece of at least the share ``crop`` of its area. Drawn on the CPU, where runs are reproducible."""
        mirrored = torch.rand(count, generator=generator) < 0.5 if mirror else None
        shifts = torch.randint(-shift, shift + 1, (count, 2), generator=generator) if shift else None
        return Draws(mirrored, shifts, _pieces(count, crop, generator) if crop < 1 else None)

    def share(self, part: Callable[[Tensor], Tensor]) -> "Draws":
        """The draws of a part of the batch."""
        return Draws(*(None if d is None else part(d) for d in (self.mirrored, self.shifts, self.pieces)))


def augment(x: Tensor, drawn: Draws) -> Tensor:
    """Mirror, move and crop float images ``[n, c, h, w]`` as drawn; new pixels at the edges are black."""
    if drawn.mirrored is not None:
        x = torch.where(drawn.mirrored.to(x.device).view(-1, 1, 1, 1), x.flip(-1), x)
    if drawn.shifts is not None:
        x = moved(x, drawn.shifts.to(x.device))
    return x if drawn.pieces is None or not len(x) else cut(x, drawn.pieces.to(x.device))


def _pieces(count: int, least: float, generator: torch.Generator) -> Tensor:
    """Areas uniformly from ``least`` to 1, aspect ratios from 3:4 to 4:3, uniformly in the logarithm, as in
    torchvision's RandomResizedCrop; a piece longer than the image is cut to its length."""
    area, ratio, down, right = torch.rand(4, count, generator=generator)
    area, ratio = least + (1 - least) * area, (STRETCHED ** (2 * ratio - 1)).sqrt()
    sizes = torch.stack([area.sqrt() * ratio, area.sqrt() / ratio], 1).clamp(max=1)
    return torch.cat([sizes / 2 + torch.stack([down, right], 1) * (1 - sizes), sizes], 1)


def cut(x: Tensor, pieces: Tensor) -> Tensor:
    """Crop a piece of each image ``[n, c, h, w]``, float ``[n, 4]`` as in :class:`Draws`, and stretch it to
    the whole size, bilinearly."""
    centre, size = 2 * pieces[:, :2] - 1, pieces[:, 2:]
    theta = torch.zeros(len(x), 2, 3, device=x.device, dtype=x.dtype)
    theta[:, 0, 0], theta[:, 1, 1] = size[:, 1], size[:, 0]
    theta[:, 0, 2], theta[:, 1, 2] = centre[:, 1], centre[:, 0]
    grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def moved(x: Tensor, shifts: Tensor) -> Tensor:
    """Each of the images ``[n, c, h, w]`` moved down and right by its row of ``shifts``, int64 ``[n, 2]``."""
    count, _, height, width = x.shape
    most = int(shifts.abs().max()) if len(shifts) else 0
    padded = functional.pad(x, (most, most, most, most))
    rows = most - shifts[:, :1] + torch.arange(height, device=x.device)
    columns = most - shifts[:, 1:] + torch.arange(width, device=x.device)
    number = torch.arange(count, device=x.device).view(-1, 1, 1)
    # Channels last in memory.
    return padded[number, :, rows.unsqueeze(2), columns.unsqueeze(1)].permute(0, 3, 1, 2)
