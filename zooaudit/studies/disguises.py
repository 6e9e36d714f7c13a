"""What a thief may change on the way, under the twin test: how often he is still found, and
what the change costs him.

Beside what ``zooaudit.suspects.defences`` does to questions and answers: a thief who lets
another model, that nobody stole, answer what his own is least sure of. Those are the
questions that tell most, and there another model is hardly worse.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median

import torch
from torch import Tensor

from zooaudit.data.images import to_unit
from zooaudit.errors import ModelError
from zooaudit.studies.collected_about import About
from zooaudit.studies.contest import Load, load_one
from zooaudit.studies.outcome import Finding, Outcome, unclaimed
from zooaudit.studies.owners import Owner
from zooaudit.studies.rates import shown
from zooaudit.studies.trials import ASKINGS, LEVEL, Trial, decided, last
from zooaudit.studies.validity import Row, by
from zooaudit.suspects.access import LADDER
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.suspects.defences import DEFENCES, Defence
from zooaudit.verdict.decision import Decision

ASKED = "1,000"
"""Which of ``ASKINGS``."""
SHARES = (0.1, 0.3, 0.5)
"""Of the images that are usually asked, those that another model answers."""
USUAL = 1000
"""Natural images by which accuracy is measured, and which answers are usual."""
BATCH = 500
SEED = 0


@dataclass(frozen=True, eq=False)
class Given:
    """A thief's answers float32 ``[n, K]``: to the kit's questions, and to what he is usually asked."""

    questions: Tensor
    usual: Tensor


def rows(owner: Owner, load: Load | None) -> list[Row]:
    """One row a thief, disguise and access."""
    assert load is not None, "this study asks models about new images"
    scene = _Scene(owner, load)
    return [row for name in scene.names for row in scene.judged(name)]


@dataclass(eq=False)
class _Scene:
    """One owner's kit, and his thieves behind each disguise."""

    owner: Owner
    load: Load
    _made: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict, init=False)

    @cached_property
    def trial(self) -> Trial:
        return Trial.of(self.owner, next(a for a in ASKINGS if a.name == ASKED))

    @cached_property
    def images(self) -> Given:
        """Questions and usual images, float in [0, 1]."""
        pools = self.owner.pools(self.trial.families)
        return Given(
            to_unit(pools.images[self.trial.rows]), to_unit(self.owner.collection.pools["natural"][:USUAL])
        )

    @cached_property
    def plain(self) -> dict[str, Given]:
        """Answers as they are, by thief."""
        given = self.owner.answers(self.owner.thieves, self.trial.families)[:, self.trial.rows]
        return {a.id: Given(one, self._usual(a)) for a, one in zip(self.owner.thieves, given, strict=True)}

    @cached_property
    def other(self) -> Given:
        """An independent model's answers: of those of nobody or of other owners, the most
        accurate that was trained on labels."""
        ours = {a.id for a in self.owner.candidates}
        free = [
            a
            for _, a in self.owner.innocents
            if a.victim != self.owner.name
            and not (a.interface or a.attack or a.labels or ours & self.owner.collection.ancestors(a.id))
        ]
        if not free:
            raise ModelError(
                f"{self.owner.name} has no independent innocent without an interface; expected one to answer"
                " for its thieves"
            )
        best = max(free, key=lambda a: (a.accuracy, a.id))
        return Given(self.owner.answers([best], self.trial.families)[0, self.trial.rows], self._usual(best))

    @property
    def names(self) -> list[str]:
        return [*(d.name for d in DEFENCES), *map(_mixed_name, SHARES)]

    def _usual(self, about: About) -> Tensor:
        return self.owner.collection.answers(about.id)["natural"][:USUAL]

    def judged(self, name: str) -> Iterator[Row]:
        data = {a: t for a in self.owner.thieves if (t := self._behind(name, a)) is not None}
        if not data:
            return
        given, test = torch.stack([t.questions for t in data.values()]), self.trial.test.single_look()
        for access in LADDER:
            for (thief, one), compared in zip(
                data.items(), self.trial.compared_answers(given, access), strict=True
            ):
                verdict = decided(test, last(compared), LEVEL)
                yield self._row(thief, one) | {
                    "disguise": name,
                    "access": access.name,
                    "decision": str(verdict.decision),
                    "p": verdict.p_value,
                    "rank": verdict.rank,
                }

    def _row(self, thief: About, result: Given) -> Row:
        labels = self.owner.collection.labels[:USUAL]
        before, after = (
            float((x.argmax(1) == labels).float().mean()) for x in (self.plain[thief.id].usual, result.usual)
        )
        return {
            "owner": self.owner.name,
            "thief": thief.id,
            "family": thief.family,
            "taken": thief.took_weights,
            "accuracy": after,
            "cost": before - after,
        }

    def _behind(self, name: str, thief: About) -> Given | None:
        """None of a thief without weights, where questions are changed."""
        plain = self.plain[thief.id]
        share = next((s for s in SHARES if _mixed_name(s) == name), None)
        if share is not None:
            return _mixed(plain, self.other, share)
        defence = next(d for d in DEFENCES if d.name == name)
        asked = self._asked(defence, thief) if defence.changes_questions else plain
        if asked is None:
            return None
        together = defence.answers(torch.cat([asked.questions, asked.usual]), SEED)
        return Given(*together.split([len(asked.questions), len(asked.usual)]))

    def _asked(self, defence: Defence, thief: About) -> Given | None:
        module = load_one(self.load, self.owner.collection.folder / "models", thief.id)
        if module is None:
            return None
        black_box = TorchBlackBox(module, self.plain[thief.id].usual.shape[1])
        return Given(
            *(torch.cat([black_box.ask(x) for x in images.split(BATCH)]) for images in self._changed(defence))
        )

    def _changed(self, defence: Defence) -> tuple[Tensor, Tensor]:
        """Questions and usual images as this defence makes them, the same for every thief."""
        if defence.name not in self._made:
            self._made[defence.name] = (
                defence.questions(self.images.questions),
                defence.questions(self.images.usual),
            )
        return self._made[defence.name]


