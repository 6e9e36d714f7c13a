"""Every method that a verdict could rest on, with the questions it asks, on one zoo: ours, the paper's, and other papers'."""

import time
from collections.abc import Callable, Iterator, Sequence
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
from zooaudit.encoder.discriminant import fit_discriminant, most_telling
from zooaudit.fingerprint.access import LADDER, Access
from zooaudit.seeds import derive
from zooaudit.steps import kept_tensors
from zooaudit.studies.cohort import Variant
from zooaudit.studies.families import Contest, Fold
from zooaudit.studies.perturbations import local_questions
from zooaudit.zoo.spec import ModelSpec

QUERIES = 400
"""What every method may ask, where its paper does not fix another number."""
COUNTS = (25, 50, 100, 200, QUERIES)
SPECIFIC = "specific"
RANDOM = "specific, images at random"
CODE = code_digest("baselines", "uap")
Scores = dict[ModelSpec, float]
Score = Callable[[Tensor, Tensor], float]


@dataclass(frozen=True, eq=False)
class Entry:
    """One method at one access and number of queries.

    Attributes:
        seconds: to make its questions, fit it and score all suspects, their answers in hand.
        scores: by fold, higher for a model more like the victim's copies.
    """

    method: str
    access: str
    queries: int
    seconds: float
    scores: Sequence[Scores]


def entries(contest: Contest, folds: Sequence[Fold]) -> Iterator[Entry]:
    """Every method in turn."""
    yield from specific(contest, folds)
    yield from of_the_paper(contest, folds)
    yield from of_others(contest, folds)


def specific(contest: Contest, folds: Sequence[Fold], rungs: Sequence[Access] = LADDER, counts: Sequence[int] = COUNTS) -> Iterator[Entry]:
    """Ours, at every rung of the access ladder and with fewer queries; and with images taken at random, to see what choosing them gives."""
    anywhere = torch.arange(min(QUERIES, len(contest.pool)))
    for rung in rungs:
        for queries in counts:

            def score(fold: Fold, rung: Access = rung, queries: int = queries) -> Scores:
                return specific_scores(contest, fold, rung, telling(contest, fold)[:queries])

            yield _timed(SPECIFIC, rung, queries, score, folds)
    yield _timed(RANDOM, rungs[0], len(anywhere), lambda f: specific_scores(contest, f, rungs[0], anywhere), folds)


def _timed(method: str, rung: Access, queries: int, score: Callable[[Fold], Scores], folds: Sequence[Fold]) -> Entry:
    started = time.perf_counter()
    scores = [score(fold) for fold in folds]
    return Entry(method, rung.name, queries, (time.perf_counter() - started) / len(folds), scores)


def stacked(contest: Contest, specs: Sequence[ModelSpec]) -> Tensor:
    """Answers ``[models, pool, K]`` to the pool."""
    return torch.stack([contest.pool_answers[s.id] for s in specs])


def telling(contest: Contest, fold: Fold, count: int = QUERIES) -> Tensor:
    """Indices of the pool's images that a fold's training models say are worth asking, the most telling first."""
    return most_telling(stacked(contest, fold.copies), stacked(contest, fold.innocent), count)


def specific_scores(contest: Contest, fold: Fold, rung: Access, chosen: Tensor) -> Scores:
    """The discriminant's scores of a fold's suspects, from the pool's images at ``chosen`` alone."""

    def told(specs: Sequence[ModelSpec]) -> Tensor:
        return rung.told(stacked(contest, specs)[:, chosen])

    fitted = fit_discriminant(told(fold.copies), told(fold.innocent))
    return dict(zip(fold.suspects, fitted.scores(told(fold.suspects)).tolist(), strict=True))


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
    own = cohort.answers[contest.victim][:few]
    yield _timed(
        "raw fingerprints", LADDER[0], few * n * 2, lambda f: {s: raw_cosine(own, cohort.answers[s.id][:few]) for s in f.suspects}, folds
    )
    local = bench.asked(local_questions(bench))
    local = local.joined_by(more, bench.answers([s.id for s in more], local_questions(bench)))
    name, config = list(bench.encoders.items())[-1]

    def by_lap(fold: Fold) -> Scores:
        return {s: float(v.mean()) for s, v in local.scores(Variant(config), fold.suspects).by_spec.items()}

    yield _timed(f"LAP, encoder {name}", LADDER[0], views * n * 2, by_lap, folds)


