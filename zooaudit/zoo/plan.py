"""From a recipe to the ordered list of models to train. Pure: no data, no training, no store."""

import dataclasses
from dataclasses import dataclass

from zooaudit.config import OwnTraining, ZooConfig
from zooaudit.zoo.planner import Planner
from zooaudit.zoo.shape import ModelShape
from zooaudit.zoo.spec import Group, ModelSpec, Role

MORE_THIEVES = 10_000
"""From this index on, other seeds than those of the suspects in cells."""


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
    """Plan the zoo of paper section 5.1, with look-alike negatives, the victim's twins and
    references beside it.

    Args:
        zoo: how many models of which kind.
        data: digest of the dataset.
        shape: what every model takes and gives.
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
    victim_id = own_victim or victims[0].id
    victim_seed = None if own_victim else victims[0].seed
    twins = planner.twins(victims[0]) if victims else planner.own_twins(own_training) if own_training else []
    specs = [*victims, *twins, *strangers, *planner.references()]
    for i in range(zoo.encoder_per_role):
        architecture = zoo.encoder_architectures[i % len(zoo.encoder_architectures)]
        specs.append(
            planner.extracted(
                Role.PIRACY, Group.ENCODER, architecture, i, i, victim_id, victim_seed, planner.attack(i + 1)
            )
        )
        specs.append(planner.trained(Role.HOMOLOGOUS, Group.ENCODER, architecture, i, i))
    for a, architecture in enumerate(zoo.architectures):
        for o in range(len(zoo.optimisers)):
            for i in range(zoo.suspects_per_cell):
                attack = planner.attack(a + o + i)
                specs.append(
                    planner.extracted(
                        Role.PIRACY, Group.SUSPECT, architecture, o, i, victim_id, victim_seed, attack
                    )
                )
                specs.append(planner.trained(Role.HOMOLOGOUS, Group.SUSPECT, architecture, o, i))
    for i, attack in enumerate(zoo.thieves):
        architecture = attack.architecture or zoo.architectures[i % len(zoo.architectures)]
        # The spec says it already: equal models have equal ids.
        attack = dataclasses.replace(attack, architecture="")
        specs.append(
            planner.extracted(
                Role.PIRACY, Group.SUSPECT, architecture, i, MORE_THIEVES + i, victim_id, victim_seed, attack
            )
        )
    for v, stranger in enumerate(strangers):
        for i in range(zoo.look_alikes_per_victim):
            architecture = zoo.architectures[i % len(zoo.architectures)]
            attack = planner.attack(v + i)
            specs.append(
                planner.extracted(
                    Role.LOOK_ALIKE, Group.SUSPECT, architecture, v + i, i, stranger.id, stranger.seed, attack
                )
            )
    specs += planner.taken(victims[0]) if victims else []
    return Plan(victim_id, tuple(specs))
