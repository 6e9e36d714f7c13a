"""What a study gives: rows, pictures, and findings that say whether a claim of the paper holds here."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import pyarrow as pa


class Holds(StrEnum):
    """What became of a claim."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    UNDECIDED = "not decidable at this scale"
    UNCLAIMED = "not a claim of the paper"
    """What the paper does not test and an audit must know: a number without a verdict."""

    @staticmethod
    def of(ok: bool, *numbers: float) -> "Holds":
        """By a rule's result; undecided if any of the ``numbers`` that it rests on is none
        (a mean of no models, say)."""
        if not all(math.isfinite(n) for n in numbers):
            return Holds.UNDECIDED
        return Holds.REPRODUCED if ok else Holds.NOT_REPRODUCED


@dataclass(frozen=True)
class Finding:
    """One row of docs/reproduction.md."""

    claim: str
    """What the paper says, in a sentence."""
    source: str
    """Where: ``figure 6a``, ``section 5.2``."""
    paper: str
    """Its figure."""
    ours: str
    """Our figure, with spread."""
    n: str
    """Of how many models, seeds, ..."""
    holds: Holds
    note: str = ""
    """The rule, where the claim leaves it open; why not; what was done otherwise."""


def unclaimed(claim: str, ours: str, n: str, note: str) -> Finding:
    """A finding of what the paper does not test: a number without a verdict."""
    return Finding(claim, "not in the paper", "-", ours, n, Holds.UNCLAIMED, note)


@dataclass(frozen=True, eq=False)
class Outcome:
    """All that a study found.

    Attributes:
        rows: the numbers behind the pictures, one dictionary a row, all with the same keys.
        pictures: file content by file name.
        excluded: models that did not learn or diverged, with the reason; they are in no number.
        tables: more rows by name, each written beside the others as ``STUDY-NAME.parquet``.
    """

    rows: Sequence[Mapping[str, Any]]
    findings: Sequence[Finding]
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    excluded: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)

    @property
    def table(self) -> pa.Table:
        return pa.Table.from_pylist([dict(r) for r in self.rows])

    def findings_json(self) -> list[dict[str, Any]]:
        return [asdict(f) for f in self.findings]


def findings_from(raw: str | bytes) -> list[Finding]:
    """Findings as ``findings_json`` wrote them."""
    return [Finding(**(f | {"holds": Holds(f["holds"])})) for f in json.loads(raw)]


def spread(values: Sequence[float], form: str = "{:.3f}") -> str:
    """``median [least, most]``, or the one value that all have."""
    ordered = sorted(values)
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    low, mid, high = (form.format(v) for v in (ordered[0], middle, ordered[-1]))
    return mid if low == high else f"{mid} [{low}, {high}]"
