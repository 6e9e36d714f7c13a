"""Answers in every format in which they may come back."""

import csv
import io
import json
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

Writer = Callable[[Tensor], bytes]


def _table(rows: Tensor) -> pa.Table:
    query = list(reversed(range(len(rows))))
    return pa.table(
        {"query": query, "probabilities": pa.array(rows.flip(0).tolist(), pa.list_(pa.float32()))}
    )


def _csv(rows: Tensor) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["query", "probabilities"])
    writer.writerows([i, json.dumps(row)] for i, row in enumerate(rows.tolist()))
    return text.getvalue().encode()


def _parquet(rows: Tensor) -> bytes:
    sink = io.BytesIO()
    pq.write_table(_table(rows), sink)
    return sink.getvalue()


def _arrow(rows: Tensor) -> bytes:
    sink = io.BytesIO()
    table = _table(rows)
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _npy(rows: Tensor) -> bytes:
    sink = io.BytesIO()
    np.save(sink, rows.numpy())
    return sink.getvalue()


WRITERS: dict[str, tuple[str, Writer]] = {
    "CSV": (".csv", _csv),
    "JSON by query": (
        ".json",
        lambda r: json.dumps(
            [{"query": i, "probabilities": row} for i, row in enumerate(r.tolist())]
        ).encode(),
    ),
    "JSON in order": (".json", lambda r: json.dumps({"answers": r.tolist()}).encode()),
    "Parquet": (".parquet", _parquet),
    "Arrow": (".arrow", _arrow),
    "NumPy": (".npy", _npy),
    "float32": (".f32", lambda r: r.numpy().astype("<f4").tobytes()),
}
"""Ending, and how it is written."""
