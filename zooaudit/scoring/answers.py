"""Score many suspects' answers together: a replica's computation. It knows kits, but not HTTP or Ray."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from zooaudit.errors import ZooauditError
from zooaudit.kits.kit import Kit, answers_digest
from zooaudit.paper.fingerprint import check_answers
from zooaudit.suspects.access import Access
from zooaudit.verdict.class_order import other_order
from zooaudit.verdict.decision import By, TwinVerdict
from zooaudit.verdict.examined import Examined
from zooaudit.verdict.several import one_of
from zooaudit.verdict.wording import facts

Method = Literal["twins", "paper"]


@dataclass(frozen=True, eq=False)
class Job:
    """One suspect's answers, float32 ``[n, K]``, to the first n questions of a method; not checked yet.

    ``level``, ``access``, ``by`` and ``horizon`` are those of
    :meth:`~zooaudit.verdict.twin_test.TwinTest.judge`, for ``twins``; ``suspects``: how many were judged at
    the same time, each by itself.
    """

    kit: Kit
    suspect: str
    method: Method
    answers: Tensor
    level: float | None = None
    access: Access | None = None
    by: By = "rank"
    horizon: int | None = None
    suspects: int = 1


Result = dict[str, Any] | ZooauditError


def score_all(jobs: Sequence[Job]) -> list[Result]:
    """The result of each job; an error takes the place of a result, and does not affect the others."""
    results: list[Result] = [{} for _ in jobs]
    by_kit: dict[int, list[int]] = {}
    for i, job in enumerate(jobs):
        if job.method == "paper":
            by_kit.setdefault(id(job.kit), []).append(i)
        else:
            results[i] = _tried(job)
    for rows in by_kit.values():
        for i, result in zip(rows, _by_paper([jobs[i] for i in rows]), strict=True):
            results[i] = result
    return results


def _tried(job: Job) -> Result:
    try:
        examined = job.kit.twin_test.judge(job.answers, job.level, job.access, job.by, job.horizon)
    except ZooauditError as error:
        return error
    examined = replace(examined, verdict=one_of(examined.verdict, job.suspects))
    return {"answers_sha256": answers_digest(job.answers), "twins": twin_verdict(job.kit, examined)}


def twin_verdict(kit: Kit, examined: Examined) -> dict[str, Any]:
    """A verdict of the twin test as callers receive it: as it is rendered everywhere, with a hint if the
    answers show a wrong order of classes."""
    columns = other_order(kit.twin_test, examined.answers)
    hint = (
        f"the answers fit the images much better in another order of classes: {list(columns)}"
        if columns
        else ""
    )
    return rendered(examined.verdict, hint)


def rendered(verdict: TwinVerdict, hint: str = "") -> dict[str, Any]:
    """A verdict of the twin test as callers receive it."""
    return facts(verdict) | {"hint": hint}


def _by_paper(jobs: Sequence[Job]) -> list[Result]:
    """Jobs of one kit: all fingerprints go through the encoder together."""
    kit, shaped = jobs[0].kit, [_shaped(job) for job in jobs]
    fit = [s for s in shaped if isinstance(s, Tensor)]
    scores = iter(kit.similarities_of(fit))
    return [
        _judged(job, s, next(scores)) if isinstance(s, Tensor) else s
        for job, s in zip(jobs, shaped, strict=True)
    ]


def _shaped(job: Job) -> Tensor | ZooauditError:
    try:
        answers = job.kit.shaped(job.answers)
        check_answers(answers, (len(answers), *job.kit.victim_answers.shape[1:]))
    except ZooauditError as error:
        return error
    return answers


def _judged(job: Job, answers: Tensor, scores: np.ndarray) -> Result:
    kit = job.kit
    try:
        verdict = kit.judge(job.suspect, scores)
    except ZooauditError as error:
        return error
    found = {
        "encoder": kit.encoder_config.name,
        "queries": answers.shape[:3].numel(),
        "similarities": scores.tolist(),
    }
    return {
        "answers_sha256": answers_digest(answers),
        "paper": found | asdict(verdict) | {"caution": kit.caution, "level": kit.verdict.level},
    }


def one_thread() -> None:
    """Use one thread, since a replica has one core."""
    torch.set_num_threads(1)
