"""Every study by name."""

from collections.abc import Callable
from dataclasses import dataclass

from zooaudit.errors import ConfigError
from zooaudit.studies import ablations, accuracy, adaptive, borders, bystanders, calibration, perturbations, similarity, thieves, verdict
from zooaudit.studies.bench import Bench
from zooaudit.studies.outcome import Outcome


@dataclass(frozen=True)
class Study:
    """A claim or two of the paper, tried on a zoo.

    Attributes:
        source: where the paper says it.
        builds: whether it needs models that an audit does not build.
    """

    name: str
    title: str
    source: str
    run: Callable[[Bench], Outcome]
    builds: bool = False
    of_paper: bool = True
    """Whether the paper claims something of the kind; what it does not test has no row among what was reproduced."""


STUDIES = {
    s.name: s
    for s in (
        Study("similarity", "Similarity and p by architecture and optimiser", "tables 2, 3", similarity.tables),
        Study("accuracy", "Test accuracies", "table 4", accuracy.accuracies),
        Study("auc", "Telling piracy models from innocent ones", "section 5.3", similarity.ranking),
        Study("subspace", "UAP subspaces", "figure 2", perturbations.uap_subspaces),
        Study("maps", "Maps of raw fingerprints", "figure 3", perturbations.maps),
        Study("cdf", "Distributions of similarities", "figure 5", similarity.distributions),
        Study("datapoints", "Datapoints in a fingerprint", "figure 6a", ablations.datapoints),
        Study("top-k", "Classes that a suspect tells", "figure 6b", ablations.classes_told),
        Study("recovery", "Recovery rate", "figure 6c", thieves.recovery_rates, builds=True),
        Study("uap-or-lap", "Universal or local perturbations", "figure 7", perturbations.universal_or_local),
        Study("modifications", "Modified piracy models", "figure 8", thieves.modifications, builds=True),
        Study("border", "Confidence on border points", "figure 9", borders.border_confidence),
        Study("views", "Views and models of one label", "figure 10", ablations.views_alike),
        Study("autoencoder", "Without the contrastive loss", "figure 11", ablations.no_contrastive_loss),
        Study("overlap", "Overlap of training data", "figure 12", bystanders.overlap, builds=True),
        Study("transfer", "The encoder on another victim", "figure 13", bystanders.transfer),
        Study("ipguard", "IPGuard", "section 5.4", borders.ipguard),
        Study("verdict", "Every method against every family of innocents", "ours", verdict.verdict, builds=True, of_paper=False),
        Study(
            "calibration", "Verdicts with a known rate of false accusations", "ours", calibration.calibration, builds=True, of_paper=False
        ),
        Study("adaptive", "Thieves who know of the audit", "ours", adaptive.adaptive, builds=True, of_paper=False),
        Study("detection", "Fingerprints that a decision takes", "section 5.2", ablations.fingerprints_needed),
    )
}


def get_study(name: str) -> Study:
    """Look a study up; ConfigError with the known names if there is none."""
    if name not in STUDIES:
        raise ConfigError(f"unknown study {name!r}; known studies: {', '.join(STUDIES)}")
    return STUDIES[name]
