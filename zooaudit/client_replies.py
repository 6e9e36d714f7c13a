"""Read the service's replies within limits: bodies, refusals, waits."""

import io

import httpx
import numpy as np
import pyarrow as pa

from zooaudit.errors import InputError, ServiceError
from zooaudit.serving import schemas

PROBLEM = "application/problem+json"
MOST_REPLY_BYTES, MOST_QUERY_BYTES = 2**31, 2**32
"""The largest reply, and the largest questions in it: 5,000 images of 224 by 224 in colour take 3 GB."""
AGAIN = (429, 502, 503, 504)
"""Statuses worth a retry."""


def whole(reply: httpx.Response) -> httpx.Response:
    """Read the whole reply; refuse one that is too large."""
    size, parts = 0, []
    for part in reply.iter_bytes():
        size += len(part)
        if size > MOST_REPLY_BYTES:
            raise ServiceError(
                f"the service answers with more than {MOST_REPLY_BYTES:,} bytes; is it a scoring service?",
                reply.status_code,
            )
        parts.append(part)
    headers = [
        (k, v)
        for k, v in reply.headers.multi_items()
        if k.lower() not in ("content-encoding", "content-length")
    ]
    return httpx.Response(reply.status_code, headers=headers, content=b"".join(parts), request=reply.request)


def arrow_body(answers: np.ndarray) -> bytes:
    """Answers ``[n, K]`` as an Arrow stream of ``query`` and ``probabilities``.

    Raises:
        InputError: the answers have another shape.
    """
    if answers.ndim != 2 or 0 in answers.shape:
        raise InputError(f"answers have the shape {answers.shape}; expected [questions, classes]")
    flat = pa.FixedSizeListArray.from_arrays(pa.array(answers.ravel()), answers.shape[1])
    table = pa.table({"query": pa.array(np.arange(len(answers)), pa.int32()), "probabilities": flat})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def may_pass(reply: httpx.Response) -> bool:
    """Whether a retry may help. A 500 without a problem document does not come from the application: the
    replica that handled the request has died."""
    died = reply.status_code == 500 and reply.headers.get("Content-Type", "") != PROBLEM
    return died or reply.status_code in AGAIN


def retry_after(reply: httpx.Response) -> float:
    """Seconds to wait. A proxy may give a date, which is ignored: backing off covers it."""
    value = reply.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdecimal() else 0.0


def refusal(reply: httpx.Response) -> ServiceError:
    try:
        result = schemas.Problem.model_validate_json(reply.content)
    except ValueError:
        return ServiceError(f"the service answers {reply.status_code}: {reply.text[:200]}", reply.status_code)
    parts = [
        result.detail,
        f"found {result.found}" if result.found else "",
        f"expected {result.expected}" if result.expected else "",
    ]
    return ServiceError("; ".join(p for p in parts if p), result.status, result.found, result.expected)
