"""What a pack alone can show: that it is consistent, and that its verdict follows from its answers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from zooaudit.choices import SEEN
from zooaudit.evidence.packs import Opened
from zooaudit.evidence.records import METHOD, SETTLED, commitment, digest
from zooaudit.suspects.access import Access
from zooaudit.verdict import wording
from zooaudit.verdict.decision import TwinVerdict
from zooaudit.verdict.several import corrected


@dataclass(frozen=True)
class Finding:
    """One check of a pack: whether it passed (None if it was not made), and why."""

    check: str
    passed: bool | None
    text: str


def recomputed(opened: Opened, committed: str = "") -> list[Finding]:
    """The checks that need only the pack: that it is consistent, and that its verdict follows from its
    answers."""
    meta = opened.evidence.meta
    found = [
        Finding("contents", True, "every file has the SHA-256 that its manifest states"),
        Finding("answers", None, "they are as the exporter states: have the suspect asked again if in doubt"),
        _settled(opened),
        Finding("commitment", None, f"give --commitment to compare it with {meta['commitment']}"),
        Finding(
            "method",
            True if meta["method"] == METHOD else None,
            f"verdict by method {meta['method']}, checked by {METHOD}",
        ),
    ]
    if committed:
        text = f"committed {committed}, asked by {meta['commitment']}"
        found[3] = Finding("commitment", committed == meta["commitment"], text)
    return [*found, _verdict_again(opened)]


def _settled(opened: Opened) -> Finding:
    """Whether the stated commitment covers this kit, level, reading, horizon and kind of p-value."""
    meta = opened.evidence.meta
    settings = (meta["level"], meta["access"], meta["horizon"], meta["p_value"])
    here = commitment(opened.kit_artifact, *settings) | {"method": meta["method"], "version": meta["version"]}
    differ = [k for k in SETTLED if here[k] != meta[k]]
    same = not differ and digest(here) == meta["commitment"]
    text = (
        f"kit {meta['kit']}, level {meta['level']:g}, answers read as {meta['access']}, {meta['horizon']}"
        f" questions at most, p by {meta['p_value']}"
    )
    return Finding(
        "settings",
        same,
        text if same else f"{text}: the commitment {meta['commitment']} is to other settings",
    )


def _verdict_again(opened: Opened) -> Finding:
    meta, together = opened.evidence.meta, opened.together
    access = None if meta["access"] == SEEN else Access.named(meta["access"])
    again = opened.kit.twin_test.judge(
        opened.answers, meta["level"], access, meta["p_value"], meta["horizon"]
    )
    judged = as_one_of(opened, again.verdict)
    stated, found = meta["verdict"], wording.plain(judged)
    same = (
        meta["read_as"] == again.access.name  # the checker's models are read in the same way
        and _alike(together.p_values[together.index], again.verdict.p_value)
        and all(stated[k] == found[k] for k in ("decision", "rank", "settled"))
        and _alike(stated["p_value"], found["p_value"])
        and _all_alike(stated["statistics"], found["statistics"])
    )
    text = f"{wording.headline(judged)}: {judged.reason}; {wording.frequency(judged)}"
    if len(together.p_values) > 1:
        others = len(together.p_values) - 1
        text += f" (with {others} other suspects, whose p-values are as the exporter states)"
    return Finding(
        "verdict",
        same,
        (
            text
            if same
            else f"the answers give {text}; the pack states {stated['decision']}: {stated['reason']}"
        ),
    )


def as_one_of(opened: Opened, verdict: TwinVerdict) -> TwinVerdict:
    """The verdict on the pack's suspect as one of those that were judged together, with the others' p-values
    as the pack states them."""
    together = opened.together
    whole = [
        verdict if i == together.index else replace(verdict, p_value=p)
        for i, p in enumerate(together.p_values)
    ]
    return corrected(whole, together.correction)[together.index]


def _all_alike(one: Sequence[float], other: Sequence[float]) -> bool:
    return len(one) == len(other) and all(map(_alike, one, other))


def _alike(one: float | None, other: float | None) -> bool:
    """Whether numbers agree up to the last bits, which another processor may round differently."""
    return (
        one is other if one is None or other is None else bool(np.isclose(one, other, rtol=1e-6, atol=1e-6))
    )
