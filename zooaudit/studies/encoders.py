"""How the encoder is read and training: where its loss acts, on which architecture's models it learns, from
how many views, and how much of what comes out is luck (section 4.3, tables 2 and 3)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from zooaudit.auditing import steps
from zooaudit.config import EncoderConfig
from zooaudit.studies.bench import Bench
from zooaudit.studies.cohort import Cohort, Scores, Variant
from zooaudit.studies.outcome import Finding, Holds, Outcome, spread
from zooaudit.studies.pictures import COLOURS, MARKERS, panels
from zooaudit.zoo.spec import Role

STARTS = 10
READINGS = ("paper", "paper-b")
FEW, MANY = 20, 200
"""Views that an encoder learns from."""
ALL = 4096
"""A batch that holds every fingerprint."""
HIGH, LOW, AUC = 0.88, 0.11, 0.99
"""The shape of table 2 on Fashion-MNIST: every piracy cell over, every homologous cell under, and the AUC."""


@dataclass(frozen=True)
class Lesson:
    """What one encoder learns from."""

    architecture: str
    views: int
    batch: int

    @property
    def name(self) -> str:
        return f"{self.views} views{', in one batch' if self.batch == ALL else ''}"


def encoders(bench: Bench) -> Outcome:
    """Each reading, trained on 5 + 5 models (as many as there are) of each architecture in
    turn, from several starts."""
    few = bench.cohort
    training = {FEW: few, MANY: _with_more_views(bench, MANY)}
    rows = [row for lesson in lessons(bench) for row in _rows(bench, lesson, training[lesson.views], few)]
    findings = [
        f
        for reading in READINGS
        for f in _findings(bench, reading, [r for r in rows if r["encoder"] == reading])
    ]
    return Outcome(rows, findings, {"encoders.svg": _picture(bench, rows)}, bench.excluded)


def lessons(bench: Bench) -> list[Lesson]:
    """Every architecture from few and from many views; the headline's also in one batch."""
    batch = bench.recipe.paper_encoder.batch_size
    architectures = sorted({s.architecture for s in bench.encoder_models})
    return [Lesson(a, views, batch) for a in architectures for views in (FEW, MANY)] + [
        Lesson(headline(bench), MANY, ALL)
    ]


def headline(bench: Bench) -> str:
    """The architecture that the text names for this data set: the recipe's."""
    named = bench.recipe.paper_encoder.architectures
    return named[0] if named else bench.encoder_models[0].architecture


def _with_more_views(bench: Bench, views: int) -> Cohort:
    """Victim and encoder models, asked so many views: more than there are images in some
    clusters, which then repeat."""
    recipe = replace(
        bench.recipe, fingerprint=replace(bench.recipe.fingerprint, views=views, small_clusters="repeat")
    )
    questions: Tensor = steps.questions(
        bench.uap, steps.points(recipe, bench.victim, bench.dataset, bench.artifacts)
    )
    models = bench.encoder_models
    answers = bench.answers([bench.zoo.plan.victim, *(s.id for s in models)], questions)
    return Cohort(bench.zoo.plan.victim, tuple(models), (), answers, bench.recipe.seed)


def _rows(bench: Bench, lesson: Lesson, training: Cohort, asked: Cohort) -> Iterator[dict[str, Any]]:
    for reading in READINGS:
        config: EncoderConfig = replace(
            bench.recipe.paper_encoder,
            name=reading,
            architectures=(lesson.architecture,),
            batch_size=lesson.batch,
        )
        for start in range(STARTS):
            variant = Variant(config, draw=start)
            encoder = training.encoder(
                replace(variant, views=min(lesson.views, len(training.answers[training.victim])))
            )
            moved = Cohort(asked.victim, (), asked.suspects, asked.answers, asked.seed, {variant: encoder})
            yield {
                "encoder": reading,
                "architecture": lesson.architecture,
                "lesson": lesson.name,
                "start": start,
                **measured(moved.scores(variant), bench),
            }


