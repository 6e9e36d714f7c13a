"""The audit's two tables, as Parquet writes them."""

import pyarrow as pa

from zooaudit.auditing.results import Audit
from zooaudit.reporting.findings import way
from zooaudit.zoo.build import ModelRecord
from zooaudit.zoo.spec import Group, ModelSpec, Role

MODELS_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("role", pa.string()),
        ("group", pa.string()),
        ("architecture", pa.string()),
        ("optimiser", pa.string()),
        ("batch_size", pa.int32()),
        ("attack", pa.string()),
        ("labels", pa.string()),
        ("images", pa.string()),
        ("modification", pa.string()),
        ("parent", pa.string()),
        ("status", pa.string()),
        ("accuracy", pa.float64()),
        ("recovery_rate", pa.float64()),
        ("agreement", pa.float64()),
        ("agreement_on_errors", pa.float64()),
        ("queries", pa.int64()),
        ("seconds", pa.float64()),
        ("attempts", pa.int32()),
        ("reason", pa.string()),
    ]
)
SCORES_SCHEMA = pa.schema(
    [("model", pa.string()), ("role", pa.string()), ("view", pa.int32()), ("similarity", pa.float32())]
)

ModelRow = dict[str, str | int | float | None]


def model_rows(audit: Audit) -> list[ModelRow]:
    """One row a model, in plan order, failed ones included; the user's own victim comes
    first and has no architecture."""
    zoo = audit.zoo
    rows = [_row(s, zoo.records[s.id]) for s in zoo.plan.specs]
    if all(s.id != zoo.plan.victim for s in zoo.plan.specs):
        rows.insert(0, _own_row(zoo.plan.victim, zoo.records[zoo.plan.victim]))
    return rows


def _row(spec: ModelSpec, record: ModelRecord) -> ModelRow:
    planned: ModelRow = {
        "id": spec.id,
        "role": str(spec.role),
        "group": str(spec.group),
        "architecture": spec.architecture,
        "optimiser": spec.optimiser,
        "batch_size": spec.batch_size,
        "attack": spec.extraction.attack if spec.extraction else None,
        "labels": spec.extraction.labels if spec.extraction else None,
        "images": spec.extraction.images if spec.extraction else None,
        "modification": way(spec) if spec.modification else None,
        "parent": spec.parent,
    }
    return planned | _outcome(record)


def _own_row(id_: str, record: ModelRecord) -> ModelRow:
    unknown: ModelRow = dict.fromkeys(MODELS_SCHEMA.names)
    return unknown | {"id": id_, "role": str(Role.VICTIM), "group": str(Group.SOURCE)} | _outcome(record)


def _outcome(record: ModelRecord) -> ModelRow:
    return {
        "status": str(record.status),
        "accuracy": record.accuracy,
        "recovery_rate": record.recovery_rate,
        "agreement": record.agreement,
        "agreement_on_errors": record.agreement_on_errors,
        "queries": record.queries,
        "seconds": record.seconds,
        "attempts": record.attempts,
        "reason": record.reason,
    }


def models_table(audit: Audit) -> pa.Table:
    """``models.parquet``: one row a model; ``queries`` are those of the extraction attack
    to the model's parent."""
    return pa.Table.from_pylist(model_rows(audit), schema=MODELS_SCHEMA)


def scores_table(audit: Audit) -> pa.Table:
    """``scores.parquet``: one row a suspect and view."""
    rows = [
        {"model": s.spec.id, "role": str(s.spec.role), "view": view, "similarity": float(value)}
        for s in audit.suspects
        for view, value in enumerate(s.similarities)
    ]
    return pa.Table.from_pylist(rows, schema=SCORES_SCHEMA)
