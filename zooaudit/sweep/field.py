"""Set a sweep up: the answers it reads, and the models that an axis needs beside the audit's."""

from zooaudit.config import Modification, ModifyConfig
from zooaudit.studies import bystanders, thieves
from zooaudit.studies.bench import Bench
from zooaudit.sweep.space import AXES, Space, Value
from zooaudit.sweep.trial import Field
from zooaudit.zoo.spec import ModelSpec
from zooaudit.zoo.variants import hardened, modified

STAGE = 30
"""Iterations of adversarial training from one stored stage to the next: those of the study, so that they share models."""
Chain = list[ModelSpec]
"""A model to be measured, last, and before it those that it is made from and that an audit does not build."""


def set_up(space: Space, bench: Bench) -> Field:
    """All suspects of a sweep, asked: built first, if the bench may and the store lacks some.

    Raises:
        NotEnoughModelsError: models are missing and the bench may not build them.
    """
    encoder = bench.recipe.encoder
    choosing = next((name for name in space.axes if AXES[name].models), None)
    if choosing is None:
        return Field(bench.cohort, encoder, {})
    chains = {value: _chains(choosing, value, bench) for value in space.axes[choosing]}
    learnt = bench.built(list(dict.fromkeys(s for found in chains.values() for chain in found for s in chain)))
    stand_ins = {value: tuple(chain[-1] for chain in found if chain[-1] in learnt) for value, found in chains.items()}
    cohort = bench.with_suspects(list(dict.fromkeys(s for specs in stand_ins.values() for s in specs)))
    return Field(cohort, encoder, stand_ins)


def _chains(axis: str, value: Value, bench: Bench) -> list[Chain]:
    if axis == "overlap":
        return [[s] for s in bystanders.overlapping_models(bench, [float(value)])]
    if axis == "recovery":
        return [[s] for s in thieves.poor_models(bench, [float(value)])]
    kind, _, strength = str(value).partition(":")
    return [_modified(base, kind, float(strength)) for base in thieves.bases(bench)]  # type: ignore[arg-type]  # parsed from MODIFICATIONS


def _modified(base: ModelSpec, kind: Modification, strength: float) -> Chain:
    if kind == "adversarial":
        stages = [*range(STAGE, int(strength), STAGE), int(strength)]
        return hardened(base, stages, thieves.ADVERSARIAL)
    lr = thieves.FINE_TUNED.lr if kind == "fine-tune" else ModifyConfig.lr
    return [modified(base, ModifyConfig(kind, strength, lr=lr))]
