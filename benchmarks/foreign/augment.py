"""Changes to batches of uint8 images that keep the label, drawn from torch's global generator."""

import torch
from torch import Tensor
from torch.nn import functional as F


def shifted(images: Tensor, most: int) -> Tensor:
    """Each image moved by up to ``most`` pixels each way, black coming in."""
    n, _, height, width = images.shape
    padded = F.pad(images, (most,) * 4)
    rows = torch.randint(0, 2 * most + 1, (n, 1)) + torch.arange(height)
    columns = torch.randint(0, 2 * most + 1, (n, 1)) + torch.arange(width)
    return padded[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(
        0, 3, 1, 2
    )


def mirrored(images: Tensor) -> Tensor:
    """About half of the images left to right."""
    turned = torch.rand(len(images)) < 0.5
    return torch.where(turned.view(-1, 1, 1, 1), images.flip(3), images)


def holed(images: Tensor, side: int) -> Tensor:
    """One grey square of ``side`` pixels in each image."""
    n, _, height, width = images.shape
    top, left = torch.randint(0, height - side, (n, 1, 1)), torch.randint(0, width - side, (n, 1, 1))
    y, x = torch.arange(height).view(1, -1, 1), torch.arange(width).view(1, 1, -1)
    hole = (y >= top) & (y < top + side) & (x >= left) & (x < left + side)
    return images.masked_fill(hole.unsqueeze(1), 128)


def pasted(images: Tensor, others: Tensor) -> tuple[Tensor, float]:
    """A rectangle of the others in each image, at one place for all; and its share of the area."""
    _, _, height, width = images.shape
    h, w = (int(torch.randint(side // 4, 3 * side // 4 + 1, ())) for side in (height, width))
    top, left = int(torch.randint(0, height - h + 1, ())), int(torch.randint(0, width - w + 1, ()))
    mixed = images.clone()
    mixed[:, :, top : top + h, left : left + w] = others[:, :, top : top + h, left : left + w]
    return mixed, h * w / (height * width)


def unit(images: Tensor) -> Tensor:
    """uint8 to float in [0, 1], channels last in memory."""
    return images.float().div_(255).contiguous(memory_format=torch.channels_last)


def batches(count: int, size: int) -> list[Tensor]:
    """One epoch's batches of indices in random order; what does not fill a batch is left out."""
    order = torch.randperm(count)
    return list(order[: count // size * size].split(size)) if count >= size else [order]
