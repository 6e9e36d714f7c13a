"""Set a sweep up: the answers it reads, and the models that an axis needs beside the audit's."""

from collections.abc import Mapping
from dataclasses import dataclass

from zooaudit.config import Modification, ModifyConfig
from zooaudit.errors import ConfigError
from zooaudit.studies import bystanders, modifications, thieves
from zooaudit.studies.bench import Bench
from zooaudit.sweep.evaluate import Field, chosen_suspects
from zooaudit.sweep.space import AXES, Space, Trial, Value
from zooaudit.zoo.spec import ModelSpec
from zooaudit.zoo.variants import hardened, modified

Chain = list[ModelSpec]
"""A model to be measured, last, and before it those that it is made from and that an audit does not build."""


@dataclass(frozen=True, eq=False)
class LineUp:
    """Who takes part in a sweep, before anybody's answers are read.

    Attributes:
        suspects: the audit's own.
        stand_ins: by value of the axis that chooses suspects, the models that take the
            place of those of their role.
    """

    bench: Bench
    suspects: tuple[ModelSpec, ...]
    stand_ins: Mapping[Value, tuple[ModelSpec, ...]]

    def of(self, trial: Trial) -> list[ModelSpec]:
        """The suspects of a trial."""
        return chosen_suspects(trial, self.suspects, self.stand_ins)

    def field(self) -> Field:
        """Everybody's answers, asked if the store does not hold them."""
        more = list(dict.fromkeys(s for specs in self.stand_ins.values() for s in specs))
        return Field(
            self.bench.with_suspects(more), self.bench.encoders, self.bench.recipe.encoder, self.stand_ins
        )


def line_up(space: Space, bench: Bench) -> LineUp:
    """Choose a sweep's suspects; models that the store lacks are built first, if the bench may.

    Raises:
        ConfigError: more datapoints or views than the recipe has.
        NotEnoughModelsError: models are missing and the bench may not build them.
    """
    for axis, there in (
        ("points", bench.recipe.fingerprint.points),
        ("views", bench.recipe.fingerprint.views),
    ):
        if (asked := max((int(v) for v in space.axes.get(axis, ())), default=0)) > there:
            raise ConfigError(f"{axis}={asked}; recipe {bench.recipe.name} has answers to {there}")
    suspects = tuple(bench.suspects)
    choosing = next((name for name in space.axes if AXES[name].models), None)
    if choosing is None:
        return LineUp(bench, suspects, {})
    chains = {value: _chains(choosing, value, bench) for value in space.axes[choosing]}
    learnt = bench.built(
        list(dict.fromkeys(s for found in chains.values() for chain in found for s in chain))
    )
    return LineUp(
        bench,
        suspects,
        {value: tuple(c[-1] for c in found if c[-1] in learnt) for value, found in chains.items()},
    )


def _chains(axis: str, value: Value, bench: Bench) -> list[Chain]:
    if axis == "overlap":
        return [[s] for s in bystanders.overlapping_models(bench, [float(value)])]
    if axis == "seed_share":
        return [[s] for s in thieves.poor_models(bench, [float(value)])]
    kind, _, strength = str(value).partition(":")
    return [_modified(base, kind, float(strength)) for base in modifications.bases(bench)]  # type: ignore[arg-type]  # parsed from MODIFICATIONS


def _modified(base: ModelSpec, kind: Modification, strength: float) -> Chain:
    if kind == "adversarial":
        stages = [*(i for i in thieves.ITERATIONS if i < strength), int(strength)]
        return hardened(base, stages, thieves.ADVERSARIAL)
    return [modified(base, ModifyConfig(kind, strength))]
