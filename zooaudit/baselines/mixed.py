"""CutMix (Yun et al., ICCV 2019): images with a piece of another one, of which SAC-m asks:
unusual, and made without any model."""

import torch
from torch import Tensor


def cut_and_mixed(images: Tensor, others: Tensor, seed: int) -> Tensor:
    """Float ``[n, c, h, w]``: each of ``images`` with a random rectangle of its other, a
    quarter of the area."""
    generator = torch.Generator().manual_seed(seed)
    *_, height, width = images.shape
    tall, wide = max(1, height // 2), max(1, width // 2)
    top = torch.randint(height - tall + 1, (len(images), 1), generator=generator).to(images.device)
    left = torch.randint(width - wide + 1, (len(images), 1), generator=generator).to(images.device)
    rows, columns = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    inside = ((rows >= top) & (rows < top + tall)).unsqueeze(2) & (
        (columns >= left) & (columns < left + wide)
    ).unsqueeze(1)
    return torch.where(inside.unsqueeze(1), others, images)
