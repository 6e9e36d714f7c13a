"""From a recipe to the ordered list of models to train. Pure: no data, no training, no store."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from zooaudit.config import OwnTraining, ZooConfig
from zooaudit.zoo.planner import Planner
from zooaudit.zoo.shape import ModelShape
from zooaudit.zoo.spec import Group, ModelSpec, Role

MORE_THIEVES = 10_000
"""Their indices begin here, so that their seeds differ from those of the suspects in cells."""


@dataclass(frozen=True)
class Plan:
    """Every model of one audit. ``victim`` is the id of the model to defend; its spec is
    absent if it is the user's own."""

    victim: str
    specs: tuple[ModelSpec, ...]

    def of(self, role: Role, group: Group | None = None) -> list[ModelSpec]:
        """The specs of a role, in plan order; of one group only, if given."""
        return [s for s in self.specs if s.role is role and group in (None, s.group)]


def plan_zoo(
    zoo: ZooConfig,
    data: str,
    shape: ModelShape,
    seed: int,
    own_victim: str | None = None,
    own_training: OwnTraining | None = None,
) -> Plan:
    """Plan the zoo of paper section 5.1, with look-alike negatives, the victim's twins and references.

    Args:
        zoo: how many models of which kind.
        data: digest of the dataset.
        shape: of every model's inputs and outputs.
        seed: the recipe's.
        own_victim: id of the user's own victim; without one, a victim is trained.
        own_training: the procedure that trained it; without one, the user's own victim has no twins.
    """
    planner = Planner(zoo, data, shape, seed)
    victims = (
        [] if own_victim else [planner.trained(Role.VICTIM, Group.SOURCE, zoo.victim_architecture, 0, 0)]
    )
    strangers = [
        planner.trained(Role.OTHER_VICTIM, Group.SOURCE, zoo.victim_architecture, 0, i)
        for i in range(zoo.other_victims)
    ]
    victim = Source(own_victim, None) if own_victim else Source(victims[0].id, victims[0].seed)
    twins = planner.twins(victims[0]) if victims else planner.own_twins(own_training) if own_training else []
    specs = [*victims, *twins, *strangers, *planner.references()]
    specs += _encoder_models(planner, victim)
    specs += _cells(planner, victim)
    specs += _more_thieves(planner, victim)
    specs += _look_alikes(planner, strangers)
    specs += planner.taken(victims[0]) if victims else []
    return Plan(victim.id, tuple(specs))


class Source(NamedTuple):
    """The model that others are extracted from, and the seed of its training half if that is known."""

    id: str
    seed: int | None


def _encoder_models(planner: Planner, victim: Source) -> Iterator[ModelSpec]:
    """Models that train the encoder, extracted from the victim and independent ones in turn."""
    zoo = planner.zoo
    for i in range(zoo.encoder_per_role):
        architecture = zoo.encoder_architectures[i % len(zoo.encoder_architectures)]
        attack = planner.attack(i + 1)
        yield planner.extracted(Role.PIRACY, Group.ENCODER, architecture, i, i, *victim, attack)
        yield planner.trained(Role.HOMOLOGOUS, Group.ENCODER, architecture, i, i)


def _cells(planner: Planner, victim: Source) -> Iterator[ModelSpec]:
    """Suspects of every architecture and optimiser, extracted and independent ones in turn."""
    zoo = planner.zoo
    for a, architecture in enumerate(zoo.architectures):
        for o in range(len(zoo.optimisers)):
            for i in range(zoo.suspects_per_cell):
                attack = planner.attack(a + o + i)
                yield planner.extracted(Role.PIRACY, Group.SUSPECT, architecture, o, i, *victim, attack)
                yield planner.trained(Role.HOMOLOGOUS, Group.SUSPECT, architecture, o, i)


def _more_thieves(planner: Planner, victim: Source) -> Iterator[ModelSpec]:
    """Suspects extracted by the further attacks of ``zoo.thieves``."""
    zoo = planner.zoo
    for i, attack in enumerate(zoo.thieves):
        architecture = attack.architecture or zoo.architectures[i % len(zoo.architectures)]
        # The spec states the architecture already: equal models have equal ids.
        attack = dataclasses.replace(attack, architecture="")
        index = MORE_THIEVES + i
        yield planner.extracted(Role.PIRACY, Group.SUSPECT, architecture, i, index, *victim, attack)


def _look_alikes(planner: Planner, strangers: Sequence[ModelSpec]) -> Iterator[ModelSpec]:
    """Innocent suspects, extracted from strangers' models."""
    zoo = planner.zoo
    for v, stranger in enumerate(strangers):
        source = Source(stranger.id, stranger.seed)
        for i in range(zoo.look_alikes_per_victim):
            architecture, attack = zoo.architectures[i % len(zoo.architectures)], planner.attack(v + i)
            yield planner.extracted(Role.LOOK_ALIKE, Group.SUSPECT, architecture, v + i, i, *source, attack)