def of_others(contest: Contest, folds: Sequence[Fold]) -> Iterator[Entry]:
    """IPGuard, AKH, SAC-w, DeepJudge, ModelDiff, and plain agreement, as their papers describe them."""
    label = Access.named("label")
    wrong = (contest.pool_answers[contest.victim].argmax(1) != contest.pool_labels).nonzero().flatten()[:QUERIES]
    anywhere = torch.arange(min(QUERIES, len(contest.pool)))
    yield _on_pool(contest, folds, "label agreement", label, anywhere, matching_rate)
    yield _on_pool(contest, folds, "AKH", label, wrong, matching_rate)
    yield _on_pool(contest, folds, "SAC-w", LADDER[0], wrong, sample_correlation)
    for margin in MARGINS:
        images, seconds = _kept(contest, f"ipguard {margin:g}", partial(_ipguard, contest, margin))
        yield _on(contest, folds, f"IPGuard, k={margin:g}", label, images, seconds, matching_rate)
    images, seconds = _kept(contest, "deepjudge", lambda: _adversarial(contest, _surest(contest, QUERIES)))
    truth = contest.pool_labels[_surest(contest, QUERIES)]
    yield _on(contest, folds, "DeepJudge RobD", label, images, seconds, lambda v, s: robustness_distance(v, s, truth))
    yield _on(contest, folds, "DeepJudge JSD", LADDER[0], images, seconds, jensen_shannon)
    seeds = _surest(contest, QUERIES // 2)
    images, seconds = _kept(contest, "modeldiff", lambda: torch.cat([contest.pool[seeds], _adversarial(contest, seeds)]))
    yield _on(contest, folds, "ModelDiff DDV", LADDER[0], images, seconds, decision_distance)


def _on_pool(contest: Contest, folds: Sequence[Fold], method: str, rung: Access, chosen: Tensor, score: Score) -> Entry:
    given = {s.id: contest.pool_answers[s.id][chosen] for s in contest.models}
    victim = contest.pool_answers[contest.victim][chosen]
    return _timed(method, rung, len(chosen), lambda f: {s: score(victim, given[s.id]) for s in f.suspects}, folds)


def _on(contest: Contest, folds: Sequence[Fold], method: str, rung: Access, images: Tensor, seconds: float, score: Score) -> Entry:
    given = contest.asked(images)
    victim = given[contest.victim]
    entry = _timed(method, rung, len(images), lambda f: {s: score(victim, given[s.id]) for s in f.suspects}, folds)
    return Entry(method, rung.name, len(images), entry.seconds + seconds, entry.scores)


def _kept(contest: Contest, name: str, make: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """A method's questions, kept in the store, and the seconds that making them took."""

    def made() -> tuple[dict[str, Tensor], dict[str, Any]]:
        started = time.perf_counter()
        images = make().cpu()
        return {"images": images}, {"seconds": time.perf_counter() - started}

    bench = contest.bench
    inputs = [CODE, name, bench.victim.id, bench.dataset.digest, QUERIES, bench.recipe.seed, bench.recipe.uap.epsilon]
    tensors, meta = kept_tensors(bench.artifacts, "questions", inputs, made)
    return tensors["images"], float(meta["seconds"])


def _surest(contest: Contest, count: int) -> Tensor:
    """The pool's images that the victim gets right with the most confidence: DeepJudge's seeds."""
    answers = contest.pool_answers[contest.victim]
    confidence = answers.amax(1).masked_fill(answers.argmax(1) != contest.pool_labels, -1.0)
    return confidence.argsort(descending=True, stable=True)[: min(count, int((confidence >= 0).sum()))]


def _adversarial(contest: Contest, chosen: Tensor) -> Tensor:
    """PGD examples of the victim, in the ball of the audit's UAP."""
    module, device = contest.bench.victim.module, contest.bench.dataset.train.images.device
    epsilon = contest.bench.recipe.uap.epsilon
    return pgd(module, contest.pool[chosen].to(device), contest.pool_labels[chosen].to(device), epsilon).cpu()


def _ipguard(contest: Contest, margin: float) -> Tensor:
    seed = derive(contest.bench.recipe.seed, "verdict", "ipguard", margin)
    chosen = torch.randperm(len(contest.pool), generator=torch.Generator().manual_seed(seed))[:QUERIES]
    start = contest.pool[chosen].to(contest.bench.dataset.train.images.device)
    return IpGuard(margin).points(contest.bench.victim.module, start, derive(seed, "targets")).cpu()
