"""Specs of the zoo, one at a time. Each has its own seed, which follows from the recipe's seed and the
model's description."""

import dataclasses
from dataclasses import dataclass

from zooaudit.config import ExtractConfig, Optimiser, Overlap, OwnTraining, TrainConfig, ZooConfig
from zooaudit.errors import ConfigError
from zooaudit.seeds import derive
from zooaudit.suspects.named_nets import is_named
from zooaudit.zoo.arch import EXPECTED, is_known
from zooaudit.zoo.cost import largest_batch
from zooaudit.zoo.published_nets import check_published
from zooaudit.zoo.reference_nets import REFERENCE_NETS
from zooaudit.zoo.shape import ModelShape
from zooaudit.zoo.spec import OWN, STARTED, Group, ModelSpec, Role
from zooaudit.zoo.start import fine_tuning
from zooaudit.zoo.variants import modified
from zooaudit.zoo.vision_nets import VISION_NETS, check_net

OTHERS, EXTRACTED = 0.5, 0.3
"""The shares of references that are nets of other kinds than the zoo's, and that are extracted from
strangers."""
BEGUN = 0.25
"""The share of references that begin with the victim's public checkpoint, if there is one."""
MORE_BEGUN = 10_000
"""Indices begin here for references of the zoo's own architectures that begin with that checkpoint, so that
their seeds differ from those of the references above."""
OTHERS_OPTIMISERS: tuple[Optimiser, ...] = ("adam", "rmsprop", "sgd")
OWN_SEEDS = 2**31
"""Upper limit of an own procedure's seeds: numpy, torch, JAX and most command lines accept them."""


def shares(references: int) -> tuple[int, int, int]:
    """How many of the references are nets of the zoo's architectures, how many are extracted from these, and
    how many are nets of other kinds."""
    others, extracted = round(references * OTHERS), int(references * EXTRACTED)
    return references - others - extracted, extracted, others


