"""Images in Parquet files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.makers import IMAGE_TYPE, pixels, png

IMAGES = pixels(12, seed=3)
PNGS = [png(image) for image in IMAGES]
LABELS = [i % 3 for i in range(12)]
ROWS = [{"bytes": raw, "path": None} for raw in PNGS]


def written(
    folder: Path, columns: dict[str, Any], names: dict[str, list[str]] | None = None, **options: Any
) -> Path:
    """The same table as train and test; ``names`` of classes by column, in the ``huggingface`` metadata."""
    folder.mkdir(parents=True, exist_ok=True)
    features = {k: {"names": v, "_type": "ClassLabel"} for k, v in (names or {}).items()}
    table = pa.table(columns).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    for part in ("train", "test"):
        pq.write_table(table, folder / f"{part}.parquet", **options)
    return folder


def saved(folder: Path, part: str, shards: int = 2) -> Path:
    """What ``datasets``' ``save_to_disk`` writes of one split."""
    place = folder / part
    place.mkdir(parents=True, exist_ok=True)
    schema = pa.schema(
        [("image", IMAGE_TYPE), ("label", pa.int64())],
        metadata={
            "huggingface": json.dumps(
                {"info": {"features": {"label": {"names": ["ant", "bee", "cat"], "_type": "ClassLabel"}}}}
            )
        },
    )
    names = [f"data-{i:05}-of-{shards:05}.arrow" for i in range(shards)]
    for name, rows in zip(names, np.array_split(np.arange(12), shards), strict=True):
        table = pa.table(
            {"image": [ROWS[i] for i in rows], "label": [LABELS[i] for i in rows]}, schema=schema
        )
        with pa.OSFile(str(place / name), "wb") as sink, pa.ipc.new_stream(sink, schema) as stream:
            stream.write_table(table, max_chunksize=3)
    state = {
        "_data_files": [{"filename": n} for n in names],
        "_fingerprint": "x",
        "_format_type": None,
        "_split": part,
    }
    (place / "state.json").write_text(json.dumps(state))
    (place / "dataset_info.json").write_text("{}")
    return folder
