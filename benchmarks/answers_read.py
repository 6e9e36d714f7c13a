"""Reading a zoo's answers for scoring: from an S3 server (SeaweedFS) on this machine,
against plain Parquet files in a folder.

    python benchmarks/answers_read.py [--models 240] [--repeats 7]

The server is started for this and stores the answers of so many models, 20 views x 100
points x 2 x 10 classes each, as an audit does. Each repeat reads all of them in four ways,
one after the other, into one tensor a model:

    plain       pyarrow.parquet.read_table on one local file after another; nothing is checked
    plain, many the same, eight files at a time
    S3          zooaudit's own step: manifests, content checked against SHA-256, eight at a time, no cache
    S3, cached  the same with the local cache, which an earlier reading has filled

The server shares the cores with its reader, and its files are in the page cache, as the plain ones are. A
ratio is of one repeat's times: plain seconds over S3 seconds, so 0.5 is half the speed.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from measure import save, spread
from torch import Tensor

from zooaudit.auditing import answering
from zooaudit.data.images import Dataset
from zooaudit.data.resolve import load_digits
from zooaudit.storage import cache
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.encoding import table_to_bytes
from zooaudit.storage.opening import open_store
from zooaudit.storage.parallel import MOST_IN_PARALLEL, in_parallel

sys.path.insert(0, str(Path(__file__).parent.parent))
from cluster.seaweed import Seaweed, make_bucket

VIEWS, POINTS, CLASSES = 20, 100, 10
URL = "s3://zoo/answers"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=int, default=240)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zooaudit-benchmark-") as scratch:
        folder = Path(scratch)
        server = Seaweed(folder / "weed").start()
        try:
            make_bucket(server, "zoo")
            os.environ |= server.environment | {cache.FOLDER: str(folder / "cache")}
            body = measure(args.models, args.repeats, folder / "plain")
        finally:
            server.kill()
    save("answers_read", body)


def measure(models: int, repeats: int, folder: Path) -> dict[str, Any]:
    dataset = load_digits()
    asked = torch.rand(VIEWS, POINTS, 2, *dataset.image_shape, generator=torch.Generator().manual_seed(0))
    ids, given = fill(models, asked, folder)
    paths = [folder / f"{i}.parquet" for i in ids]
    bare, kept = open_store(URL, cache=False), open_store(URL)
    ways: dict[str, Callable[[], list[Tensor]]] = {
        "plain": lambda: [plain(p) for p in paths],
        "plain, many": lambda: in_parallel(plain, paths),
        "S3": partial(read, ids, asked, dataset, bare),
        "S3, cached": partial(read, ids, asked, dataset, kept),
    }
    for way in ways.values():  # fills the cache, opens connections, and all ways must read the same
        assert all(torch.equal(a.flatten(), b.flatten()) for a, b in zip(way(), given, strict=True))
    rows = [{name: timed(way) for name, way in ways.items()} for _ in range(repeats)]
    for row in rows:
        print({k: round(v, 3) for k, v in row.items()}, file=sys.stderr)
    return {
        "models": models,
        "bytes": sum(p.stat().st_size for p in paths),
        "at_once": MOST_IN_PARALLEL,
        "seconds": {name: spread([r[name] for r in rows]) for name in ways},
        "speed_against_plain": {
            name: spread([r["plain"] / r[name] for r in rows]) for name in ways if name != "plain"
        },
        "rows": rows,
    }


def fill(models: int, asked: Tensor, folder: Path) -> tuple[list[str], list[Tensor]]:
    """Random answers of each model, in the store and as plain files of the same bytes."""
    folder.mkdir()
    artifacts, schema = open_store(URL), answering.answers_schema(CLASSES)
    names = [f"homologous-B-sgd-{i:016x}" for i in range(models)]
    given = []
    for i, (name, id_) in enumerate(answering.answers_ids(names, asked).items()):
        logits = 4 * torch.randn(*asked.shape[:3], CLASSES, generator=torch.Generator().manual_seed(i))
        given.append(logits.softmax(-1))
        content = table_to_bytes(answering.answers_table(given[-1], schema))
        artifacts.save(
            "answers", id_, {answering.ANSWERS: content}, {"model": name, "queries": VIEWS * POINTS * 2}
        )
        (folder / f"{name}.parquet").write_bytes(content)
    return names, given


def plain(path: Path) -> Tensor:
    column = pq.read_table(path).column("probabilities")
    return torch.from_numpy(np.asarray(column.combine_chunks().flatten()).copy())


def read(ids: list[str], asked: Tensor, dataset: Dataset, artifacts: Artifacts) -> list[Tensor]:
    return list(answering.answers(ids, asked, dataset, artifacts).values())


def timed(way: Callable[[], list[Tensor]]) -> float:
    started = time.perf_counter()
    way()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
