"""The Open Inference Protocol (v2) over HTTP: tensors as JSON, or by its binary extension. Pure."""

import base64
import json
from typing import Any

import numpy as np
from torch import Tensor

from zooaudit.errors import AnswersError
from zooaudit.suspects.metadata import Fitted
from zooaudit.suspects.statuses import text_of
from zooaudit.suspects.tensors import Output, raw
from zooaudit.suspects.transport import Message
from zooaudit.suspects.wire import JSON, json_of

HEADER_LENGTH = "Inference-Header-Content-Length"
"""Most bytes of JSON before the binary tensors."""
LONGEST = 64
"""Most outputs that are read."""


def infer_message(fitted: Fitted, images: Tensor) -> Message:
    """A request for float images ``[n, c, h, w]``."""
    shaped, wire = fitted.shaped, fitted.wire
    shape, values = shaped.input(images)
    tensor: dict[str, Any] = {"name": wire.input, "shape": shape, "datatype": shaped.datatype}
    wanted: dict[str, Any] = {"name": wire.output}
    if not fitted.binary:
        tensor["data"] = _plain(values)
        return Message(
            JSON, json.dumps({"inputs": [tensor]} | ({"outputs": [wanted]} if wire.output else {})).encode()
        )
    packed = raw(values)
    tensor["parameters"] = {"binary_data_size": len(packed)}
    wanted["parameters"] = {"binary_data": True}
    asked = {"outputs": [wanted]} if wire.output else {"parameters": {"binary_data_output": True}}
    head = json.dumps({"inputs": [tensor]} | asked).encode()
    return Message("application/octet-stream", head + packed, {HEADER_LENGTH: str(len(head))})


def _plain(values: np.ndarray | list[bytes]) -> list[Any]:
    """Values for JSON: numbers in a row, files as base64."""
    if isinstance(values, list):
        return [base64.b64encode(one).decode() for one in values]
    return values.ravel().tolist()


def read_outputs(body: bytes, length: str, kind: str) -> list[Output]:
    """The tensors of a response.

    Args:
        length: the value of ``HEADER_LENGTH``; "" if the whole body is JSON.
        kind: the response's media type.

    Raises:
        AnswersError: not such a response.
    """
    at = len(body)
    if length:
        at = int(length) if length.isascii() and length.isdecimal() and len(length) < 12 else -1
        if not 0 < at <= len(body):
            raise AnswersError.of(
                f"the {HEADER_LENGTH} {length[:20]} for {len(body)} bytes", "the length of its JSON"
            )
    result = json_of(text_of(body[:at], "" if length else kind))
    found = result.get("outputs") if isinstance(result, dict) else None
    if not isinstance(found, list) or not all(isinstance(o, dict) for o in found[:LONGEST]) or not found:
        raise AnswersError.of(str(result)[:120], "outputs with their data")
    outputs = []
    for one in found[:LONGEST]:
        output, at = _output(one, body, at)
        outputs.append(output)
    return outputs


def _output(data: dict[str, Any], body: bytes, at: int) -> tuple[Output, int]:
    shape, parameters = data.get("shape"), data.get("parameters")
    whole = isinstance(shape, list) and all(
        isinstance(s, int) and not isinstance(s, bool) and s >= 0 for s in shape
    )
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    values: Any = data.get("data")
    if size is not None:
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(body) - at:
            raise AnswersError.of(
                f"{len(body) - at} bytes for a tensor of {str(size)[:20]}", "as many as binary_data_size says"
            )
        values, at = body[at : at + size], at + size
    return (
        Output(
            str(data.get("name", "")),
            str(data.get("datatype", "")),
            tuple(shape) if whole and shape else (),
            values,
        ),
        at,
    )
