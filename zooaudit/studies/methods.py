"""Every method that a verdict could rest on, with the questions it asks, on one zoo: ours, the paper's, and other papers'."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from zooaudit.baselines.adversarial import pgd
from zooaudit.baselines.ipguard import MARGINS, IpGuard
from zooaudit.baselines.scores import (
    decision_distance,
    jensen_shannon,
    matching_rate,
    raw_cosine,
    robustness_distance,
    sample_correlation,
)
from zooaudit.code import code_digest
from zooaudit.encoder.discriminant import most_telling
from zooaudit.fingerprint.access import LADDER, Access
from zooaudit.seeds import derive
from zooaudit.steps import kept_tensors
from zooaudit.studies.cohort import Cohort, Variant
from zooaudit.studies.families import QUERIES, Contest, Fold
from zooaudit.studies.judge import Judge
from zooaudit.studies.perturbations import local_questions
from zooaudit.zoo.spec import ModelSpec, Role

COUNTS = (25, 50, 100, 200, QUERIES)
SPECIFIC = "specific"
SMALL_BALL = 0.03
"""L-inf radius of public codes' adversarial examples; the audit's UAP has a larger one."""
CODE = code_digest("baselines", "uap")
Scores = dict[ModelSpec, float]
Score = Callable[[Tensor, Tensor], float]


@dataclass(frozen=True, eq=False)
class Entry:
    """One method at one access and number of queries.

    Attributes:
        seconds: to fit it and score all suspects, questions made and answers in hand.
        scores: by fold, higher for a model more like the victim's copies.
    """

    method: str
    access: str
    queries: int
    seconds: float
    scores: Sequence[Scores]


def entries(contest: Contest, folds: Sequence[Fold]) -> Iterator[Entry]:
    """Every method in turn."""
    assert contest.pool_answers, "asked before anything is timed"
    yield from specific(contest, folds)
    yield from ablated(contest, folds)
    yield from of_the_paper(contest, folds)
    yield from of_others(contest, folds)


def specific(contest: Contest, folds: Sequence[Fold], rungs: Sequence[Access] = LADDER, counts: Sequence[int] = COUNTS) -> Iterator[Entry]:
    """Ours, at every rung of the access ladder and with fewer queries."""
    for rung in rungs:
        for queries in dict.fromkeys(min(c, len(contest.pool)) for c in counts):

            def score(fold: Fold, rung: Access = rung, queries: int = queries) -> Scores:
                return _by(Judge(contest, fold, rung, contest.telling(fold)[:queries]))

            yield _timed(SPECIFIC, rung, queries, score, folds)


def ablated(contest: Contest, folds: Sequence[Fold]) -> Iterator[Entry]:
    """Ours without each of its parts: images taken at random, and no look-alikes to learn from."""
    count = min(QUERIES, len(contest.pool))
    anywhere = torch.arange(count)

    def unaware(fold: Fold) -> Scores:
        homologous = tuple(s for s in fold.innocent if s.role is not Role.LOOK_ALIKE)
        chosen = most_telling(contest.answered(fold.copies), contest.answered(homologous), count)
        return _by(Judge(contest, fold, LADDER[0], chosen, homologous))

    yield _timed(
        f"{SPECIFIC}, no interfaces learnt behind", LADDER[0], count,
        lambda f: _by(Judge(contest, f, LADDER[0], contest.telling(f)[:count], treatments=())), folds,
    )  # fmt: skip
    yield _timed(f"{SPECIFIC}, images at random", LADDER[0], count, lambda f: _by(Judge(contest, f, LADDER[0], anywhere)), folds)

    def unhardened(fold: Fold) -> Scores:
        usual = tuple(s for s in fold.innocent if s.modification is None)
        chosen = most_telling(contest.answered(fold.copies), contest.answered(usual), count)
        return _by(Judge(contest, fold, LADDER[0], chosen, usual))

    yield _timed(f"{SPECIFIC}, no look-alikes learnt from", LADDER[0], count, unaware, folds)
    if any(s.modification is not None for fold in folds for s in fold.innocent):
        yield _timed(f"{SPECIFIC}, no hardened innocents learnt from", LADDER[0], count, unhardened, folds)


def _by(judge: Judge) -> Scores:
    return dict(zip(judge.fold.suspects, judge.scores(judge.fold.suspects), strict=True))


def _timed(method: str, rung: Access, queries: int, score: Callable[[Fold], Scores], folds: Sequence[Fold]) -> Entry:
    """Scores of every fold, and the seconds of the slowest: what all folds share is made in the first."""
    scores, seconds = [], []
    for fold in folds:
        started = time.perf_counter()
        scores.append(score(fold))
        seconds.append(time.perf_counter() - started)
    return Entry(method, rung.name, queries, max(seconds), scores)


def of_the_paper(contest: Contest, folds: Sequence[Fold]) -> Iterator[Entry]:
    """UAP fingerprints through each encoder, all views and as many as the others may ask; with LAP; and without an encoder."""
    bench = contest.bench
    more = [s for s in contest.models if s.id not in bench.cohort.answers]
    cohort = bench.with_suspects(more)
    views, n = bench.questions.shape[:2]
    few = min(views, max(1, QUERIES // (2 * n)))
    for name, config in bench.encoders.items():
        for used in dict.fromkeys((views, few)):

            def score(fold: Fold, config: Any = config, used: int = used) -> Scores:
                found = cohort.scores(Variant(config, views=used), fold.suspects)
                return {s: float(v.mean()) for s, v in found.by_spec.items()}

            yield _timed(f"UAP, encoder {name}", LADDER[0], used * n * 2, score, folds)
    name, config = list(bench.encoders.items())[-1]

    def aware(fold: Fold) -> Scores:
        alike = tuple(s for s in fold.innocent if s.role is Role.LOOK_ALIKE)
        taught = Cohort(cohort.victim, (*cohort.training, *alike), cohort.suspects, cohort.answers, cohort.seed)
        return {s: float(v.mean()) for s, v in taught.scores(Variant(config), fold.suspects).by_spec.items()}

    yield _timed(f"UAP, encoder {name}, look-alikes learnt from", LADDER[0], views * n * 2, aware, folds)
    own = cohort.answers[contest.victim][:few]
    yield _timed(
        "raw fingerprints", LADDER[0], few * n * 2, lambda f: {s: raw_cosine(own, cohort.answers[s.id][:few]) for s in f.suspects}, folds
    )
    local = bench.asked(local_questions(bench))
    local = local.joined_by(more, bench.answers([s.id for s in more], local_questions(bench)))

    def by_lap(fold: Fold) -> Scores:
        return {s: float(v.mean()) for s, v in local.scores(Variant(config), fold.suspects).by_spec.items()}

    yield _timed(f"LAP, encoder {name}", LADDER[0], views * n * 2, by_lap, folds)


def of_others(contest: Contest, folds: Sequence[Fold]) -> Iterator[Entry]:
    """IPGuard, AKH, SAC, DeepJudge, ModelDiff, and plain agreement.

    *Ours* where their papers leave it open or cannot be met here: all may ask ``QUERIES``; adversarial examples are PGD's in two balls;
    SAC asks about images that the victim gets wrong and trains no surrogates to pick them; ModelDiff's pairs are an image and its PGD
    example, not the result of a search; IPGuard's points move for at most 300 steps.
    """
    label = Access.named("label")
    wrong = (contest.pool_answers[contest.victim].argmax(1) != contest.pool_labels).nonzero().flatten()[:QUERIES]
    anywhere = torch.arange(min(QUERIES, len(contest.pool)))
    yield _on_pool(contest, folds, "label agreement", label, anywhere, matching_rate)
    yield _on_pool(contest, folds, "AKH", label, wrong, matching_rate)
    yield _on_pool(contest, folds, "SAC-w", LADDER[0], wrong, sample_correlation)
    for margin in MARGINS:
        images = _kept(contest, f"ipguard {margin:g}", partial(_ipguard, contest, margin))
        yield _on(contest, folds, f"IPGuard, k={margin:g}", label, images, matching_rate)
    surest = _surest(contest, QUERIES)
    truth = contest.pool_labels[surest]
    for epsilon in dict.fromkeys((SMALL_BALL, contest.bench.recipe.uap.epsilon)):
        shown = f"PGD {epsilon:.2g}"
        images = _kept(contest, f"deepjudge {epsilon!r}", partial(_adversarial, contest, surest, epsilon))
        yield _on(contest, folds, f"DeepJudge RobD, {shown}", label, images, lambda v, s: robustness_distance(v, s, truth))
        yield _on(contest, folds, f"DeepJudge JSD, {shown}", LADDER[0], images, jensen_shannon)
        half = surest[: QUERIES // 2]
        pairs = torch.cat([contest.pool[half], images[: len(half)]])
        yield _on(contest, folds, f"ModelDiff DDV, {shown}", LADDER[0], pairs, decision_distance)


def _on_pool(contest: Contest, folds: Sequence[Fold], method: str, rung: Access, chosen: Tensor, score: Score) -> Entry:
    given = {id_: answers[chosen] for id_, answers in contest.pool_answers.items()}
    return _scored(contest, folds, method, rung, given, score)


def _on(contest: Contest, folds: Sequence[Fold], method: str, rung: Access, images: Tensor, score: Score) -> Entry:
    return _scored(contest, folds, method, rung, contest.asked(images), score)


def _scored(contest: Contest, folds: Sequence[Fold], method: str, rung: Access, given: Mapping[str, Tensor], score: Score) -> Entry:
    own = given[contest.victim]
    return _timed(method, rung, len(own), lambda f: {s: score(own, given[s.id]) for s in f.suspects}, folds)


def _kept(contest: Contest, name: str, make: Callable[[], Tensor]) -> Tensor:
    """A method's questions, kept in the store."""
    bench = contest.bench
    inputs = [CODE, name, bench.victim.id, bench.dataset.digest, QUERIES, bench.recipe.seed]
    return kept_tensors(bench.artifacts, "questions", inputs, lambda: ({"images": make().cpu()}, {}))[0]["images"]


def _surest(contest: Contest, count: int) -> Tensor:
    """The pool's images that the victim gets right with the largest sum of squared probabilities: DeepJudge's seeds."""
    answers = contest.pool_answers[contest.victim]
    certainty = answers.square().sum(1).masked_fill(answers.argmax(1) != contest.pool_labels, -1.0)
    return certainty.argsort(descending=True, stable=True)[: min(count, int((certainty >= 0).sum()))]


def _adversarial(contest: Contest, chosen: Tensor, epsilon: float) -> Tensor:
    """PGD examples of the victim."""
    module, device = contest.bench.victim.module, contest.bench.dataset.train.images.device
    return pgd(module, contest.pool[chosen].to(device), contest.pool_labels[chosen].to(device), epsilon).cpu()


def _ipguard(contest: Contest, margin: float) -> Tensor:
    seed = derive(contest.bench.recipe.seed, "verdict", "ipguard", margin)
    chosen = torch.randperm(len(contest.pool), generator=torch.Generator().manual_seed(seed))[:QUERIES]
    start = contest.pool[chosen].to(contest.bench.dataset.train.images.device)
    return IpGuard(margin).points(contest.bench.victim.module, start, derive(seed, "targets")).cpu()