def _mixed_name(share: float) -> str:
    return f"another model answers the {share:.0%} he is least sure of"


def _mixed(own: Given, other: Given, share: float) -> Given:
    """The other model's answers wherever the own are less sure than ``share`` of the usual ones."""
    least = own.usual.amax(1).quantile(share)

    def mixed(mine: Tensor, theirs: Tensor) -> Tensor:
        return torch.where(mine.amax(1, keepdim=True) < least, theirs, mine)

    return Given(mixed(own.questions, other.questions), mixed(own.usual, other.usual))


def found(part: Sequence[Row]) -> tuple[int, int]:
    """How many were found, of how many."""
    return sum(r["decision"] == Decision.STOLEN for r in part), len(part)


def cost(part: Sequence[Row]) -> float:
    """The median of the accuracy that it cost, in points of a hundred."""
    return 100 * median(r["cost"] for r in part)


def outcome(found_rows: Sequence[Row]) -> Outcome:
    """A finding for each disguise and access."""
    return Outcome(found_rows, list(_findings(found_rows)))


def _findings(rows: Sequence[Row]) -> Iterator[Finding]:
    for (name, access), part in by(rows, lambda r: (r["disguise"], r["access"])).items():
        taken, learnt = ([r for r in part if r["taken"] is t] for t in (True, False))
        yield unclaimed(
            f"Thieves behind {name!r} are found at level {LEVEL:g} ({ASKED} questions, {access})",
            f"weights taken {shown(*found(taken))}, answers learnt {shown(*found(learnt))}; accuracy lost"
            f" {cost(part):.1f} points",
            f"{len(part)} thieves of {len(by(part, 'owner'))} victims",
            "the kit's own questions; the thief knows them no better than any other",
        )
