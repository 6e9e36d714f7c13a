"""Run a study once: its outcome is kept in the store, so that a second call, or another
machine, only reads it."""

import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from zooaudit.auditing import zoo_plan
from zooaudit.config import digest_of, stated
from zooaudit.errors import DamagedArtifactError
from zooaudit.methods import versions_of
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.encoding import table_to_bytes
from zooaudit.studies.bench import Bench
from zooaudit.studies.contest import Load
from zooaudit.studies.outcome import Finding, Outcome, findings_from
from zooaudit.studies.owners import Owner
from zooaudit.studies.registry import ModelsStudy, Study

KIND, OWNERS, ROWS = "study", "study-owner", "rows.parquet"
METHOD = versions_of("studies", "baselines", "uap", "points", "encoder", "verdict")
"""Another way to compute, another outcome: with a new version of one of these every study
runs anew, on what the store holds."""


@dataclass(frozen=True, eq=False)
class Result:
    """A finished study.

    Attributes:
        facts: what it is about, what it cost and where it ran.
        files: content by file name: NAME.parquet, NAME.json, and the pictures.
        fresh: it was run now, not read from the store.
    """

    study: Study | ModelsStudy
    facts: Mapping[str, Any]
    findings: list[Finding]
    files: Mapping[str, bytes]
    fresh: bool

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The table's."""
        found: list[dict[str, Any]] = pq.read_table(
            io.BytesIO(self.files[f"{self.study.name}.parquet"])
        ).to_pylist()
        return found

    def write(self, folder: Path) -> list[Path]:
        """Write all files into ``folder``; returns their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        return [folder / name for name in self.files]


def run_study(study: Study, bench: Bench, provenance: Mapping[str, Any]) -> Result:
    """Run a study, unless the store holds its outcome for this recipe and data.

    Args:
        provenance: command, hardware, versions and the like, kept beside the numbers.

    Raises:
        NotEnoughModelsError: models are missing and the bench may not build them.
    """
    recipe, dataset = bench.recipe, bench.dataset
    plan = zoo_plan.plan(recipe, dataset, bench.artifacts, None)
    specs = [s.id for s in plan.specs]
    digest = digest_of([METHOD, study.name, study.version, stated(recipe), dataset.digest, specs])
    id_ = f"{study.name}.{digest}"
    fresh = not bench.artifacts.has(KIND, id_)
    if fresh:
        started, queries, trained = time.perf_counter(), bench.queries, bench.trained
        bench.begin()
        outcome = study.run(bench)
        facts = {
            "study": study.name,
            "title": study.title,
            "source": study.source,
            "recipe": recipe.name,
            "seed": recipe.seed,
            "dataset": dataset.name,
            "data": dataset.digest,
            "seconds": round(time.perf_counter() - started, 1),
            "queries": bench.queries - queries,
            "trained": bench.trained - trained,
            "encoders": {
                n: list(e.architectures or recipe.zoo.encoder_architectures)
                for n, e in bench.encoders.items()
            },
            **provenance,
        }
        bench.artifacts.save(
            KIND, id_, files_of(study.name, outcome, facts), {"study": study.name, "recipe": recipe.name}
        )
    artifact = bench.artifacts.load(KIND, id_)
    if strange := [n for n in artifact.files if not n.endswith((".json", ".parquet", ".svg", ".png"))]:
        raise DamagedArtifactError(f"{KIND} {id_} holds {strange[0]}; expected tables, pictures and findings")
    return result_of(study, {name: artifact.read(name) for name in artifact.files}, fresh)


def run_on_models(
    study: ModelsStudy,
    owners: Sequence[Owner],
    left_out: Mapping[str, str],
    artifacts: Artifacts,
    provenance: Mapping[str, Any],
    load: Load | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Result:
    """Run a study on models that somebody else trained; each owner's rows are kept in the
    store, and only read the second time.

    Args:
        left_out: owners that cannot be studied, and why.
        load: gives a model's module, for studies that ask models anew.
        progress: called with each owner's name, before its turn.
    """
    started, rows, fresh = time.perf_counter(), [], False
    for owner in owners:
        progress(owner.name)
        digest = owner.collection.digest(owner.ids, owner.name if study.trained else "")
        id_ = f"{study.name}.{digest_of([METHOD, study.name, study.version, owner.name, digest])}"
        if not artifacts.has(OWNERS, id_):
            fresh = True
            table = pa.Table.from_pylist(study.rows(owner, load))
            artifacts.save(
                OWNERS, id_, {ROWS: table_to_bytes(table)}, {"study": study.name, "owner": owner.name}
            )
        rows += pq.read_table(io.BytesIO(artifacts.load(OWNERS, id_).read(ROWS))).to_pylist()
    outcome = study.outcome(rows)
    facts = {
        "study": study.name,
        "title": study.title,
        "source": study.source,
        "owners": [o.name for o in owners],
        "models": len({i for o in owners for i in o.ids}),
        "seconds": round(time.perf_counter() - started, 1),
        "queries": 0,
        "trained": 0,
        **provenance,
    }
    outcome = replace(outcome, excluded=dict(left_out))
    return result_of(study, files_of(study.name, outcome, facts), fresh)


def result_of(study: Study | ModelsStudy, files: Mapping[str, bytes], fresh: bool) -> Result:
    """Of a finished study's files."""
    read = json.loads(files[f"{study.name}.json"])
    return Result(study, read, findings_from(json.dumps(read["findings"])), files, fresh)


def files_of(name: str, outcome: Outcome, facts: Mapping[str, Any]) -> dict[str, bytes]:
    """What is kept and written of an outcome: content by file name."""
    data = {
        **facts,
        "findings": outcome.findings_json(),
        "pictures": sorted(outcome.pictures),
        "excluded": len(outcome.excluded),
        "excluded_models": dict(sorted(outcome.excluded.items())),
    }
    body = json.dumps(data, indent=2, allow_nan=False).encode() + b"\n"
    more = {
        f"{name}-{table}.parquet": table_to_bytes(pa.Table.from_pylist(list(rows)))
        for table, rows in outcome.tables.items()
    }
    return {
        f"{name}.json": body,
        f"{name}.parquet": table_to_bytes(outcome.table),
        **more,
        **outcome.pictures,
    }
