"""The images that a published benchmark's models are asked, out of somebody's download."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from zooaudit.data.on_disk import in_memory
from zooaudit.data.readers import read_dataset
from zooaudit.data.reading import PLAIN, Reading, Sizing
from zooaudit.errors import DataError
from zooaudit.studies.published_names import Benchmark

POOL = 5000
"""Test images, at random, that questions are chosen from."""
SMALL = 32
"""Pixels a side up to which images have to be of that size: larger ones are photographs of all sizes."""
SHORTER, FILTER = 256, "bicubic"
"""How photographs are scaled before their middle is cut out, as QuRD does, unless the user says otherwise."""


@dataclass(frozen=True, eq=False)
class Images:
    """Attributes:
    images: uint8 ``[n, 3, h, w]``, of the test split, in random order; ``labels`` int64 ``[n]``.
    digest: of all the data.
    """

    images: Tensor
    labels: Tensor
    digest: str


def read_images(place: Path, benchmark: Benchmark, reading: Reading = PLAIN) -> Images:
    """Of ``DIR/CIFAR10`` and the like.

    Raises:
        DataError: they are not there, not readable, or of another size or number of classes
            than the benchmark's.
    """
    folder = place / benchmark.dataset
    if not folder.exists():
        raise DataError(
            f"{folder} is not there; {benchmark.name}'s models are asked its images. Expected train and test"
            f" in a form that 'zooaudit data --data {folder}' reads: CIFAR-10's binary version, Parquet, a"
            " folder per class (docs/data.md); or none of these models"
        )
    if benchmark.side > SMALL and reading.sizing is None:
        reading = replace(reading, sizing=Sizing(benchmark.side, benchmark.side, "crop", SHORTER, FILTER))
    data = read_dataset(folder, benchmark.dataset, reading)
    expected = (3, benchmark.side, benchmark.side)
    if data.image_shape != expected or data.num_classes != benchmark.classes:
        raise DataError(
            f"{folder} has {data.num_classes} classes and images of shape {data.image_shape}; expected"
            f" {benchmark.classes} and {expected}"
        )
    order = torch.randperm(len(data.test), generator=torch.Generator().manual_seed(0))[:POOL]
    part = data.test.take(order)
    return Images(in_memory(part.images), part.labels, data.digest)
