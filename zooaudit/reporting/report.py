"""Write an audit's report: one self-contained page, the same numbers as JSON, and two tables."""

from collections import Counter
from pathlib import Path
from typing import Any

from zooaudit.auditing.results import Audit, Judgement
from zooaudit.errors import StoreError
from zooaudit.reporting import decisions, findings, pictures, plots, projection
from zooaudit.reporting.canvas import FAMILIES, LOOKS
from zooaudit.reporting.fitness import finding
from zooaudit.reporting.pages import environment, put
from zooaudit.reporting.paper_numbers import PAPER
from zooaudit.reporting.summary import RunFacts, detailed, digests, to_json
from zooaudit.reporting.tables import model_rows, models_table, scores_table
from zooaudit.storage.encoding import table_to_bytes
from zooaudit.verdict import wording
from zooaudit.zoo.spec import Role

REPORT = "report.html"


def write_report(audit: Audit, run: str, facts: RunFacts, out: Path) -> Path:
    """Write ``report.html``, ``audit.json``, ``models.parquet`` and ``scores.parquet`` into
    ``out``, and return the page's path.

    Everything is made before anything is written, each file appears under its name only when it is whole, and
    the page comes last: where it is, the rest is too.

    Args:
        run: the run's name.
        facts: of the run that the audit itself does not know.
        out: folder, made if it is not there; files of an earlier report are replaced.

    Raises:
        StoreError: ``out`` cannot be written.
    """
    page = out / REPORT
    contents = {
        "audit.json": to_json(detailed(audit, run, facts, str(page))).encode(),
        "models.parquet": table_to_bytes(models_table(audit)),
        "scores.parquet": table_to_bytes(scores_table(audit)),
        REPORT: render(audit, run, facts).encode(),
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            put(out / name, content)
    except OSError as error:
        raise StoreError(
            f"report folder {out} cannot be written: {error.strerror}; choose another, or free some space"
        ) from error
    return page


def render(audit: Audit, run: str, facts: RunFacts) -> str:
    """The page as HTML. Names of classes, files and machines are escaped."""
    return (
        environment()
        .get_template("report.html.j2")
        .render(run=run, facts=facts, **_values(audit), **_images(audit))
    )


def _values(audit: Audit) -> dict[str, Any]:
    """The page's numbers and rows."""
    piracy, homologous, look_alikes = (findings.family(audit, role) for role in FAMILIES)
    wrong = [s for s in audit.suspects if findings.outcome(s) is findings.Outcome.ACCUSED]
    return {
        "audit": audit,
        "victim": audit.zoo.records[audit.zoo.plan.victim],
        "piracy": piracy,
        "homologous": homologous,
        "look_alikes": look_alikes,
        "calls": _calls(audit),
        "finding": finding(audit),
        "accused": piracy.accused + homologous.accused + look_alikes.accused,
        "wrongly_accused": len(wrong),
        "auc_homologous": audit.auc(Role.HOMOLOGOUS),
        "auc_look_alike": audit.auc(Role.LOOK_ALIKE),
        "by_paper": _by_paper(audit.by_paper),
        "references": len(audit.kit.reference_ids),
        "smallest_p": min(s.verdict.p_value for s in audit.suspects),
        "smallest_wrong_p": min((s.verdict.p_value for s in wrong), default=None),
        "rows": findings.verdict_rows(audit),
        "models_listed": model_rows(audit),
        "failed_by_role": Counter(str(s.role) for s in audit.zoo.failed),
        "accuracies": findings.accuracy_rows(audit),
        "paper": PAPER,
        "settings": findings.settings(audit.recipe),
        "digests": digests(audit),
        "glyphs": {str(role): look.glyph for role, look in LOOKS.items()},
    }


def _calls(audit: Audit) -> dict[str, Any]:
    """The twin test: what it rests on, and its verdicts."""
    families = zip(
        ("piracy", "homologous", "look_alikes"),
        (decisions.called(audit, role) for role in FAMILIES),
        strict=True,
    )
    test, rows = audit.kit.twin_test, decisions.call_rows(audit)
    return dict(families) | {
        "rows": rows,
        "wrong": sum(r.outcome.wrong for r in rows),
        "by_way": decisions.by_way(audit),
        "picture": decisions.picture(audit),
        "nobody": decisions.accuses_nobody(test),
        "frequency": wording.in_cases(test.level),
        "weak": test.level > wording.WEAK_ABOVE,
        "promise": wording.promise(audit.itself.verdict),
        "standing": wording.standing(audit.itself.verdict) if audit.itself.verdict.rank is not None else "",
        "cautions": decisions.shared_cautions(audit),
        "checks": decisions.checks(test),
        "kinds": decisions.kinds(test),
        "questions": decisions.questions(test),
        "log_alone": decisions.log_alone(audit),
    }


def _by_paper(judged: Judgement | None) -> dict[str, Any] | None:
    """What the paper's own encoder makes of the same answers."""
    if judged is None:
        return None
    families = dict(
        zip(
            ("piracy", "homologous", "look_alikes"),
            (findings.family(judged, role) for role in FAMILIES),
            strict=True,
        )
    )
    return families | {
        "auc_homologous": judged.auc(Role.HOMOLOGOUS),
        "auc_look_alike": judged.auc(Role.LOOK_ALIKE),
    }


def _images(audit: Audit) -> dict[str, Any]:
    """The page's pictures, as data URIs, with their alternative texts."""
    classes = audit.dataset.classes
    return {
        "cdfs": [
            (plots.similarity_cdf(audit, a), findings.cdf_alt(audit, a))
            for a in plots.suspect_architectures(audit)
        ],
        "strip": (plots.similarity_strip(audit), findings.strip_alt(audit)),
        "roc": (plots.roc_curves(audit), findings.roc_alt(audit)),
        "scatter": plots.accuracy_scatter(audit),
        "raw_map": projection.raw_map(audit),
        "embedded_map": projection.embedded_map(audit),
        "views_mapped": projection.views_drawn(audit),
        "uap_picture": pictures.uap_picture(audit.uap.v),
        "effect": pictures.effect(audit.kit, classes),
        "examples": pictures.examples(audit.kit, classes),
    }