@dataclass(frozen=True)
class Planner:
    """Makes specs for one recipe, dataset and seed.

    Raises:
        ConfigError: an architecture is unknown, or cannot be built for this shape.
    """

    zoo: ZooConfig
    data: str
    shape: ModelShape
    seed: int

    def __post_init__(self) -> None:
        named = set(self.zoo.nets)
        if STARTED in named and self.zoo.start is None:
            raise ConfigError(
                f"the recipe has the architecture {STARTED!r}, which begins with the public checkpoint of"
                " zoo.start, but it has no zoo.start; expected one: --start, or [zoo.start] with factory and"
                " weights"
            )
        if unknown := sorted(n for n in named - {STARTED} if not is_known(n)):
            raise ConfigError(f"unknown architecture {unknown[0]!r}; known: {EXPECTED}")
        for name in sorted(named & VISION_NETS.keys()):
            check_net(name, self.shape)
        for name in sorted(filter(is_named, named)):
            check_published(name, self.shape)

    def trained(self, role: Role, group: Group, architecture: str, optimiser: int, index: int) -> ModelSpec:
        """A model trained on a random half of the data, or fine-tuned on it if its architecture begins with a
        checkpoint."""
        name = self.zoo.optimisers[optimiser % len(self.zoo.optimisers)]
        seed = derive(self.seed, role, group, architecture, name, index)
        start = self.zoo.start if architecture == STARTED else self.zoo.checkpoint_of(architecture)
        sizes, training = self.zoo.batch_sizes, self.zoo.training_of(architecture)
        return ModelSpec(
            role=role,
            group=group,
            architecture=architecture,
            optimiser=name,
            batch_size=self._fitting(architecture, sizes[derive(seed, "batch-size") % len(sizes)]),
            data=self.data,
            data_fraction=self.zoo.data_fraction,
            seed=seed,
            training=fine_tuning(training) if start else training,
            shape=self.shape,
            floor=self.zoo.accuracy_floor,
            start=start,
        )

    def _fitting(self, architecture: str, drawn: int) -> int:
        """The drawn batch size, halved until a step fits in memory: the same on every machine, since ids
        depend on it."""
        most = (
            largest_batch(architecture, self.shape, self.zoo.step_gib) if architecture != STARTED else drawn
        )
        while drawn > most:
            drawn //= 2
        return drawn

    def extracted(
        self,
        role: Role,
        group: Group,
        architecture: str,
        optimiser: int,
        index: int,
        parent: str,
        parent_seed: int | None,
        attack: ExtractConfig,
    ) -> ModelSpec:
        """As ``trained``, by an attack on ``parent``."""
        spec = self.trained(role, group, architecture, optimiser, index)
        return dataclasses.replace(
            spec,
            seed=derive(spec.seed, parent),
            training=(
                spec.training
                if attack.augment
                else dataclasses.replace(spec.training, mirror=False, shift=0, crop=1.0)
            ),
            extraction=attack,
            parent=parent,
            parent_split_seed=parent_seed,
            floor=self.zoo.recovery_floor,
        )

    def attack(self, turn: int) -> ExtractConfig:
        """The attack for this ``turn``: every third time the second attack, if there is one."""
        second = self.zoo.second_attack
        return second if second and turn % 3 == 2 else self.zoo.extraction

    def twins(self, victim: ModelSpec) -> list[ModelSpec]:
        """Models that equal ``victim`` in everything but the seed: trained on the same images."""
        same = dataclasses.replace(
            victim, role=Role.TWIN, group=Group.VERDICT, overlap=Overlap(1.0, victim.seed)
        )
        return [dataclasses.replace(same, seed=seed) for seed in self._twin_seeds()]

    def own_twins(self, own: OwnTraining) -> list[ModelSpec]:
        """Models that the owner's own procedure trains."""
        same = ModelSpec(
            role=Role.TWIN,
            group=Group.VERDICT,
            architecture=OWN,
            optimiser=OWN,
            batch_size=1,
            data=self.data,
            data_fraction=1.0,
            seed=0,
            training=TrainConfig(),
            shape=dataclasses.replace(self.shape, widths=(), hidden=0),
            floor=self.zoo.accuracy_floor,
            own_training=own,
        )
        return [dataclasses.replace(same, seed=seed % OWN_SEEDS) for seed in self._twin_seeds()]

    def references(self) -> list[ModelSpec]:
        """Models of other procedures than the victim's, none of them related to it or to a suspect: nets of
        the zoo's architectures, models extracted from these, nets of other kinds, and models that begin with
        the victim's own start. A few kinds teach more than many models of one (docs/log.md)."""
        begun = round(self.zoo.references * BEGUN) if self.zoo.start else 0
        convolutional, extracted, others = shares(self.zoo.references - begun)
        trained = [self._trained_reference(i) for i in range(convolutional)]
        copies = [self._extracted_reference(i, trained[i % len(trained)]) for i in range(extracted)]
        return [
            *trained,
            *copies,
            *map(self._other_reference, range(others)),
            *map(self._begun_reference, range(begun)),
        ]

    def taken(self, victim: ModelSpec) -> list[ModelSpec]:
        """Suspects made from the victim's own weights."""
        made = (modified(victim, config) for config in self.zoo.taken)
        return [dataclasses.replace(spec, role=Role.PIRACY, group=Group.SUSPECT) for spec in made]

    def _trained_reference(self, i: int) -> ModelSpec:
        """Reference number ``i``, over every architecture and optimiser in turn, except the victim's
        architecture together with its optimiser."""
        architectures = tuple(dict.fromkeys((*self.zoo.architectures, self.zoo.victim_architecture)))
        optimisers = len(self.zoo.optimisers)
        cells = [
            (name, (a + turn) % optimisers)
            for turn in range(optimisers)
            for a, name in enumerate(architectures)
            if optimisers == 1 or (name, (a + turn) % optimisers) != (self.zoo.victim_architecture, 0)
        ]
        architecture, optimiser = cells[i % len(cells)]
        turn = i // len(cells) + (MORE_BEGUN if architecture == STARTED else 0)
        return self.trained(Role.REFERENCE, Group.VERDICT, architecture, optimiser, turn)

    def _other_reference(self, i: int) -> ModelSpec:
        """Reference number ``i``, over the kinds in turn; each kind has another optimiser the next time. Some
        optimisers cannot learn hard tasks well."""
        kinds = tuple(REFERENCE_NETS)
        name, turn = kinds[i % len(kinds)], i // len(kinds)
        optimiser = OTHERS_OPTIMISERS[turn % len(OTHERS_OPTIMISERS)]
        spec = self.trained(Role.REFERENCE, Group.VERDICT, name, 0, turn)
        return dataclasses.replace(spec, optimiser=optimiser, floor=self.zoo.accuracy_floor / 2)

    def _begun_reference(self, i: int) -> ModelSpec:
        """From the public checkpoint, with each optimiser in turn."""
        return self.trained(Role.REFERENCE, Group.VERDICT, STARTED, i, i // len(self.zoo.optimisers))

    def _extracted_reference(self, i: int, stranger: ModelSpec) -> ModelSpec:
        """By both attacks in turn, if there are two, with soft and hard labels."""
        zoo = self.zoo
        attacks = [zoo.extraction, *([zoo.second_attack] if zoo.second_attack else [])]
        ways = [
            dataclasses.replace(attack, labels=labels) for labels in ("soft", "hard") for attack in attacks
        ]
        architecture, way = (
            zoo.architectures[i % len(zoo.architectures)],
            ways[(i + i // len(zoo.architectures)) % len(ways)],
        )
        return self.extracted(
            Role.REFERENCE, Group.VERDICT, architecture, i, i, stranger.id, stranger.seed, way
        )

    def _twin_seeds(self) -> list[int]:
        return [derive(self.seed, "twin", i) for i in range(self.zoo.twins)]
