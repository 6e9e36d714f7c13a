"""Augmentation on the device that the images lie on: whole batches at a time, no worker processes."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Draws:
    """Random draws for one batch: whether each image is mirrored, bool ``[n]``, and its shift down and right in pixels, int64 ``[n, 2]``.

    None where that augmentation is off.
    """

    mirrored: Tensor | None
    shifts: Tensor | None

    @staticmethod
    def make(count: int, mirror: bool, shift: int, generator: torch.Generator) -> "Draws":
        """Each image is mirrored with probability 1/2 and moved by up to ``shift`` pixels, evenly; drawn on the CPU, where runs repeat."""
        mirrored = torch.rand(count, generator=generator) < 0.5 if mirror else None
        shifts = torch.randint(-shift, shift + 1, (count, 2), generator=generator) if shift else None
        return Draws(mirrored, shifts)


def augment(x: Tensor, mirrored: Tensor | None, shifts: Tensor | None) -> Tensor:
    """Mirror and move float images ``[n, c, h, w]`` as drawn; what comes in at the edges is black."""
    if mirrored is not None:
        x = torch.where(mirrored.to(x.device).view(-1, 1, 1, 1), x.flip(-1), x)
    return x if shifts is None else moved(x, shifts.to(x.device))


def moved(x: Tensor, shifts: Tensor) -> Tensor:
    """Each of the images ``[n, c, h, w]`` moved down and right by its row of ``shifts``, int64 ``[n, 2]``."""
    count, _, height, width = x.shape
    most = int(shifts.abs().max()) if len(shifts) else 0
    padded = torch.nn.functional.pad(x, (most, most, most, most))
    rows = most - shifts[:, :1] + torch.arange(height, device=x.device)
    columns = most - shifts[:, 1:] + torch.arange(width, device=x.device)
    number = torch.arange(count, device=x.device).view(-1, 1, 1)
    return padded[number, :, rows.unsqueeze(2), columns.unsqueeze(1)].permute(0, 3, 1, 2)  # channels last in memory
