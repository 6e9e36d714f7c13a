"""Whom a verdict must not accuse, and who may train what judges them: families of innocent models, and folds by victim."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from zooaudit.data.images import ImageSet, to_unit
from zooaudit.encoder.discriminant import LEAST, most_telling
from zooaudit.probing import pool
from zooaudit.seeds import derive
from zooaudit.studies.bench import Bench
from zooaudit.studies.bystanders import overlapping_models
from zooaudit.studies.thieves import ADVERSARIAL
from zooaudit.suspects.defences import Defence
from zooaudit.zoo.spec import Group, ModelSpec, Role
from zooaudit.zoo.variants import distilled, hardened, overlapping, twin

QUERIES = 400
"""What every method may ask, where its paper does not fix another number."""
PER_FAMILY = 12
"""Models of each family that a study builds for itself."""
HARDENED = replace(ADVERSARIAL, strength=120)
STOLEN = "piracy"
LOOK_ALIKES = "look-alike"
ALL = "all"


def twins(bench: Bench) -> list[ModelSpec]:
    """Homologous models of the victim's own architecture and recipe, each with its own half of the data."""
    zoo = bench.recipe.zoo
    bases = _first(bench, Role.HOMOLOGOUS)
    return [twin(b, zoo.victim_architecture, zoo.training_of(zoo.victim_architecture), i) for i, b in enumerate(bases)]


def same_data(bench: Bench) -> list[ModelSpec]:
    """The most alike that an innocent model can be: the victim's architecture, recipe and very images, another seed."""
    victim = bench.zoo.plan.of(Role.VICTIM)[0]
    return [overlapping(spec, 1.0, victim.seed) for spec in twins(bench)]


def in_house(bench: Bench) -> list[ModelSpec]:
    """Models distilled from an innocent model as thieves extract from the victim: the owner of the teacher compressed it, say."""
    made, others, alike = _first(bench, Role.PIRACY), _first(bench, Role.HOMOLOGOUS), twins(bench)
    teachers = [alike[i] if i % 2 else others[-1 - i] for i in range(len(others))]  # every other one of the victim's own architecture
    return [distilled(base, teachers[i % len(teachers)]) for i, base in enumerate(made)]


def hardened_innocents(bench: Bench) -> list[ModelSpec]:
    """Homologous models after adversarial training; one that no longer does its task is no innocent to judge by."""
    stages = [spec for base in _first(bench, Role.HOMOLOGOUS) for spec in hardened(base, (int(HARDENED.strength),), HARDENED)]
    return [replace(spec, floor=bench.recipe.zoo.accuracy_floor) for spec in stages]


