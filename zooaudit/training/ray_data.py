"""Pass a data set to Ray's workers: shared by those of one machine, not copied."""

import warnings
from typing import Any

import numpy as np
import torch

from zooaudit.data.images import Dataset, ImageSet
from zooaudit.data.on_disk import Images


def _packed(dataset: Dataset) -> dict[str, Any]:
    """Arrays that all workers of a node share through Ray's object store, without a copy each."""
    parts = {"train": dataset.train.to("cpu"), "test": dataset.test.to("cpu")}
    arrays = {f"{name}_labels": part.labels.numpy() for name, part in parts.items()}
    arrays |= {f"{name}_images": _array(part.images) for name, part in parts.items()}
    return arrays | {
        "name": dataset.name,
        "classes": dataset.classes,
        "source": dataset.source,
        "found": dataset.found,
    }


def _unpacked(packed: dict[str, Any]) -> Dataset:
    train, test = (
        ImageSet(_shared(packed[f"{p}_images"]), _shared(packed[f"{p}_labels"])) for p in ("train", "test")
    )
    return Dataset(packed["name"], train, test, packed["classes"], packed["source"], packed["found"])


def _array(images: Images) -> Any:
    return images.numpy() if isinstance(images, torch.Tensor) else images


def _shared(array: Any) -> Any:
    """An array as a tensor; images on disk are passed unchanged, and every node decodes for itself."""
    if not isinstance(array, np.ndarray):
        return array
    with warnings.catch_warnings():  # the memory is read-only, and is not written to
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)
