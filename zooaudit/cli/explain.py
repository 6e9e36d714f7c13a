"""The subcommand ``explain``: show why a piece of evidence got its decision, in the terminal, as JSON, or as
a page."""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np
import torch

from zooaudit.errors import ConfigError, DamagedArtifactError
from zooaudit.evidence.checks import as_one_of
from zooaudit.evidence.packs import Opened
from zooaudit.evidence.records import ANSWERS, KIND, Together, schema
from zooaudit.kits.kit import find_kit, read_kit
from zooaudit.outputs import check_folder
from zooaudit.reporting.explained import Explanation, Look, Placed, Question, Said, explained, plain
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.opening import existing_store
from zooaudit.suspects.access import Access
from zooaudit.verdict import wording

HALF = 24
"""Characters of a bar on either side of 0."""
MOST_ID = 44


def explain(args: argparse.Namespace, out: TextIO) -> int:
    """Explain the verdict of a piece of evidence: the victim among its twins, and the
    questions that weighed most."""
    if args.questions < 1:
        raise ConfigError(f"--questions {args.questions}; expected 1 or more")
    if args.out:
        check_folder(Path(args.out).parent)
    opened = _opened(existing_store(args.store), args.evidence)
    found = _explained(opened, args.questions)
    result = opened.identity
    page = _page(opened, found, result, Path(args.out)) if args.out else None
    if args.json:
        print(json.dumps(result | plain(found) | {"page": page and str(page)}, allow_nan=False), file=out)
        return 0
    if result["trial"]:
        print(result["trial"], file=out)
    for line in lines(found, result["suspect"], result["kit"], result["victim"]):
        print(line, file=out)
    for name in ("kit_sha256", "answers_sha256"):
        print(f"{name} {result[name]}", file=out)
    if page:
        print(f"page {page}", file=out)
    return 0


def _opened(artifacts: Artifacts, id_: str) -> Opened:
    """Open evidence by its id, or the start of it, and the kit that it rests on.

    Raises:
        UnknownNameError: no evidence, or more than one, has that id; or the store lacks its kit.
        DamagedArtifactError: the evidence does not match its manifest.
    """
    evidence = artifacts.named(KIND, id_, "'zooaudit score'")
    meta = evidence.meta
    if "columns" not in meta:
        raise DamagedArtifactError(
            f"evidence {evidence.id} was made by a version before the twin test; score the suspect again"
        )
    kit = find_kit(artifacts, meta["kit"])
    rows = evidence.table(ANSWERS, schema(meta["columns"])).column("probabilities").combine_chunks()
    answers = torch.from_numpy(np.asarray(rows.flatten()).copy()).view(-1, meta["columns"])
    return Opened(evidence, kit, read_kit(kit), answers, Together(**meta["together"]))


def _explained(opened: Opened, questions: int) -> Explanation:
    meta, test = opened.evidence.meta, opened.kit.twin_test
    access = Access.named(meta["read_as"])
    again = test.judge(opened.answers, meta["level"], access, meta["p_value"], meta["horizon"])
    verdict, together = as_one_of(opened, again.verdict), len(opened.together.p_values)
    return explained(test, opened.answers, access, verdict, opened.kit.classes, questions, together)


def _page(opened: Opened, found: Explanation, data: dict[str, str], out: Path) -> Path:
    from zooaudit.reporting.explained_page import answered, write_page

    return write_page(
        opened.kit.twin_test, found, data, out, answered(opened.evidence.meta.get("answered", {}))
    )


def lines(found: Explanation, suspect: str, kit: str, victim: str) -> list[str]:
    """Format an explanation for the terminal."""
    rows = [
        f"suspect {suspect}; kit {kit}, victim {victim}",
        *wording.lines(found.verdict),
        f"decided by {', '.join(found.decided_by)}",
    ]
    if found.candidates:
        rows += [
            "",
            (
                f"statistic of each candidate, in standard deviations of all {len(found.candidates)}; * is"
                " the victim"
            ),
        ]
        rows += _bars(found.candidates)
        rows += ["", "looks:", *(f"  after {_look(look)}" for look in found.looks)]
    if found.questions:
        rows += [
            "",
            (
                f"the {len(found.questions)} questions that weighed most, in percent of what all questions"
                " weigh; + speaks for the victim, - against it; all in all they speak"
                f" {'for' if found.leads else 'against'} it:"
            ),
        ]
        rows += [line for question in found.questions for line in _question(question)]
    return [
        *rows,
        "",
        "not said:",
        *(f"  {line}" for line in found.abstained),
        "",
        wording.promise(found.verdict),
    ]


def _look(look: Look) -> str:
    return f"{look.queries} questions: victim {look.victim:.2f}, best twin {look.best:.2f} ({look.best_twin})"


def _bars(candidates: Sequence[Placed]) -> Iterator[str]:
    """A line for each candidate: its id, its statistic, and a bar from 0 to it."""
    width = min(max(len(c.id) for c in candidates), MOST_ID)
    longest = max(max(abs(c.statistic) for c in candidates), 1e-12)
    left = round(HALF * max(-min(c.statistic for c in candidates), 0) / longest)
    for c in candidates:
        bar = "#" * round(HALF * abs(c.statistic) / longest)
        drawn = f"{bar:>{left}}|" if c.statistic < 0 else f"{'':>{left}}|{bar}"
        name = c.id if len(c.id) <= width else c.id[: width - 3] + "..."
        yield f"  {'*' if c.victim else ' '} {name:<{width}} {c.statistic:6.2f} {drawn}"


def _question(question: Question) -> Iterator[str]:
    what = f"{question.family}, {question.true_class}" if question.true_class else question.family
    yield f"  question {question.index} ({what}): {question.share:+.1%}"
    yield (
        f"    victim {_listed(question.victim)}; suspect {_listed(question.suspect)}; twins"
        f" {_listed(question.twins)}"
    )


def _listed(answers: Sequence[Said]) -> str:
    return ", ".join(f"{s.label}: {s.probability:.2f}" for s in answers)
