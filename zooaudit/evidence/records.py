"""A kit's commitment before a suspect is asked, and the answers and verdict that are stored as evidence."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor

from zooaudit import __version__
from zooaudit.choices import SEEN, Correction
from zooaudit.config import canonical_json
from zooaudit.errors import ConfigError
from zooaudit.methods import versions_of
from zooaudit.storage.artifact import Artifact
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.encoding import table_to_bytes
from zooaudit.suspects.access import Access
from zooaudit.verdict import wording
from zooaudit.verdict.decision import By, TwinVerdict, check_level
from zooaudit.verdict.examined import Examined

KIND = "evidence"
ANSWERS = "answers.parquet"
METHOD = versions_of("encoder", "verdict")
"""What a verdict depends on besides kit and answers."""
SETTLED = ("kit", "kit_sha256", "level", "access", "horizon", "p_value", "method", "version")
"""The fields that a commitment covers."""


def commitment(
    kit: Artifact, level: float | None = None, access: str = SEEN, horizon: int | None = None, by: By = "rank"
) -> dict[str, Any]:
    """What an owner has somebody timestamp before a suspect is asked: kit, level, access, number of
    questions, kind of p-value, method, and one digest of all.

    Raises:
        ConfigError: the kit has no such level, access or horizon.
    """
    test = kit.meta["twin_test"]
    horizon = test["looks"][-1] if horizon is None else horizon
    if horizon not in test["looks"]:
        raise ConfigError(
            f"{horizon} questions; expected one of the kit's looks, {', '.join(map(str, test['looks']))}"
        )
    level = test["level"] if level is None else level
    check_level(level)
    settled = {
        "kit": kit.id,
        "kit_sha256": kit.digest,
        "level": level,
        "access": access,
        "horizon": horizon,
        "p_value": by,
        "method": METHOD,
        "version": __version__,
    }
    if access != SEEN:
        Access.named(access)
    return settled | {"commitment": digest(settled)}


def digest(settled: Mapping[str, Any]) -> str:
    """The digest of all fields that a commitment covers, ``SETTLED``."""
    return hashlib.sha256(canonical_json({k: settled[k] for k in SETTLED}).encode()).hexdigest()


@dataclass(frozen=True)
class Together:
    """Suspects that were judged together: the correction of their p-values, each p-value by itself, and the
    index of this suspect."""

    correction: Correction
    p_values: tuple[float | None, ...]
    index: int


def keep(
    artifacts: Artifacts,
    kit: Artifact,
    suspect: str,
    found: Examined,
    access: str = SEEN,
    together: Together | None = None,
    final: TwinVerdict | None = None,
    sha256: str = "",
    contract: Mapping[str, Any] | None = None,
    answered: Mapping[str, str | None] | None = None,
) -> str:
    """Store a suspect's raw answers and the verdict on them; returns the evidence's id.

    Args:
        access: as committed to.
        together: the suspects that it was judged with; by default none.
        final: the verdict as one of them.
        sha256: of the suspect's files, if there are any.
        contract: how it was asked: the contract as stated (``said``) and as inferred (``seen``); empty
            without either.
        answered: when the ``first`` and the ``last`` answer of an API came, UTC, None if unknown.
    """
    alone = Together("none", (found.verdict.p_value,), 0)
    meta = commitment(kit, found.verdict.level, access, found.verdict.budget, found.verdict.by) | {
        "suspect": suspect,
        "suspect_sha256": sha256,
        "read_as": found.access.name,
        "queries": found.queries,
        "columns": found.answers.shape[1],
        "together": asdict(together or alone),
        "verdict": wording.plain(final or found.verdict),
    }
    meta |= {"contract": dict(contract)} if contract else {}
    meta |= {"answered": dict(answered)} if answered else {}
    return artifacts.save_by_digest(
        KIND, {ANSWERS: table_to_bytes(_table(found.answers))}, json.loads(json.dumps(meta))
    ).id


def _table(answers: Tensor) -> pa.Table:
    flat = pa.FixedSizeListArray.from_arrays(pa.array(answers.float().flatten().numpy()), answers.shape[1])
    return pa.Table.from_arrays(
        [pa.array(np.arange(len(answers)), pa.int32()), flat], schema=schema(answers.shape[1])
    )


def schema(columns: int) -> pa.Schema:
    """One row for each query, in the order of the twin test's images; one column for each of the suspect's
    classes."""
    return pa.schema([("query", pa.int32()), ("probabilities", pa.list_(pa.float32(), columns))])
