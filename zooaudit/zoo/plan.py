"""From a recipe to the ordered list of models to train. Pure: no data, no training, no store."""

import dataclasses
from dataclasses import dataclass

from zooaudit.config import ZooConfig
from zooaudit.errors import ConfigError
from zooaudit.seeds import derive
from zooaudit.zoo.arch import KNOWN
from zooaudit.zoo.shape import ModelShape
from zooaudit.zoo.spec import Group, ModelSpec, Role
from zooaudit.zoo.variants import modified
from zooaudit.zoo.vision_nets import VISION_NETS, check_net


@dataclass(frozen=True)
class Plan:
    """Every model of one audit. ``victim`` is the id of the model to defend; its spec is absent if it is the user's own."""

    victim: str
    specs: tuple[ModelSpec, ...]

    def of(self, role: Role, group: Group | None = None) -> list[ModelSpec]:
        """The specs of a role, in plan order; of one group only, if given."""
        return [s for s in self.specs if s.role is role and group in (None, s.group)]


def plan_zoo(zoo: ZooConfig, data: str, shape: ModelShape, seed: int, own_victim: str | None = None) -> Plan:
    """Plan the zoo of paper section 5.1, with look-alike negatives beside it.

    Args:
        zoo: how many models of which kind.
        data: digest of the dataset.
        shape: what every model takes and gives.
        seed: the recipe's.
        own_victim: id of the user's own victim; without one, a victim is trained.
    """
    planner = _Planner(zoo, data, shape, seed)
    victims = [] if own_victim else [planner.trained(Role.VICTIM, Group.SOURCE, zoo.victim_architecture, 0, 0)]
    strangers = [planner.trained(Role.OTHER_VICTIM, Group.SOURCE, zoo.victim_architecture, 0, i) for i in range(zoo.other_victims)]
    victim_id = own_victim or victims[0].id
    victim_seed = None if own_victim else victims[0].seed
    specs = [*victims, *strangers]
    for i in range(zoo.encoder_per_role):
        architecture = zoo.encoder_architectures[i % len(zoo.encoder_architectures)]
        specs.append(planner.extracted(Role.PIRACY, Group.ENCODER, architecture, i, i, victim_id, victim_seed, i + 1))
        specs.append(planner.trained(Role.HOMOLOGOUS, Group.ENCODER, architecture, i, i))
    homologous = [s for s in specs if s.role is Role.HOMOLOGOUS]
    specs += [_hardened(base, zoo) for base in homologous[::-1][: zoo.hardened]]  # of the last architectures: docs/log.md
    for a, architecture in enumerate(zoo.architectures):
        for o in range(len(zoo.optimisers)):
            for i in range(zoo.suspects_per_cell):
                turn = a + o + i
                specs.append(planner.extracted(Role.PIRACY, Group.SUSPECT, architecture, o, i, victim_id, victim_seed, turn))
                specs.append(planner.trained(Role.HOMOLOGOUS, Group.SUSPECT, architecture, o, i))
    for v, stranger in enumerate(strangers):
        for i in range(zoo.look_alikes_per_victim):
            architecture = zoo.architectures[i % len(zoo.architectures)]
            specs.append(planner.extracted(Role.LOOK_ALIKE, Group.SUSPECT, architecture, v + i, i, stranger.id, stranger.seed, v + i))
    return Plan(victim_id, tuple(specs))


def _hardened(base: ModelSpec, zoo: ZooConfig) -> ModelSpec:
    """``base`` after adversarial training; one that no longer does its task teaches nothing."""
    return dataclasses.replace(modified(base, zoo.hardening), group=Group.PROBE, floor=zoo.accuracy_floor)


@dataclass(frozen=True)
class _Planner:
    zoo: ZooConfig
    data: str
    shape: ModelShape
    seed: int

    def __post_init__(self) -> None:
        named = {self.zoo.victim_architecture, *self.zoo.encoder_architectures, *self.zoo.architectures}
        if unknown := sorted(named - set(KNOWN)):
            raise ConfigError(f"unknown architecture {unknown[0]!r}; known: {', '.join(KNOWN)}")
        for name in sorted(named & VISION_NETS.keys()):
            check_net(name, self.shape)

    def trained(self, role: Role, group: Group, architecture: str, optimiser: int, index: int) -> ModelSpec:
        name = self.zoo.optimisers[optimiser % len(self.zoo.optimisers)]
        seed = derive(self.seed, role, group, architecture, name, index)
        sizes = self.zoo.batch_sizes
        return ModelSpec(
            role=role,
            group=group,
            architecture=architecture,
            optimiser=name,
            batch_size=sizes[derive(seed, "batch-size") % len(sizes)],
            data=self.data,
            data_fraction=self.zoo.data_fraction,
            seed=seed,
            training=self.zoo.training_of(architecture),
            shape=self.shape,
            floor=self.zoo.accuracy_floor,
        )

    def extracted(
        self, role: Role, group: Group, architecture: str, optimiser: int, index: int,
        parent: str, parent_seed: int | None, turn: int = 0,
    ) -> ModelSpec:  # fmt: skip
        """As ``trained``, by attack: the second one on every third ``turn``, if there is one."""
        second = self.zoo.second_attack
        attack = second if second and turn % 3 == 2 else self.zoo.extraction
        spec = self.trained(role, group, architecture, optimiser, index)
        return dataclasses.replace(
            spec,
            seed=derive(spec.seed, parent),
            training=spec.training if attack.augment else dataclasses.replace(spec.training, mirror=False, shift=0),
            extraction=attack,
            parent=parent,
            parent_split_seed=parent_seed,
            floor=self.zoo.recovery_floor,
        )
