"""Labelled images in memory: uint8 on one device, validated once when made."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from zooaudit.data.on_disk import Images, in_memory
from zooaudit.data.reading_notes import Found
from zooaudit.errors import DataError

SAMPLE = 2000
"""How many images on disk statistics are computed from."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images and their labels.

    Attributes:
        images: uint8 ``[n, channels, height, width]``, values 0 to 255; for data that does not fit in memory,
            an object that behaves like such a tensor.
        labels: int64 ``[n]``, each in ``[0, num_classes)``.
    """

    images: Images
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise DataError(
                f"images are {self.images.dtype} of shape {tuple(self.images.shape)}; expected uint8 [n,"
                " channels, height, width]"
            )
        if len(self.images) == 0:
            raise DataError("no images: expected at least one")
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise DataError(
                f"labels are {self.labels.dtype} of shape {tuple(self.labels.shape)}; expected int64"
                f" [{len(self.images)}], one per image"
            )

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: Tensor) -> "ImageSet":
        """The images at ``indices`` (int64 ``[k]``), as a new set."""
        images = self.images[indices] if isinstance(self.images, Tensor) else self.images.take(indices)
        return ImageSet(images, self.labels[indices])

    def loaded(self) -> "ImageSet":
        """The same set in memory."""
        return ImageSet(in_memory(self.images), self.labels)

    def to(self, device: str | torch.device) -> "ImageSet":
        """The same set on another device."""
        return ImageSet(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True, eq=False)
class Dataset:
    """A training and a test set with the same classes and image shape, and where they were found."""

    name: str
    train: ImageSet
    test: ImageSet
    classes: tuple[str, ...]
    source: str
    found: Found | None = None
    """What the reader found, so that users can check that it read what they meant."""

    def __post_init__(self) -> None:
        shapes = {tuple(s.images.shape[1:]) for s in (self.train, self.test)}
        if len(shapes) != 1:
            raise DataError(
                f"{self.name}: train and test images differ in shape {sorted(shapes)}; expected one shape:"
                " --size HxW, --colour rgb"
            )
        for part, images in (("train", self.train), ("test", self.test)):
            low, high = int(images.labels.min()), int(images.labels.max())
            if low < 0 or high >= self.num_classes:
                raise DataError(
                    f"{self.name}: {part} labels lie in [{low}, {high}]; "
                    f"expected [0, {self.num_classes - 1}] for {self.num_classes} classes"
                )

    def to(self, device: str | torch.device) -> "Dataset":
        """The same data on another device."""
        return replace(self, train=self.train.to(device), test=self.test.to(device))

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        c, h, w = self.train.images.shape[1:]
        return int(c), int(h), int(w)

    @cached_property
    def digest(self) -> str:
        """16 hex digits of the SHA-256 of shapes, pixels (for images on disk: the encoded files), labels, and
        the resizing if there was any: other images have another digest."""
        sha = hashlib.sha256()
        for part in (self.train, self.test):
            sha.update(str(tuple(part.images.shape)).encode())
            images = part.images
            sha.update(
                images.cpu().contiguous().numpy().data
                if isinstance(images, Tensor)
                else images.digest.encode()
            )
            sha.update(part.labels.cpu().contiguous().numpy().data)
        if self.found and self.found.sizing:
            sha.update(self.found.sizing.encode())
        return sha.hexdigest()[:16]

    @cached_property
    def channel_stats(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel over the training images in [0, 1], rounded to 4
        digits; for images on disk, over a sample."""
        images = (
            self.train.images
            if isinstance(self.train.images, Tensor)
            else self.train.images[_sample(len(self.train))]
        )
        flat = [images[:, c].flatten().cpu() for c in range(images.shape[1])]
        histograms = [torch.bincount(f, minlength=256).double() for f in flat]
        levels = torch.arange(256, dtype=torch.float64) / 255
        mean, std = [], []
        for h in histograms:
            p = h / h.sum()
            m = float((p * levels).sum())
            mean.append(round(m, 4))
            std.append(round(max(float((p * (levels - m) ** 2).sum()) ** 0.5, 1e-3), 4))
        return tuple(mean), tuple(std)


def _sample(count: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:SAMPLE]


def to_unit(images: Tensor) -> Tensor:
    """uint8 ``[n, c, h, w]`` to float32 in [0, 1], on the same device."""
    return images.float().div_(255)
