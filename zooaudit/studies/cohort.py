"""Raw answers of models whose truth is known, and what any way of fingerprinting them tells. Pure: asks
nobody, trains no zoo model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from zooaudit.config import EncoderConfig, VerdictConfig
from zooaudit.errors import ConfigError, NotEnoughModelsError
from zooaudit.paper.encoder import Encoder
from zooaudit.paper.encoder_training import INDEPENDENT, STOLEN, fit_encoder
from zooaudit.paper.fingerprint import fingerprints
from zooaudit.paper.similarity import similarities
from zooaudit.paper.t_test import mean_p_value
from zooaudit.seeds import derive
from zooaudit.suspects.access import top_k
from zooaudit.verdict.distances import auc
from zooaudit.zoo.spec import ModelSpec, Role


@dataclass(frozen=True)
class Variant:
    """One way to make fingerprints of raw answers and to train an encoder on them: what a
    sweep moves along for free."""

    encoder: EncoderConfig
    points: int | None = None
    """N: that many of the datapoints, drawn at random; None: all."""
    top_k: int | None = None
    """As :func:`~zooaudit.paper.fingerprint.top_k`; None: all classes."""
    views: int | None = None
    """The first so many views, of every model; None: all."""
    draw: int = 0
    """Which start of the encoder and which datapoints; 0 is the audit's own encoder."""

    def shaped(self, answers: Tensor, seed: int) -> Tensor:
        """The part of raw answers ``[views, N, 2, K]`` that this variant looks at.

        Raises:
            ConfigError: it asks for more views or datapoints than there are.
        """
        for name, asked, there in (
            ("views", self.views, answers.shape[0]),
            ("points", self.points, answers.shape[1]),
        ):
            if asked is not None and not 1 <= asked <= there:
                raise ConfigError(f"Variant.{name} is {asked}; the stored answers have 1 to {there}")
        part = answers[: self.views]
        if self.points is not None and self.points < answers.shape[1]:
            generator = torch.Generator().manual_seed(derive(seed, "points", self.draw))
            part = part[:, torch.randperm(answers.shape[1], generator=generator)[: self.points]]
        return part if self.top_k is None else top_k(part, self.top_k)


@dataclass(frozen=True, eq=False)
class Cohort:
    """Models that were asked the same questions.

    Attributes:
        training: encoder models, piracy and homologous.
        suspects: models that the encoder does not see.
        answers: raw answers ``[views, N, 2, K]`` of all of them and of the victim, by id.
    """

    victim: str
    training: tuple[ModelSpec, ...]
    suspects: tuple[ModelSpec, ...]
    answers: Mapping[str, Tensor]
    seed: int
    _encoders: dict[Variant, Encoder] = field(default_factory=dict, repr=False)

    def encoder(self, variant: Variant) -> Encoder:
        """The variant's encoder, trained on the victim's and the encoder models'
        fingerprints; trained once."""
        if variant not in self._encoders:
            models = [
                s
                for s in self.training
                if not variant.encoder.architectures or s.architecture in variant.encoder.architectures
            ]
            _check_both(models)
            labels = [STOLEN, *(STOLEN if s.role is Role.PIRACY else INDEPENDENT for s in models)]
            rows = [self.rows(variant, id_) for id_ in (self.victim, *(s.id for s in models))]
            target = torch.tensor(labels).repeat_interleave(len(rows[0]))
            seed = derive(self.seed, "encoder", *([variant.draw] if variant.draw else []))
            self._encoders[variant] = fit_encoder(torch.cat(rows), target, variant.encoder, seed)
        return self._encoders[variant]

    def rows(self, variant: Variant, id_: str) -> Tensor:
        """One model's fingerprints, float ``[views, 2NK]``."""
        return fingerprints(variant.shaped(self.answers[id_], self.seed))

    def scores(self, variant: Variant, suspects: Iterable[ModelSpec] | None = None) -> "Scores":
        """Similarities of suspects (all of them, unless named) to the victim."""
        encoder, victim = self.encoder(variant), self.rows(variant, self.victim)
        chosen = self.suspects if suspects is None else tuple(suspects)
        return Scores({s: similarities(encoder, self.rows(variant, s.id), victim).numpy() for s in chosen})

    def joined_by(self, suspects: Iterable[ModelSpec], answers: Mapping[str, Tensor]) -> "Cohort":
        """The same encoders, with more suspects."""
        more = tuple(suspects)
        return Cohort(
            self.victim,
            self.training,
            (*self.suspects, *more),
            {**self.answers, **answers},
            self.seed,
            self._encoders,
        )


def _check_both(models: list[ModelSpec]) -> None:
    for role in (Role.PIRACY, Role.HOMOLOGOUS):
        learnt = sum(s.role is role for s in models)
        if learnt < 2:
            raise NotEnoughModelsError(
                f"an encoder needs 2 {role} models at least, {learnt} learnt; raise encoder_per_role"
            )


@dataclass(frozen=True, eq=False)
class Scores:
    """Similarities ``[views]`` in [0, 1] of each suspect to the victim."""

    by_spec: Mapping[ModelSpec, np.ndarray]

    def of(self, role: Role) -> "Scores":
        """Those of one role."""
        return Scores({s: v for s, v in self.by_spec.items() if s.role is role})

    def where(self, **fields: object) -> "Scores":
        """Those whose specs have these values: ``where(architecture="B", optimiser="sgd")``."""
        return Scores(
            {s: v for s, v in self.by_spec.items() if all(getattr(s, k) == f for k, f in fields.items())}
        )

    @property
    def means(self) -> np.ndarray:
        """One score a model: the mean over its views, float ``[models]``."""
        return np.array([v.mean() for v in self.by_spec.values()])

    @property
    def views(self) -> np.ndarray:
        """All views of all models, float ``[models x views]``."""
        return np.concatenate([*self.by_spec.values(), np.empty(0)])

    def auc(self, innocent: Role) -> float | None:
        """Model-level AUC of piracy models against one family of innocent ones; None without either."""
        return auc(self.of(Role.PIRACY).means.tolist(), self.of(innocent).means.tolist())

    @property
    def gap(self) -> float:
        """Mean similarity of piracy models less that of homologous ones."""
        return float(self.of(Role.PIRACY).means.mean() - self.of(Role.HOMOLOGOUS).means.mean())

    def p_values(
        self, config: VerdictConfig, seed: int, role: Role, of_cell: bool = False
    ) -> dict[ModelSpec, float]:
        """The paper's mean p (section 5.2) of each suspect of a role, against the
        homologous suspects but itself: all of them, or those of its architecture and
        optimiser. NaN if there are too few of these for one draw."""
        homologous = self.of(Role.HOMOLOGOUS).by_spec
        if len(homologous) < 2:
            raise NotEnoughModelsError(
                f"{len(homologous)} homologous suspects learnt; a p needs two at least, to compare one with"
                " another"
            )
        found = {}
        for spec, views in self.of(role).by_spec.items():
            peers = [
                v
                for other, v in homologous.items()
                if other.id != spec.id and (not of_cell or _one_cell(other, spec))
            ]
            enough = sum(map(len, peers)) >= config.fingerprints
            found[spec] = (
                mean_p_value(views, np.stack(peers), config, derive(seed, "verdict", spec.id))
                if enough
                else float("nan")
            )
        return found


def _one_cell(a: ModelSpec, b: ModelSpec) -> bool:
    return (a.architecture, a.optimiser) == (b.architecture, b.optimiser)
