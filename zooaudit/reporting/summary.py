"""An audit as strict JSON: what ``zooaudit audit --json`` prints, and the longer
``audit.json`` beside the report."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from zooaudit.auditing.results import Audit, Judgement, Suspect
from zooaudit.reporting import decisions
from zooaudit.reporting.findings import way
from zooaudit.reporting.fitness import finding
from zooaudit.verdict import wording
from zooaudit.zoo.spec import Role


@dataclass(frozen=True)
class RunFacts:
    """What the audit itself does not know about the run that made it.

    Attributes:
        seconds: wall-clock time of the whole run.
        peak_rss_bytes: most memory that the process held.
        versions: of Python and the libraries that the numbers depend on, by name.
        hardware: one line a person can read.
        command: what to type to get the same again.
        finished: when, as ISO 8601; empty if not known.
        phases: seconds of each phase until the report was drawn, by name.
        store: where the run's models and results are.
    """

    seconds: float
    peak_rss_bytes: int
    versions: Mapping[str, str] = field(default_factory=dict)
    hardware: str = ""
    command: str = ""
    finished: str = ""
    phases: Mapping[str, float] = field(default_factory=dict)
    store: str = ""


def summarise(audit: Audit, run: str, facts: RunFacts, report: str) -> dict[str, Any]:
    """The JSON object of an audit.

    ``models.trained`` counts the models this run built and ``models.reused`` those of the plan that the store
    held already; ``models.failed`` counts models of either kind that did not learn.

    Args:
        run: the run's name.
        report: where ``report.html`` is.
    """
    zoo, uap = audit.zoo, audit.uap
    return {
        "run": run,
        "kit": audit.kit_id,
        "seconds": finite(round(facts.seconds, 3)),
        "peak_rss_bytes": facts.peak_rss_bytes,
        "models": {
            "trained": zoo.trained,
            "reused": len(zoo.plan.specs) - zoo.trained,
            "failed": len(zoo.failed),
        },
        "victim": {"accuracy": finite(zoo.records[zoo.plan.victim].accuracy)},
        "uap": {"epsilon": uap.epsilon, "norm": uap.norm, "fooling_rate": finite(uap.fooling_rate)},
        "auc": _auc(audit),
        "level": audit.kit.twin_test.level,
        "twin_test": _twin_test(audit),
        "finding": {"fit": (found := finding(audit)).fit, "text": found.text},
        "called_stolen": {
            str(r): list(audit.called_stolen(r)) for r in (Role.PIRACY, Role.HOMOLOGOUS, Role.LOOK_ALIKE)
        },
        "victim_itself": wording.facts(audit.itself.verdict),
        "verdicts": [_verdict(s) for s in audit.suspects],
        "report": report,
    }


def _auc(judged: Judgement) -> dict[str, float | None]:
    return {
        "homologous": finite(judged.auc(Role.HOMOLOGOUS)),
        "look_alike": finite(judged.auc(Role.LOOK_ALIKE)),
    }


def _called(judged: Judgement) -> dict[str, list[int]]:
    """By role: how many were called piracy, of how many."""
    roles = (Role.PIRACY, Role.HOMOLOGOUS, Role.LOOK_ALIKE)
    return {str(r): [judged.accused(r), len(judged.scores(r))] for r in roles}


def _verdict(suspect: Suspect) -> dict[str, Any]:
    spec, verdict = suspect.spec, suspect.verdict
    return {
        "model": spec.id,
        "role": str(spec.role),
        "architecture": spec.architecture,
        "optimiser": spec.optimiser,
        "attack": spec.extraction.attack if spec.extraction else None,
        "modification": spec.modification.kind if spec.modification else None,
        "way": way(spec),
        "truth": "stolen" if spec.role.stolen else "innocent",
        "decision": str(verdict.decision),
        "similarity": finite(verdict.similarity),
        "p_value": finite(verdict.p_value),
        "twins": wording.facts(suspect.examined.verdict),
        "reference_models": verdict.reference_models,
        "reference_above": verdict.reference_above,
        "reason": verdict.reason,
    }


def _twin_test(audit: Audit) -> dict[str, Any]:
    """What the verdicts rest on; ``accuses_nobody`` says why, where the kit may not accuse."""
    test = audit.kit.twin_test
    return {
        "twins": test.twins,
        "procedure": test.procedure,
        "references": decisions.kinds(test),
        "questions": decisions.questions(test),
        "looks": list(test.looks),
        "accuses_nobody": decisions.accuses_nobody(test) or None,
    }


def detailed(audit: Audit, run: str, facts: RunFacts, report: str) -> dict[str, Any]:
    """``summarise`` and, beside it, what else a reader of the numbers may want: every view's similarity,
    failures, settings, digests.

    ``called`` counts calls by role and way, with 95 % intervals; ``checks`` is what was found out of the kit
    without any suspect; ``log_alone`` how often the victim came first by the query log's images alone;
    ``paper`` what the paper's own encoder makes of the same answers, null if ``encoder`` is that.
    """
    return summarise(audit, run, facts, report) | {
        "called": [asdict(c) for c in decisions.by_way(audit)],
        "checks": [
            {k: v for k, v in row.items() if k != "strip"} for row in decisions.checks(audit.kit.twin_test)
        ],
        "log_alone": [asdict(a) for a in decisions.log_alone(audit)],
        "encoder": audit.recipe.encoder.name,
        "paper": (
            None
            if audit.by_paper is None
            else {"auc": _auc(audit.by_paper), "called_piracy": _called(audit.by_paper)}
        ),
        "suspects": [_detail(audit, s) for s in audit.suspects],
        "failed": [
            {"model": s.id, "role": str(s.role), "reason": audit.zoo.records[s.id].reason}
            for s in audit.zoo.failed
        ],
        "digests": digests(audit),
        "recipe": asdict(audit.recipe),
        "versions": dict(facts.versions),
        "hardware": facts.hardware,
        "command": facts.command,
        "finished": facts.finished,
        "phases": dict(facts.phases),
        "store": facts.store,
    }


def _detail(audit: Audit, suspect: Suspect) -> dict[str, Any]:
    record = audit.zoo.records[suspect.spec.id]
    return {
        "model": suspect.spec.id,
        "parent": suspect.spec.parent,
        "accuracy": finite(record.accuracy),
        "recovery_rate": finite(record.recovery_rate),
        "similarities": [finite(float(s)) for s in suspect.similarities],
    }


def digests(audit: Audit) -> dict[str, str]:
    """The names under which everything that the numbers rest on can be found again."""
    return {
        "dataset": audit.dataset.digest,
        "recipe": audit.recipe.digest,
        "victim": audit.zoo.plan.victim,
        "kit": audit.kit_id,
    }


def finite(value: float | None) -> float | None:
    """The value, or None where JSON has no word for it (NaN, infinity)."""
    return value if value is not None and math.isfinite(value) else None


def to_json(value: dict[str, Any]) -> str:
    """Strict JSON text, indented; raises ValueError rather than write NaN."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
