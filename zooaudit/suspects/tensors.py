"""Tensors of the Open Inference Protocol (v2), over both HTTP and gRPC: an input made from images, outputs
read as answers. Pure."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from zooaudit.errors import AnswersError
from zooaudit.suspects.pictures import DTYPES, Layout, cast, numbers, png

USUAL = "FP32"


@dataclass(frozen=True)
class Shaped:
    """How images become an input.

    Attributes:
        datatype: of the protocol; ``BYTES`` is a PNG for each image.
        dims: of one image's numbers; () for the layout's.
        batched: whether the shape begins with the number of images.
        column: whether ``BYTES`` have the shape [n, 1] instead of [n].
    """

    layout: Layout = "nchw"
    scale: float = 1.0
    offset: float = 0.0
    datatype: str = USUAL
    dims: tuple[int, ...] = ()
    batched: bool = True
    column: bool = False

    def input(self, images: Tensor) -> tuple[list[int], np.ndarray | list[bytes]]:
        """Shape and values of float images ``[n, c, h, w]``.

        Raises:
            ConfigError: the values do not fit the type.
        """
        if self.datatype == "BYTES":
            files = [png(image) for image in images]
            batch = [len(files)] if self.batched else []
            return [*batch, 1] if self.column or not batch else batch, files
        values = cast(numbers(images, self.layout, self.scale, self.offset), self.datatype)
        if self.dims:
            values = values.reshape(len(values), *self.dims)
        return list(values.shape if self.batched else values.shape[1:]), values


def raw(values: np.ndarray | list[bytes]) -> bytes:
    """Values in the binary form: little endian, row by row; each ``BYTES`` value after its length."""
    if isinstance(values, list):
        return b"".join(struct.pack("<I", len(one)) + one for one in values)
    return np.ascontiguousarray(values).tobytes()


@dataclass(frozen=True)
class Output:
    """A tensor in a response; values in their original form: raw bytes, or a list."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Any


def answers(outputs: Sequence[Output], name: str, count: int) -> list[Any]:
    """One answer for each image: a list of numbers, or one number or text.

    Args:
        name: the output that holds the answers; "" for the only one.

    Raises:
        AnswersError: no such output, several without a name to choose by, or not ``count`` answers.
    """
    found = [o for o in outputs if not name or o.name == name]
    there = ", ".join(f"{o.name[:40]!r} {list(o.shape)}" for o in outputs[:8]) or "none"
    if not found:
        raise AnswersError.of(
            f"the outputs {there}", f"an output{f' named {name!r}' if name else ''} with its data"
        )
    if len(found) > 1:
        raise AnswersError.of(
            f"{len(found)} outputs, {there}", f"one, or choose: output = {found[0].name[:40]!r}"
        )
    return _rows(found[0], count)


def _rows(output: Output, count: int) -> list[Any]:
    flat = values_of(output)
    shape = output.shape
    if shape and int(np.prod(shape, dtype=object)) != len(flat):
        raise AnswersError.of(
            f"an output of shape {list(shape)} with {len(flat)} values", "as many as its shape says"
        )
    each = len(flat) // count if len(flat) % count == 0 else 0
    if each == 0:
        raise AnswersError.of(f"{len(flat)} values for {count} images", "as many for each image")
    if count > 1 and shape and shape[0] != count and each > 1:
        raise AnswersError.of(f"an output of shape {list(shape)} for {count} images", "the images first")
    return flat if each == 1 else [flat[i : i + each] for i in range(0, len(flat), each)]


def values_of(output: Output) -> list[Any]:
    """All values in a row: numbers, or texts for ``BYTES``."""
    if isinstance(output.values, bytes):
        return _unpacked(output)
    if not isinstance(output.values, list):
        raise AnswersError.of(f"the output {output.name[:40]!r} without data", "its values")
    flat = np.array(output.values, dtype=object).ravel().tolist()
    return [_text(v) if isinstance(v, bytes) else v for v in flat]


def _unpacked(output: Output) -> list[Any]:
    packed, kind = output.values, output.datatype
    if kind == "BYTES":
        return [_text(one) for one in _strings(packed)]
    if kind == "BF16" and len(packed) % 2 == 0:
        wide = np.frombuffer(packed, "<u2").astype("<u4") << 16
        return wide.view("<f4").tolist()
    if kind not in DTYPES or len(packed) % np.dtype(DTYPES[kind]).itemsize:
        raise AnswersError.of(
            f"{len(packed)} bytes of {kind[:20]!r}",
            f"whole values of one of {', '.join((*DTYPES, 'BF16', 'BYTES'))}",
        )
    return np.frombuffer(packed, DTYPES[kind]).tolist()


def _strings(packed: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(packed):
        length = int.from_bytes(packed[at : at + 4], "little")
        at += 4 + length
        if at > len(packed):
            raise AnswersError.of("a text that is cut off", "BYTES, each with its length before it")
        found.append(packed[at - length : at])
    return found


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