def measured(scores: Scores, bench: Bench) -> dict[str, float]:
    """Means, the worst cells and AUCs."""
    zoo = bench.recipe.zoo
    cells = {
        role: [
            float(cell.means.mean())
            for a in zoo.architectures
            for o in zoo.optimisers
            if len((cell := scores.of(role).where(architecture=a, optimiser=o)).means)
        ]
        for role in (Role.PIRACY, Role.HOMOLOGOUS)
    }
    found = {str(role): float(scores.of(role).means.mean()) for role in (Role.PIRACY, Role.HOMOLOGOUS)}
    found |= {
        "least_piracy_cell": min(cells[Role.PIRACY]),
        "greatest_homologous_cell": max(cells[Role.HOMOLOGOUS]),
    }
    areas = {"auc": scores.auc(Role.HOMOLOGOUS), "auc_look_alike": scores.auc(Role.LOOK_ALIKE)}
    return found | {k: np.nan if v is None else v for k, v in areas.items()}


def _findings(bench: Bench, reading: str, rows: list[dict[str, Any]]) -> Iterator[Finding]:
    chief, n = (
        headline(bench),
        f"{STARTS} encoders each; {sum(s.role is not Role.LOOK_ALIKE for s in bench.suspects)} suspects",
    )
    for lesson in dict.fromkeys(r["lesson"] for r in rows if r["architecture"] == chief):
        mine = [r for r in rows if (r["architecture"], r["lesson"]) == (chief, lesson)]
        low, high, area = (
            float(np.median([r[k] for r in mine]))
            for k in ("least_piracy_cell", "greatest_homologous_cell", "auc")
        )
        yield Finding(
            f"Piracy models are far more similar than homologous ones in every cell (encoder {reading},"
            f" trained on {chief}, {lesson})",
            "tables 2, 3; section 4.3",
            f"piracy over {HIGH:g}, homologous under {LOW:g}, AUC 1",
            f"least piracy cell {spread([r['least_piracy_cell'] for r in mine])}, greatest homologous cell "
            f"{spread([r['greatest_homologous_cell'] for r in mine])}, AUC"
            f" {spread([r['auc'] for r in mine])}",
            n,
            Holds.of(low > HIGH and high < LOW and area >= AUC, area),
            f"medians over the starts; AUC counted from {AUC:g}",
        )
    by = {
        a: [r["auc"] for r in rows if r["architecture"] == a]
        for a in sorted({r["architecture"] for r in rows})
    }
    best = max(by, key=lambda a: float(np.median(by[a])))
    yield Finding(
        f"The encoder does best when it learns from models of {chief} (encoder {reading})",
        "section 5.1",
        f"e.g. {chief}",
        "; ".join(f"{a}: AUC {spread(v)}" for a, v in by.items()),
        f"{STARTS} encoders of each architecture and number of views",
        Holds.of(best == chief, *(float(np.median(v)) for v in by.values())),
        "by the median AUC over starts and views",
    )


def _picture(bench: Bench, rows: list[dict[str, Any]]) -> bytes:
    architectures = sorted({r["architecture"] for r in rows})

    def paint(axes: Any, what: str) -> None:
        key = {"AUC against homologous": "auc", "piracy": "piracy", "homologous": "homologous"}[what]
        for offset, reading in zip((-0.15, 0.15), READINGS, strict=True):
            for x, architecture in enumerate(architectures):
                values = [
                    r[key] for r in rows if (r["encoder"], r["architecture"]) == (reading, architecture)
                ]
                label = reading if not x else None
                axes.plot(
                    [x + offset] * len(values),
                    values,
                    MARKERS[reading],
                    color=COLOURS[reading],
                    label=label,
                    alpha=0.5,
                    markersize=4,
                )
        axes.set_xticks(
            range(len(architectures)), architectures, rotation=30 if max(map(len, architectures)) > 3 else 0
        )
        axes.set(
            ylim=(-0.03, 1.03), xlabel="learnt from models of", ylabel="similarity" if key != "auc" else "AUC"
        )

    return panels(["AUC against homologous", "piracy", "homologous"], paint)
