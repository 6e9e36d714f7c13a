"""A verdict in words and as JSON, rendered only here: command line, HTTP, report, evidence and console show
these."""

import math
from dataclasses import asdict
from fractions import Fraction
from typing import Any

from zooaudit.verdict.decision import Decision, TwinVerdict
from zooaudit.verdict.exchangeable import Check
from zooaudit.verdict.hub import Hub

WEAK_ABOVE = 0.05
"""At levels above this so many innocents are called stolen that such a decision is marked as weak."""
WEAK = " (weak evidence)"
SMALL = 1000
"""Levels that are fractions with no larger denominator are stated exactly."""


def plain(verdict: TwinVerdict) -> dict[str, Any]:
    """A verdict as strict JSON: no NaN, tuples as lists."""
    return _finite(
        asdict(verdict)
        | {
            "decision": str(verdict.decision),
            "statistics": list(verdict.statistics),
            "cautions": list(verdict.cautions),
        }
    )


def facts(verdict: TwinVerdict) -> dict[str, Any]:
    """A verdict as callers receive it: strict JSON, with its description in words."""
    return plain(verdict) | {
        "headline": headline(verdict),
        "frequency": frequency(verdict),
        "weak": weak(verdict),
        "standing": standing(verdict) if verdict.rank is not None else "",
        "promise": promise(verdict),
    }


def weak(verdict: TwinVerdict) -> bool:
    """Whether somebody is called stolen at a level above ``WEAK_ABOVE``."""
    return verdict.decision is Decision.STOLEN and verdict.level > WEAK_ABOVE


def headline(verdict: TwinVerdict) -> str:
    """The decision, marked if it is weak: it is never shown without the mark."""
    return f"{verdict.decision}{WEAK if weak(verdict) else ''}"


def frequency(verdict: TwinVerdict) -> str:
    """What the level means, in cases that can be counted."""
    return in_cases(verdict.level, "this" if verdict.decision is Decision.STOLEN else str(Decision.STOLEN))


def in_cases(level: float, this: str = str(Decision.STOLEN)) -> str:
    """What a level means, without reference to a verdict."""
    return f"a model made without yours is called {this} in at most {cases(level)} cases"


def cases(level: float) -> str:
    """A level as ``1 of 20``, never smaller than it is."""
    exact = Fraction(f"{level:g}")
    if float(exact) == level and exact.denominator <= SMALL:
        return f"{exact.numerator:,} of {exact.denominator:,}"
    return f"1 of {math.floor(1 / level):,}"


def lines(verdict: TwinVerdict) -> list[str]:
    """A verdict for people: the decision and its reason, what its level means, and its basis."""
    found = [f"{headline(verdict)}: {verdict.reason}", f"  level {verdict.level:g}: {frequency(verdict)}"]
    if verdict.rank is not None:
        found.append(f"  {standing(verdict)}")
    asked = (
        f"asked {verdict.queries} of at most {verdict.budget} questions; answers are read as {verdict.access}"
    )
    found.append(f"  {asked}")
    found += [f"  caution: {caution}" for caution in verdict.cautions]
    return found


def standing(verdict: TwinVerdict) -> str:
    """How far the victim is from its twins, and what a normal distribution would give."""
    victim, twins = verdict.statistics[0], verdict.statistics[1:]
    said = (
        f"after {verdict.statistics_after} questions the statistic of the victim is {victim:.2f}, of its"
        f" twins {min(twins):.2f} to {max(twins):.2f}, in standard deviations of all {len(twins) + 1}"
    )
    if verdict.rank is not None and (sooner := verdict.rank - 1 - sum(twin >= victim for twin in twins)):
        said += f"; {sooner} of the twins stood out sooner"
    if verdict.normal:
        normal = verdict.normal
        said += f"; after all {verdict.queries}," if verdict.queries != verdict.statistics_after else ";"
        said += (
            f" by a normal distribution of the twins' p {normal.p_value:.2g} (a test of normality: p"
            f" {normal.normality:.2g})"
        )
    return said


def promise(verdict: TwinVerdict) -> str:
    """What the level means, in a sentence."""
    also = " and the twins' statistics are normal" if verdict.by == "normal" else ""
    return (
        f"At level {verdict.level:g}, a model made without the victim is called {Decision.STOLEN} in at most"
        f" {cases(verdict.level)} cases, whoever made it, if the victim is a draw of the procedure that"
        f" trained its twins{also}."
    )


def checked(checks: tuple[Check, ...], hub: Hub) -> list[dict[str, Any]]:
    """The results of a kit's checks, for tables: name, state and a line each."""
    rows = [
        {
            "check": c.name,
            "state": "refused" if c.refused else "caution" if c.cautioned else "ok",
            "p_value": c.p_value,
            "text": c.line,
        }
        for c in checks
    ]
    said = (
        f"the victim comes first for {hub.first} of {len(hub.statistics)} references (p {hub.p_first:.2g}); "
        f"its mean over all of them has p {hub.p_mean:.2g}"
    )
    state = "caution" if hub.is_one else "ok" if len(hub.statistics) else "no references"
    return _finite(
        [
            *rows,
            {
                "check": "resembles many models",
                "state": state,
                "p_value": min(hub.p_first, hub.p_mean),
                "text": said,
            },
        ]
    )


def _finite(value: Any) -> Any:
    """NaN and infinities as None, in nested lists and dicts."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
