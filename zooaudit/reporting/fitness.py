"""What an audit found, at which level, and what is off with its kit: the first thing that a
report says. It clears no kit."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from scipy import stats

from zooaudit.auditing.results import Audit
from zooaudit.recipes.named import trial
from zooaudit.reporting.decisions import accuses_nobody, called
from zooaudit.verdict.decision import Decision
from zooaudit.verdict.wording import WEAK_ABOVE, cases, in_cases
from zooaudit.zoo.spec import Role

Fit = Literal["nothing off", "with care", "not fit for use"]
SAID: dict[Fit, str] = {
    "nothing off": "The checks of this kit found nothing off",
    "with care": "Use this kit with care",
    "not fit for use": "This kit is not fit for use",
}
SURPRISING = 0.05
"""Chance of so many innocents called stolen, were the level kept, under which it is said."""


@dataclass(frozen=True)
class Finding:
    """Sentences for whoever reads no further.

    Attributes:
        found, level: what the test did with models of which the truth is known, and what its level means.
        fit, why: what its checks make of the kit, and the reasons.
        trial: that nobody is to be accused by it, if a trial recipe made it.
    """

    found: str
    level: str
    fit: Fit
    why: tuple[str, ...]
    trial: str = ""

    @property
    def said(self) -> str:
        """Of the kit, in a sentence."""
        return f"{SAID[self.fit]}{': ' + '; '.join(self.why) if self.why else ''}."

    @property
    def text(self) -> str:
        """All of it."""
        return " ".join(filter(None, [self.found, self.level, self.said, self.trial]))


def finding(audit: Audit) -> Finding:
    """Of a finished audit."""
    thieves, innocents = _count(audit, Role.PIRACY), _count(audit, Role.HOMOLOGOUS, Role.LOOK_ALIKE)
    level = audit.kit.twin_test.level
    against, care = tuple(_against(audit, thieves)), tuple(_care(audit, innocents))
    return Finding(
        f"The twin test called {_of(thieves)} stolen models stolen, and {_of(innocents)} innocent ones.",
        f"Its level is {level:g}: {in_cases(level)}.",
        "not fit for use" if against else "with care" if care else "nothing off",
        against or care,
        trial(audit.recipe.name, audit.recipe.dataset),
    )


def _count(audit: Audit, *roles: Role) -> tuple[int, int]:
    """How many are called stolen, of how many."""
    families = [called(audit, role) for role in roles]
    return sum(f.stolen for f in families), sum(f.total for f in families)


def _of(count: tuple[int, int]) -> str:
    return f"{count[0]} of {count[1]}"


def _against(audit: Audit, thieves: tuple[int, int]) -> Iterator[str]:
    if nobody := accuses_nobody(audit.kit.twin_test):
        yield f"it accuses nobody ({nobody})"
    elif audit.itself.verdict.decision is not Decision.STOLEN:
        yield "it does not recognise the victim itself"
    elif thieves[1] and not thieves[0]:
        yield "it found none of the stolen models"


def _care(audit: Audit, innocents: tuple[int, int]) -> Iterator[str]:
    level, (wrong, of) = audit.kit.twin_test.level, innocents
    if level > WEAK_ABOVE:
        yield f"“stolen” is weak evidence at a level of {cases(level)}"
    if wrong and stats.binomtest(wrong, of, level, "greater").pvalue < SURPRISING:
        yield f"it called {wrong} of {of} innocent models stolen, more than its level allows"
    if audit.itself.verdict.cautions:
        yield (
            f"checks of the victim raise {'a doubt' if len(audit.itself.verdict.cautions) == 1 else 'doubts'}"
            " (see the checks below)"
        )
    if not of:
        yield "no innocent model was there to try it on"
