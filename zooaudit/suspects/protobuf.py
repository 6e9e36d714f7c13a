"""The messages of the Open Inference Protocol over gRPC that a client needs, as protobuf encodes them. Pure.

Written by hand: a request, a response and a model's metadata are a dozen fields of a published, frozen
format. Generated code would be ten times as long, require a version of protobuf's runtime that may conflict
with other packages, and build a Python object for every number before any length could be checked.
https://protobuf.dev/programming-guides/encoding
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from zooaudit.errors import AnswersError
from zooaudit.suspects.tensors import Output

SERVICE = "inference.GRPCInferenceService"
INFER, METADATA, CONFIG = (f"/{SERVICE}/{name}" for name in ("ModelInfer", "ModelMetadata", "ModelConfig"))
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
CONTENTS = {1: "bool", 2: "int", 3: "int", 4: "uint", 5: "uint", 6: "<f4", 7: "<f8", 8: "bytes"}
"""The type of each field of InferTensorContents."""
LONGEST = 64
"""Most tensors in a response."""


def varint(value: int) -> bytes:
    packed, value = bytearray(), value & (2**64 - 1)
    while value > 0x7F:
        packed.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*packed, value])


def _field(number: int, value: bytes | str) -> bytes:
    """A text, bytes or a message inside another; empty ones are left out."""
    packed = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | BYTES) + varint(len(packed)) + packed if packed else b""


def metadata_request(model: str, version: str) -> bytes:
    """ModelMetadataRequest; ModelConfigRequest is the same."""
    return _field(1, model) + _field(2, version)


def infer_request(
    model: str, version: str, name: str, datatype: str, shape: Sequence[int], values: bytes, output: str
) -> bytes:
    """ModelInferRequest of one input, whose values are raw."""
    tensor = _field(1, name) + _field(2, datatype) + _field(3, b"".join(map(varint, shape)))
    wanted = _field(6, _field(1, output)) if output else b""
    return (
        _field(1, model)
        + _field(2, version)
        + _field(5, tensor)
        + wanted
        + varint(7 << 3 | BYTES)
        + varint(len(values))
        + values
    )


def fields(message: bytes) -> Iterator[tuple[int, int, Any]]:
    """Number, wire type and value of each field: an int, or bytes.

    Raises:
        AnswersError: not protobuf.
    """
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = _varint(message, at)
            yield number, kind, value
            continue
        if kind == BYTES:
            length, at = _varint(message, at)
        else:
            length = {FIXED64: 8, FIXED32: 4}.get(kind, -1)
        if length < 0 or length > len(message) - at:
            raise _none()
        yield number, kind, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte, at = message[at], at + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), at
    raise _none()


def _none() -> AnswersError:
    return AnswersError.of("bytes that are not protobuf", "messages of the Open Inference Protocol")


def metadata_of(message: bytes) -> dict[str, Any]:
    """A ModelMetadataResponse, in its JSON form."""
    found: dict[str, Any] = {"inputs": [], "outputs": []}
    for number, kind, value in fields(message):
        if kind == BYTES and number in (4, 5):
            found["inputs" if number == 4 else "outputs"].append(_tensor(value))
    return found


def _tensor(message: bytes) -> dict[str, Any]:
    data: dict[str, Any] = {"name": "", "datatype": "", "shape": []}
    for number, kind, value in fields(message):
        if kind == BYTES and number in (1, 2):
            data["name" if number == 1 else "datatype"] = value.decode(errors="replace")
        elif number == 3:
            data["shape"] += _whole(kind, value)
    return data


def config_of(message: bytes) -> dict[str, Any]:
    """The needed part of Triton's ModelConfigResponse: ``max_batch_size``, which protobuf leaves out if it is
    0."""
    config = next((v for n, k, v in fields(message) if n == 1 and k == BYTES), None)
    if config is None:
        return {}
    return {"max_batch_size": next((_signed(v) for n, k, v in fields(config) if n == 4 and k == VARINT), 0)}


def outputs_of(message: bytes) -> list[Output]:
    """The tensors of a ModelInferResponse.

    Raises:
        AnswersError: not such a message.
    """
    tensors: list[Output] = []
    raws: list[bytes] = []
    for number, kind, value in fields(message):
        if kind == BYTES and number == 5 and len(tensors) < LONGEST:
            tensors.append(_output(value))
        elif kind == BYTES and number == 6 and len(raws) < LONGEST:
            raws.append(value)
    if raws and len(raws) != len(tensors):
        raise AnswersError.of(f"{len(tensors)} outputs and {len(raws)} raw ones", "as many")
    return (
        [Output(o.name, o.datatype, o.shape, raw) for o, raw in zip(tensors, raws, strict=True)]
        if raws
        else tensors
    )


def _output(message: bytes) -> Output:
    result, values = _tensor(message), []
    for number, kind, value in fields(message):
        if number == 5 and kind == BYTES:
            for inner, inner_kind, content in fields(value):
                values += _contents(CONTENTS.get(inner, ""), inner_kind, content)
    return Output(result["name"], result["datatype"], tuple(result["shape"]), values)


def _contents(held: str, kind: int, value: Any) -> list[Any]:
    if held == "bytes":
        return [value]
    if held in ("<f4", "<f8"):
        if not isinstance(value, bytes) or len(value) % np.dtype(held).itemsize:
            raise _none()
        return np.frombuffer(value, held).tolist()
    if held == "uint":
        return [v & (2**64 - 1) for v in _whole(kind, value)]
    return _whole(kind, value) if held else []


def _whole(kind: int, value: Any) -> list[int]:
    """Integers, one by one or packed."""
    if kind == VARINT:
        return [_signed(value)]
    if kind != BYTES:
        raise _none()
    found, at = [], 0
    while at < len(value):
        one, at = _varint(value, at)
        found.append(_signed(one))
    return found


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value
