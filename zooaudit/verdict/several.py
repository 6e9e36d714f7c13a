"""Several suspects together: the more are asked, the likelier one innocent looks guilty."""

from collections.abc import Sequence
from dataclasses import replace

from zooaudit.choices import CORRECTIONS, Correction
from zooaudit.errors import ConfigError
from zooaudit.verdict.decision import Decision, TwinVerdict
from zooaudit.verdict.ranking import benjamini_hochberg, holm, twins_for


def corrected(verdicts: Sequence[TwinVerdict], correction: Correction = "holm") -> list[TwinVerdict]:
    """The same verdicts with p-values and decisions that hold for all of them together.

    ``holm``: the probability that any innocent suspect is called stolen is at most the level. ``bh``, of
    Benjamini and Hochberg: of those called stolen, a share of at most the level is innocent on average. A
    suspect that cannot be judged counts as asked, with p 1.

    Raises:
        ConfigError: an unknown correction, or suspects judged at different levels.
    """
    if correction not in CORRECTIONS:
        raise ConfigError(f"correction {correction!r} is unknown; expected one of {', '.join(CORRECTIONS)}")
    if len({v.level for v in verdicts}) > 1:
        raise ConfigError("these suspects were judged at different levels; judge all of them at one")
    if correction == "none" or len(verdicts) < 2:
        return list(verdicts)
    adjust = holm if correction == "holm" else benjamini_hochberg
    adjusted = adjust([1.0 if v.p_value is None else v.p_value for v in verdicts])
    return [_with(v, float(p), len(verdicts), correction) for v, p in zip(verdicts, adjusted, strict=True)]


def one_of(verdict: TwinVerdict, suspects: int) -> TwinVerdict:
    """A verdict on one of several suspects that are judged separately, with a caution about their number."""
    if suspects < 2 or verdict.p_value is None:
        return verdict
    said = (
        f"judged by itself, as one of {suspects:,} suspects: were all innocent, up to"
        f" {suspects * verdict.level:.2g} of them would be"
    )
    said += " called stolen on average"
    if verdict.by == "rank" and verdict.smallest_p * suspects > verdict.level:
        needed = twins_for(verdict.level / suspects)
        said += (
            f"; corrected for their number (Holm), {verdict.twins} twins can call none of them stolen: that"
            f" takes {needed:,}"
        )
    return replace(verdict, cautions=(*verdict.cautions, said))


def _with(verdict: TwinVerdict, p: float, suspects: int, correction: Correction) -> TwinVerdict:
    if verdict.p_value is None:
        return verdict
    text = f"p {verdict.p_value:.2g} by itself, {p:.2g} as one of {suspects} suspects ({correction})"
    if p <= verdict.level:
        return replace(
            verdict,
            decision=Decision.STOLEN,
            p_value=p,
            reason=f"{text}, <= {verdict.level:g}; {verdict.reason}",
        )
    beyond_reach = (
        correction == "holm" and verdict.by == "rank" and verdict.smallest_p * suspects > verdict.level
    )
    if beyond_reach and verdict.decision is Decision.STOLEN:
        needed = twins_for(verdict.level / suspects)
        why = (
            f"{text}: {verdict.twins} twins can single out none of {suspects} at level {verdict.level:g},"
            f" {needed} could"
        )
        return replace(verdict, decision=Decision.CANNOT_TELL, p_value=p, reason=why)
    return replace(
        verdict,
        decision=Decision.NOT_SHOWN,
        p_value=p,
        reason=f"{text}, > {verdict.level:g}; {verdict.reason}",
    )
