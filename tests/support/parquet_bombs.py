"""Files that are small and grow."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def bomb(values: int, times: int = 1) -> bytes:
    """So many rows of so many values, in few bytes."""
    one = pa.table(
        {
            "p": pa.ListArray.from_arrays(
                pa.array([0, values], pa.int32()), pa.array(np.zeros(values, np.float32))
            )
        }
    )
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, one.schema, compression="zstd") as writer:
        for _ in range(times):
            writer.write_table(one)
    return sink.getvalue()
