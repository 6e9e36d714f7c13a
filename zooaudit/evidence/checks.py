"""What a pack alone can show: that it is one piece, and that its verdict follows from its answers."""

from dataclasses import dataclass, replace

import numpy as np

from zooaudit.evidence.keeping import CODE, SEEN, SETTLED, commitment, digest, plain
from zooaudit.evidence.packs import Opened
from zooaudit.fingerprint.access import Access
from zooaudit.verdict.many import corrected


@dataclass(frozen=True)
class Finding:
    """One check of a pack: passed, failed, or None if it was not made, and why."""

    check: str
    passed: bool | None
    told: str


def recomputed(opened: Opened, committed: str = "") -> list[Finding]:
    """What a pack alone can show: that it is one piece, and that its verdict follows from its answers."""
    meta = opened.evidence.meta
    found = [
        Finding("contents", True, "every file has the SHA-256 that its manifest states"),
        Finding("answers", None, "they are the exporter's word: have the suspect asked again if that is in doubt"),
        _settled(opened),
        Finding("commitment", None, f"give --commitment to compare it with {meta['commitment']}"),
        Finding("code", True if meta["code"] == CODE else None, f"verdict by code {meta['code']}, checked by {CODE}"),
    ]
    if committed:
        told = f"committed {committed}, asked by {meta['commitment']}"
        found[3] = Finding("commitment", committed == meta["commitment"], told)
    return [*found, _verdict_again(opened)]


def _settled(opened: Opened) -> Finding:
    """Whether the stated commitment is one to this kit, level and reading."""
    meta = opened.evidence.meta
    here = commitment(opened.kit_artifact, meta["level"], meta["access"]) | {"code": meta["code"], "version": meta["version"]}
    differ = [k for k in SETTLED if here[k] != meta[k]]
    same = not differ and digest(here) == meta["commitment"]
    told = f"kit {meta['kit']}, level {meta['level']:g}, answers read as {meta['access']}"
    return Finding("settings", same, told if same else f"{told}: the commitment {meta['commitment']} is to other settings")


def _verdict_again(opened: Opened) -> Finding:
    meta, probe = opened.evidence.meta, opened.kit.probe
    access = None if meta["access"] == SEEN else Access.named(meta["access"])
    again = probe.judge(opened.answers, meta["level"], access)
    together = opened.together
    whole = [replace(again.verdict, p_value=p) for p in together.p_values]
    judged = corrected(whole, together.correction)[together.index]
    stated, found = meta["verdict"], plain(judged, again.score)
    same = (
        meta["read_as"] == again.access.name  # which the checker's models are read as, too
        and _alike(together.p_values[together.index], again.verdict.p_value)
        and stated["call"] == found["call"]
        and _alike(stated["p_value"], found["p_value"])
        and _alike(stated["score"], found["score"])
    )
    told = f"{found['call']}: {found['reason']}"
    if len(whole) > 1:
        told += f" (with {len(whole) - 1} other suspects, whose p-values are the exporter's word)"
    return Finding("verdict", same, told if same else f"the answers give {told}; the pack states {stated['call']}: {stated['reason']}")


def _alike(one: float | None, other: float | None) -> bool:
    """Up to the last bits, which another processor may round otherwise."""
    return one is other if one is None or other is None else bool(np.isclose(one, other, rtol=1e-6, atol=1e-9))
