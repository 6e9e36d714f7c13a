"""One trial: which suspects, fingerprinted how, and how well piracy models stand out. Pure:
asks nobody and trains no zoo model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from zooaudit.config import EncoderConfig
from zooaudit.errors import NotEnoughModelsError
from zooaudit.studies.cohort import Cohort, Variant
from zooaudit.sweep.space import AXES, Trial, Value
from zooaudit.zoo.spec import Group, ModelSpec, Role

METRICS = ("auc", "auc_look_alike", "gap", "piracy", "homologous")
"""What a sweep may be judged by: AUC against homologous models or look-alikes, the difference of mean
similarities, and these."""


@dataclass(frozen=True, eq=False)
class Field:
    """All suspects of a sweep with their answers.

    Attributes:
        cohort: the audit's, joined by the models that only the sweep needs.
        encoders: by name, ``paper`` as the recipe has it for the paper's own, among others.
        encoder: used where a trial does not say.
        stand_ins: by value of the axis that chooses suspects, those that stand in for the
            audit's own of their role.
    """

    cohort: Cohort
    encoders: Mapping[str, EncoderConfig]
    encoder: EncoderConfig
    stand_ins: Mapping[Value, tuple[ModelSpec, ...]]

    def suspects(self, trial: Trial) -> list[ModelSpec]:
        """Who takes part in a trial."""
        own = [s for s in self.cohort.suspects if s.group is Group.SUSPECT]
        return chosen_suspects(trial, own, self.stand_ins)

    def variant(self, trial: Trial) -> Variant:
        """How a trial makes fingerprints."""
        config = self._encoder(str(trial["encoder"])) if "encoder" in trial else self.encoder
        if "temperature" in trial:
            config = replace(config, temperature=float(trial["temperature"]))
        top_k = trial.get("top_k", "all")
        return Variant(
            config,
            points=_whole(trial.get("points")),
            top_k=None if top_k == "all" else int(top_k),
            views=_whole(trial.get("views")),
            draw=int(trial.get("draw", 0)),
        )

    def _encoder(self, name: str) -> EncoderConfig:
        """The recipe's encoder of that name; another one learns from what the paper's own
        learns from, as in the studies."""
        return self.encoders.get(name) or replace(self.encoders["paper"], name=name)


def chosen_suspects(
    trial: Trial, own: Sequence[ModelSpec], stand_ins: Mapping[Value, tuple[ModelSpec, ...]]
) -> list[ModelSpec]:
    """The audit's ``own`` suspects, but those of a role whose place others take in this trial."""
    chosen = [value for name, value in trial.items() if AXES[name].models]
    others = stand_ins[chosen[0]] if chosen else ()
    return [*(s for s in own if s.role not in {o.role for o in others}), *others]


def _whole(value: Value | None) -> int | None:
    return None if value is None else int(value)


def evaluate(field: Field, trial: Trial) -> dict[str, Any]:
    """What a trial finds: the metrics, and how many models they rest on.

    Raises:
        ConfigError: the stored answers have fewer datapoints or views than the trial asks for.
        NotEnoughModelsError: no suspect learnt that the trial is about.
    """
    suspects = field.suspects(trial)
    stolen, innocent = (sum(s.role is role for s in suspects) for role in (Role.PIRACY, Role.HOMOLOGOUS))
    if not stolen or not innocent:
        raise NotEnoughModelsError(
            f"trial {trial}: {stolen} piracy and {innocent} homologous models learnt; expected at least one"
            " of each"
        )
    scores = field.cohort.scores(field.variant(trial), suspects)
    return {
        "auc": scores.auc(Role.HOMOLOGOUS),
        "auc_look_alike": scores.auc(Role.LOOK_ALIKE),
        "gap": scores.gap,
        "piracy": float(scores.of(Role.PIRACY).means.mean()),
        "homologous": float(scores.of(Role.HOMOLOGOUS).means.mean()),
        "piracy_models": stolen,
        "homologous_models": innocent,
    }