def some_overlaps(bench: Bench) -> list[ModelSpec]:
    """Of the overlap study's models as many as there are homologous suspects, from all shares: a small zoo has small families."""
    models, most = overlapping_models(bench), len(bench.zoo.plan.of(Role.HOMOLOGOUS, Group.SUSPECT))
    return models[:: -(-len(models) // most)]


def _first(bench: Bench, role: Role) -> list[ModelSpec]:
    """``PER_FAMILY`` suspects of a role, architectures and optimisers in turn."""
    by_cell: dict[tuple[str, str], list[ModelSpec]] = {}
    for spec in bench.zoo.learnt(role, Group.SUSPECT):
        by_cell.setdefault((spec.architecture, spec.optimiser), []).append(spec)
    deepest = max(map(len, by_cell.values()))
    return [cell[i] for i in range(deepest) for cell in by_cell.values() if i < len(cell)][:PER_FAMILY]


BUILT = {
    "same architecture": twins,
    "same architecture and data": same_data,
    "overlap": some_overlaps,
    "distilled in-house": in_house,
    "hardened": hardened_innocents,
}
"""Families beyond the audit's own homologous models and look-alikes, and how they are planned."""


@dataclass(frozen=True, eq=False)
class Fold:
    """Some other victims' look-alikes train, the others' are tested; no encoder model is ever tested.

    Attributes:
        copies, innocent: what a method may learn from: models extracted from the victim; homologous models and look-alikes.
        tested: by family, ``piracy`` among them; nothing of it is in ``copies`` or ``innocent``, nor its victim's other look-alikes.
    """

    copies: tuple[ModelSpec, ...]
    innocent: tuple[ModelSpec, ...]
    tested: Mapping[str, tuple[ModelSpec, ...]]

    @property
    def suspects(self) -> list[ModelSpec]:
        return [s for family in self.tested.values() for s in family]

    @property
    def negatives(self) -> list[ModelSpec]:
        return [s for name, family in self.tested.items() if name != STOLEN for s in family]


@dataclass(eq=False)
class Contest:
    """All models of a verdict's study and their answers to a pool of held-out images.

    The pool is the half of the test images that no model trains or tunes on. Suspects answer all of it here, once, so that methods
    can be compared; each method is charged for what it looks at.
    """

    bench: Bench
    _telling: dict[Fold, Tensor] = field(default_factory=dict, init=False)

    @cached_property
    def built(self) -> dict[str, tuple[ModelSpec, ...]]:
        planned = {name: plan(self.bench) for name, plan in BUILT.items()}
        learnt = self.bench.at_hand([s for specs in planned.values() for s in specs])
        return {name: tuple(s for s in specs if s in learnt) for name, specs in planned.items()}

    @cached_property
    def folds(self) -> list[Fold]:
        """Two: the first half of the other victims trains, then the second; one victim's look-alikes are never on both sides.

        With look-alikes of one other victim alone, none trains.
        """
        alike = self.bench.zoo.learnt(Role.LOOK_ALIKE, Group.SUSPECT)
        parents = list(dict.fromkeys(s.parent for s in alike))
        middle = len(parents) // 2
        halves = (set(parents[:middle]), set(parents[middle:])) if middle else (set(),)
        return [self._fold(alike, train) for train in halves]

    def _fold(self, alike: list[ModelSpec], train: set[str | None]) -> Fold:
        zoo = self.bench.zoo
        suspects = {role: tuple(zoo.learnt(role, Group.SUSPECT)) for role in (Role.PIRACY, Role.HOMOLOGOUS)}
        tested = {STOLEN: suspects[Role.PIRACY], "homologous": suspects[Role.HOMOLOGOUS]}
        tested |= {LOOK_ALIKES: tuple(s for s in alike if s.parent not in train)} | self.built
        taught = (*zoo.learnt(Role.HOMOLOGOUS, Group.ENCODER), *zoo.learnt(Role.HOMOLOGOUS, Group.PROBE))
        innocent = (*taught, *(s for s in alike if s.parent in train))
        return Fold(tuple(zoo.learnt(Role.PIRACY, Group.ENCODER)), innocent, {k: v for k, v in tested.items() if v})

    @cached_property
    def models(self) -> list[ModelSpec]:
        """Everybody who is asked, the victim aside."""
        return list(dict.fromkeys(s for f in self.folds for s in (*f.copies, *f.innocent, *f.suspects)))

    @cached_property
    def _images(self) -> ImageSet:
        """In random order, since data sets are often sorted by class."""
        return pool(self.bench.dataset, self.bench.recipe.seed)

    @cached_property
    def pool_labels(self) -> Tensor:
        """int64 ``[pool]``."""
        return self._images.labels

    @cached_property
    def pool(self) -> Tensor:
        """float ``[pool, c, h, w]`` in [0, 1]."""
        return to_unit(self._images.images)

    @cached_property
    def pool_answers(self) -> dict[str, Tensor]:
        """Answers ``[pool, K]`` to the pool by model id."""
        return self.asked(self.pool)

    def asked(self, images: Tensor) -> dict[str, Tensor]:
        """Answers ``[n, K]`` of everybody, the victim included, to float images ``[n, c, h, w]``; kept in the store."""
        ids = [self.bench.zoo.plan.victim, *(s.id for s in self.models)]
        given = self.bench.answers(ids, images.view(1, len(images), 1, *images.shape[1:]))
        return {id_: answers.flatten(0, 2) for id_, answers in given.items()}

    def answered(self, specs: Sequence[ModelSpec]) -> Tensor:
        """Answers ``[models, pool, K]``."""
        return torch.stack([self.pool_answers[s.id] for s in specs])

    def behind(self, defence: Defence, specs: Sequence[ModelSpec], chosen: Tensor) -> list[Tensor]:
        """What models tell of the pool's images at ``chosen`` through a defence, ``[Q, K]`` each."""
        images = self.pool[chosen]
        asked = defence.questions(images)
        if asked is images and all(s.id in self.pool_answers for s in specs):
            given = {s.id: self.pool_answers[s.id][chosen] for s in specs}
        else:
            found = self.bench.answers([s.id for s in specs], asked.view(1, len(asked), 1, *asked.shape[1:]))
            given = {id_: answers.flatten(0, 2) for id_, answers in found.items()}
        return [defence.answers(given[s.id], derive(self.bench.recipe.seed, defence.name, s.id)) for s in specs]

    def telling(self, fold: Fold) -> Tensor:
        """Indices of the ``QUERIES`` images that a fold's training models say are worth asking, the most telling first."""
        if fold not in self._telling:
            self._telling[fold] = most_telling(self.answered(fold.copies), self.answered(fold.innocent), QUERIES)
        return self._telling[fold]

    @property
    def victim(self) -> str:
        return self.bench.zoo.plan.victim


def without(fold: Fold, architecture: str) -> Fold:
    """Leave one architecture out: it is tested, and nothing of it is learnt from."""
    return Fold(
        tuple(s for s in fold.copies if s.architecture != architecture),
        tuple(s for s in fold.innocent if s.architecture != architecture),
        {name: kept for name, specs in fold.tested.items() if (kept := tuple(s for s in specs if s.architecture == architecture))},
    )


def without_attack(fold: Fold, attack: str) -> Fold:
    """Leave one attack out: models extracted by it, or by no attack, are tested; those extracted by another are learnt from."""

    def by(spec: ModelSpec) -> bool:
        return spec.extraction is not None and spec.extraction.attack == attack

    return Fold(
        tuple(s for s in fold.copies if not by(s)),
        tuple(s for s in fold.innocent if not by(s)),
        {name: kept for name, specs in fold.tested.items() if (kept := tuple(s for s in specs if s.extraction is None or by(s)))},
    )


def left_out(architectures: Sequence[str], folds: list[Fold]) -> Iterator[tuple[str, list[Fold]]]:
    """Each architecture and each attack left out, by name, where enough is left to learn from and something to test."""
    attacks = {s.extraction.attack for f in folds for s in f.copies if s.extraction}
    for name in architectures:
        yield from _if_enough(f"without {name}", [without(f, name) for f in folds])
    for attack in sorted(attacks):
        yield from _if_enough(f"without {attack}", [without_attack(f, attack) for f in folds])


def _if_enough(name: str, folds: list[Fold]) -> Iterator[tuple[str, list[Fold]]]:
    if all(min(len(f.copies), len(f.innocent)) >= LEAST and STOLEN in f.tested for f in folds):
        yield name, folds
