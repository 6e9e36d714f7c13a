"""Every study by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from zooaudit.errors import ConfigError
from zooaudit.studies import (
    ablations,
    accuracy,
    borders,
    bystanders,
    disguises,
    distributions,
    encoders,
    extractions,
    modifications,
    own_defence,
    perturbations,
    power,
    qurd,
    rivals,
    similarity,
    strengths,
    subspaces,
    thieves,
    under_twins,
    validity,
    views,
)
from zooaudit.studies.bench import Bench
from zooaudit.studies.contest import Load
from zooaudit.studies.outcome import Outcome
from zooaudit.studies.owners import Owner


@dataclass(frozen=True)
class Study:
    """A claim or two of the paper, tried on a zoo.

    Attributes:
        source: where the paper says it.
        builds: whether it needs models that an audit does not build.
        version: raise it when the study counts something else: outcomes that are kept are then made again.
    """

    name: str
    title: str
    source: str
    run: Callable[[Bench], Outcome]
    builds: bool = False
    version: int = 1


@dataclass(frozen=True)
class ModelsStudy:
    """A study of the twin test on models that somebody else trained.

    Attributes:
        rows: what comes of one owner's models; kept, so that a study goes on where it stopped.
        outcome: what all owners' rows say.
    """

    name: str
    title: str
    rows: Callable[[Owner, Load | None], list[dict[str, Any]]]
    outcome: Callable[[Sequence[dict[str, Any]]], Outcome]
    source: str = "ours"
    loads: bool = False
    """Whether it asks models about new images, and so needs a function that loads them."""
    trained: bool = False
    """Whether it uses images of owners' training sets, where there are any."""
    downloads: bool = False
    """Whether it is also tried on models that were published, in a folder of ``--data``."""
    version: int = 1
    """As of ``Study``."""


STUDIES = {
    s.name: s
    for s in (
        Study(
            "similarity", "Similarity and p by architecture and optimiser", "tables 2, 3", similarity.tables
        ),
        Study(
            "encoders",
            "Two readings of the encoder, and what each learns from",
            "section 4.3",
            encoders.encoders,
        ),
        Study("accuracy", "Test accuracies", "table 4", accuracy.accuracies),
        Study("extractions", "Extracted in other ways", "table 4", extractions.extractions, builds=True),
        Study("auc", "Telling piracy models from innocent ones", "section 5.3", similarity.ranking),
        Study("subspace", "UAP subspaces", "figure 2", subspaces.uap_subspaces),
        Study("strengths", "UAPs of other radii", "section 3.1", strengths.strengths),
        Study("maps", "Maps of raw fingerprints", "figure 3", perturbations.maps),
        Study("cdf", "Distributions of similarities", "figure 5", distributions.distributions),
        Study("datapoints", "Datapoints in a fingerprint", "figure 6a", ablations.datapoints),
        Study("top-k", "Classes that a suspect tells", "figure 6b", ablations.classes_told),
        Study("recovery", "Recovery rate", "figure 6c", thieves.recovery_rates, builds=True),
        Study("uap-or-lap", "Universal or local perturbations", "figure 7", perturbations.universal_or_local),
        Study(
            "modifications", "Modified piracy models", "figure 8", modifications.modifications, builds=True
        ),
        Study("border", "Confidence on border points", "figure 9", borders.border_confidence),
        Study("views", "Views and models of one label", "figure 10", views.views_alike),
        Study("autoencoder", "Without the contrastive loss", "figure 11", ablations.no_contrastive_loss),
        Study("overlap", "Overlap of training data", "figure 12", bystanders.overlap, builds=True),
        Study("transfer", "The encoder on another victim", "figure 13", bystanders.transfer),
        Study("ipguard", "IPGuard", "section 5.4", borders.ipguard),
        Study(
            "detection", "Fingerprints that a decision takes", "section 5.2", ablations.fingerprints_needed
        ),
        Study("under-twins", "The paper's measures under the twin test", "ours", under_twins.under_twins),
    )
}


ON_MODELS = {
    s.name: s
    for s in (
        ModelsStudy(
            "validity",
            "Innocents that the twin test accuses",
            lambda owner, load: validity.rows(owner),
            validity.outcome,
        ),
        ModelsStudy(
            "power",
            "Thieves that the twin test finds",
            lambda owner, load: power.rows_of(owner),
            power.outcome,
        ),
        ModelsStudy(
            "own-defence",
            "Thieves who asked a victim that defends itself",
            lambda owner, load: own_defence.rows(owner),
            own_defence.outcome,
        ),
        ModelsStudy(
            "disguises",
            "Thieves who change questions and answers on the way",
            disguises.rows,
            disguises.outcome,
            loads=True,
        ),
        ModelsStudy(
            "baselines",
            "Other methods under the twin test",
            rivals.rows,
            rivals.outcome,
            loads=True,
            trained=True,
        ),
        ModelsStudy(
            "qurd",
            "QuRD's protocol: raw scores of pairs",
            qurd.rows,
            qurd.outcome,
            loads=True,
            downloads=True,
        ),
    )
}


def get_study(name: str) -> Study | ModelsStudy:
    """Look a study up; ConfigError with the known names if there is none."""
    found = STUDIES.get(name) or ON_MODELS.get(name)
    if found is None:
        raise ConfigError(f"unknown study {name!r}; known studies: {', '.join((*STUDIES, *ON_MODELS))}")
    return found
