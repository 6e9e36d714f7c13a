"""A verdict in words and as JSON: the one place that renders it. Command line, HTTP, report, evidence and console show what this gives."""

import math
from dataclasses import asdict
from typing import Any

from zooaudit.verdict.decision import Call, TwinVerdict
from zooaudit.verdict.exchangeable import Check
from zooaudit.verdict.hub import Hub


def plain(verdict: TwinVerdict) -> dict[str, Any]:
    """A verdict as strict JSON holds it: no NaN, tuples as lists."""
    told = asdict(verdict)
    return _finite(told | {"call": str(verdict.call), "statistics": list(verdict.statistics), "cautions": list(verdict.cautions)})


def lines(verdict: TwinVerdict) -> list[str]:
    """A verdict for people: the call and its reason, then what it rests on."""
    found = [f"{verdict.call}: {verdict.reason}"]
    if verdict.rank is not None:
        found.append(f"  {standing(verdict)}")
    asked = f"asked {verdict.queries} of at most {verdict.budget} questions; answers are read as {verdict.access}"
    found.append(f"  {asked}")
    found += [f"  caution: {caution}" for caution in verdict.cautions]
    return found


def standing(verdict: TwinVerdict) -> str:
    """How far the victim is from its twins, and what a normal distribution would make of it."""
    victim, twins = verdict.statistics[0], verdict.statistics[1:]
    told = f"statistic: victim {victim:.2f}, twins {min(twins):.2f} to {max(twins):.2f} (standard deviations of all {len(twins) + 1})"
    if verdict.normal:
        told += f"; if the twins' were normal (p {verdict.normal.normality:.2g}), p {verdict.normal.p_value:.2g}"
    return told


def promise(verdict: TwinVerdict) -> str:
    """What the level means, in a sentence."""
    return (
        f"At level {verdict.level:g}, at most {verdict.level:.0%} of suspects that were made without the victim are called {Call.STOLEN}, "
        "whoever made them, if the victim is a draw of the procedure that trained its twins."
    )


def checked(checks: tuple[Check, ...], hub: Hub) -> list[dict[str, Any]]:
    """What was found out of a kit without any suspect, for tables: name, state and a line each."""
    rows = [
        {"check": c.name, "state": "refused" if c.refused else "caution" if c.cautioned else "ok", "p_value": c.p_value, "told": c.line}
        for c in checks
    ]
    told = f"the victim comes first for {hub.first} of {len(hub.statistics)} references, p {hub.p_first:.2g}; its mean, p {hub.p_mean:.2g}"
    state = "caution" if hub.is_one else "ok" if len(hub.statistics) else "no references"
    return _finite([*rows, {"check": "resembles many models", "state": state, "p_value": min(hub.p_first, hub.p_mean), "told": told}])


def _finite(value: Any) -> Any:
    """NaN and infinities as None, in nested lists and dicts."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
