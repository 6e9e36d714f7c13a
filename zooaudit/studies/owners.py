"""One owner of a collection: victim and twins, the references, who must not be accused and who should be; and
whose models these are."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from zooaudit.auditing.twin_questions import Pools
from zooaudit.errors import DataError, NotEnoughModelsError
from zooaudit.studies.collected import Collection
from zooaudit.studies.collected_about import INNOCENT, REFERENCE, THIEF, TWIN, VICTIM, About
from zooaudit.verdict.examined import FOREIGN, LOG, NATURAL, NO_CLASS

LEAST_TWINS = 2
LEARNT = 0.7
"""A reference's accuracy as a share of the references' median, under which it did not learn
and is left out, as in an audit."""
ANOTHERS, ANOTHERS_THIEVES = "another owner's", "stolen from another owner"


@dataclass(frozen=True, eq=False)
class Owner:
    """Attributes:
    name: as models name it in ``victim``.
    candidates: the victim first, then its twins.
    innocents: by family, of the data set and set; other owners' victims, models and thieves among them.
    log: rows of the attackers' pool: those that the victim was asked, then as many that nobody asked.
    """

    name: str
    collection: Collection
    candidates: tuple[About, ...]
    references: tuple[About, ...]
    innocents: tuple[tuple[str, About], ...]
    thieves: tuple[About, ...]
    log: Tensor

    @property
    def ids(self) -> list[str]:
        """Everybody's."""
        known = (*self.candidates, *self.references, *(a for _, a in self.innocents), *self.thieves)
        return [a.id for a in known]

    def pools(self, families: Sequence[str]) -> Pools:
        """The images that questions are chosen from, of some families."""
        at, natural = self.collection.pools, len(self.collection.labels)
        parts = {NATURAL: at["natural"], FOREIGN: at["foreign"], LOG: at["attacker"][self.log]}
        images = torch.cat([parts[f] for f in families])
        labels = torch.full((len(images),), NO_CLASS)
        labels[:natural] = self.collection.labels
        return Pools(images, labels, tuple(f for f in families for _ in parts[f]))

    def answers(self, models: Sequence[About], families: Sequence[str]) -> Tensor:
        """To the images of these pools, float32 ``[models, n, K]``."""
        given = [self._answer(a, families) for a in models]
        return torch.stack(given) if given else self._answer(self.candidates[0], families)[None][:0]

    def answers_behind(self, models: Sequence[About], families: Sequence[str]) -> Tensor | None:
        """As ``answers``, behind each of ``TREATMENTS``: float32 ``[I, models, n, K]``;
        None where they were not collected."""
        given = [self.collection.answers_behind(a.id) for a in models]
        if not any(given):
            return None
        if lacking := [a.id for a, one in zip(models, given, strict=True) if one is None]:
            raise DataError(
                f"{self.collection.folder}/models: {lacking[0]} has no behind.npz, others have; expected all"
                " or none"
            )
        return torch.stack([self._joined(one, families, 1) for one in given if one is not None], dim=1)

    def _answer(self, model: About, families: Sequence[str]) -> Tensor:
        return self._joined(self.collection.answers(model.id), families, 0)

    def _joined(self, given: Mapping[str, Tensor], families: Sequence[str], images: int) -> Tensor:
        """Answers to the images of some families, along the dimension of images."""
        return torch.cat(
            [given["attacker"].index_select(images, self.log) if f == LOG else given[f] for f in families],
            dim=images,
        )

    def source(self, innocent: About) -> str:
        """Where an innocent comes from: another owner, or the model that it was made from in the first place.
        A model, its copies and the services that it answers through resemble each other, so they lean to the
        same candidate together."""
        return (
            innocent.victim if innocent.victim not in ("", self.name) else self.collection.origin(innocent.id)
        )

    def excluded(self, model: About, candidate: About) -> bool:
        """Whether a model is not an innocent to judge ``candidate`` by: it was made from it."""
        return candidate.id in self.collection.ancestors(model.id)


def owners(collections: Sequence[Collection], set_: str) -> tuple[list[Owner], dict[str, str]]:
    """Every owner of a set with a victim and twins; and why others are left out.

    Raises:
        NotEnoughModelsError: none is left.
        DataError: a reference was made from a candidate, or an owner has several victims.
    """
    found, left_out = [], {}
    for collection in collections:
        for name in sorted(
            {a.victim for a in collection.models.values() if a.role == VICTIM and a.set == set_}
        ):
            owner = _owner(collection, name, set_)
            twins = len(owner.candidates) - 1
            if twins < LEAST_TWINS or not owner.references:
                left_out[name] = (
                    f"{twins} twins and {len(owner.references)} references; a study needs {LEAST_TWINS} and 1"
                )
            else:
                found.append(owner)
    if not found:
        text = "; ".join(f"{n} has {why}" for n, why in left_out.items())
        raise NotEnoughModelsError(f"no victim of the set {set_!r} can be studied: {text or 'there is none'}")
    return found, left_out


def _owner(collection: Collection, name: str, set_: str) -> Owner:
    models = collection.models.values()
    mine = [a for a in models if a.victim == name and a.role in (VICTIM, TWIN)]
    victims = [a for a in mine if a.role == VICTIM]
    if len(victims) > 1:
        raise DataError(
            f"{collection.folder}: {name} has {len(victims)} victims ({', '.join(a.id for a in victims)});"
            " expected one"
        )
    candidates = (*victims, *(a for a in mine if a.role == TWIN))
    stated = [a for a in models if a.role == REFERENCE]
    references = tuple(a for a in stated if a.accuracy >= LEARNT * median(b.accuracy for b in stated))
    ids = {a.id for a in candidates}
    for one in references:
        if made := ids & collection.ancestors(one.id):
            raise DataError(
                f"{collection.folder}: the reference {one.id} was made from {min(made)}, a candidate;"
                " expected one that was not"
            )
    thieves = tuple(a for a in models if a.role == THIEF and a.victim == name and a.set == set_)
    here = [a for a in models if a.set in (set_, "both")]
    return Owner(
        name,
        collection,
        candidates,
        references,
        tuple(_innocents(here, name)),
        thieves,
        _log(collection, thieves),
    )


def _innocents(models: Sequence[About], name: str) -> Iterator[tuple[str, About]]:
    """With the family that each counts in, for this owner."""
    for about in models:
        if about.role == INNOCENT:
            yield (about.family if about.victim in ("", name) or about.interface else ANOTHERS), about
        elif about.victim != name and about.role == VICTIM:
            yield ANOTHERS, about
        elif about.victim != name and about.role == THIEF:
            yield ANOTHERS_THIEVES, about


def _log(collection: Collection, thieves: Sequence[About]) -> Tensor:
    """What the victim was asked, then as many of what nobody asked anybody."""
    asked = sorted({row for a in thieves for row in a.asked_attacker})
    by_anyone = {row for a in collection.models.values() for row in a.asked_attacker}
    never = [row for row in range(len(collection.pools["attacker"])) if row not in by_anyone]
    return torch.tensor(asked + never[: len(asked)], dtype=torch.int64)
