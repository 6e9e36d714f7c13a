"""Tensors of a step, kept in the store under a digest of its inputs."""

import hashlib
from collections.abc import Callable
from typing import Any

from torch import Tensor

from zooaudit.config import digest_of
from zooaudit.data.images import to_unit
from zooaudit.methods import METHODS
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.encoding import tensors_to_bytes

TENSORS = "tensors.safetensors"
DIGESTED = 64
"""How many images are hashed at a time."""
Made = tuple[dict[str, Tensor], dict[str, Any]]


def kept_tensors(artifacts: Artifacts, kind: str, inputs: list[Any], make: Callable[[], Made]) -> Made:
    """A step's tensors and facts: read from the store if it holds them for these inputs, else made and
    stored."""
    id_ = digest_of([kind, METHODS.get(kind, 1), inputs])
    if not artifacts.has(kind, id_):
        tensors, meta = make()
        artifacts.save(kind, id_, {TENSORS: tensors_to_bytes(tensors)}, meta)
    artifact = artifacts.load(kind, id_)
    return artifact.tensors(TENSORS), artifact.meta


def digest_of_floats(images: Tensor) -> str:
    """``tensor_digest`` of uint8 images as floats in [0, 1], in chunks: floats take four times the memory."""
    digest = hashlib.sha256(str(tuple(images.shape)).encode())
    for part in images.flatten(0, 2).split(DIGESTED):
        digest.update(to_unit(part).contiguous().numpy().reshape(-1).data)
    return digest.hexdigest()[:16]


def tensor_digest(tensor: Tensor) -> str:
    """Digest of shape and values, without a copy of them: a pool of photographs has gigabytes."""
    digest = hashlib.sha256(str(tuple(tensor.shape)).encode())
    digest.update(tensor.contiguous().numpy().reshape(-1).data)
    return digest.hexdigest()[:16]
