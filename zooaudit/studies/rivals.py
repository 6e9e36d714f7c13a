"""Other methods' power under the same valid test: each scores a suspect against every candidate, and the
victim's rank is the p-value."""

from collections.abc import Iterator, Sequence

import numpy as np

from zooaudit.baselines.dataset_inference import LEVEL as DATASET_LEVEL
from zooaudit.baselines.dataset_inference import NEEDED, Arbiter
from zooaudit.baselines.meta import LEAST
from zooaudit.baselines.methods import Method
from zooaudit.baselines.rules import normal_bound
from zooaudit.errors import DataError
from zooaudit.studies.collected_about import About
from zooaudit.studies.contest import Contest, Load
from zooaudit.studies.outcome import Finding, Outcome, unclaimed
from zooaudit.studies.owners import Owner
from zooaudit.studies.rates import shown, worst
from zooaudit.studies.trials import ASKINGS, LEVEL, Trial, last
from zooaudit.studies.validity import Row, by
from zooaudit.suspects.access import Access
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.verdict.decision import Asked, Decision, Standing, decide
from zooaudit.verdict.ranking import ranked
from zooaudit.verdict.statistic import standardised

INNOCENTS = 40
"""Of an owner, at most, families in turn: they have to be asked 20 candidates' images."""
OURS = ("500 natural", "500", "2,000")
INFERENCE = "Dataset Inference"


def rows(owner: Owner, load: Load | None) -> list[Row]:
    """One row a suspect and method."""
    assert load is not None, "this study asks models about new images"
    suspects = [*owner.thieves, *(about for _, about in sampled(owner))]
    contest = Contest(owner, load)
    return [*_ours(owner, suspects), *_theirs(contest, suspects), *_knowing(contest, suspects)]


def sampled(owner: Owner) -> list[tuple[str, About]]:
    """Innocents of all families, in turn."""
    families: dict[str, list[tuple[str, About]]] = {}
    for family, about in owner.innocents:
        families.setdefault(family, []).append((family, about))
    deepest = max(map(len, families.values()), default=0)
    return [f[i] for i in range(deepest) for f in families.values() if i < len(f)][:INNOCENTS]


def _ours(owner: Owner, suspects: Sequence[About]) -> Iterator[Row]:
    """The twin test's own statistic."""
    for asking in (a for a in ASKINGS if a.name in OURS):
        trial = Trial.of(owner, asking)
        test = trial.test.single_look()
        for access in (Access(), Access("label")):
            for suspect, compared in zip(suspects, trial.compared(suspects, access), strict=True):
                decision = test.decide(last(compared), aside=False).decision
                data = {"method": f"twin test, {asking.name}", "access": access.name, "asked": test.budget}
                data |= {"stolen": decision is Decision.STOLEN, "first": int(compared.looks[-1].argmax())}
                # A table has the first row's columns.
                yield (_row(owner, suspect) | data | {"over_references": None, "own_rule": None})


def _row(owner: Owner, suspect: About) -> Row:
    stolen = suspect in owner.thieves
    data = {"owner": owner.name, "suspect": suspect.id, "thief": stolen, "family": suspect.family}
    return data | {"taken": suspect.took_weights, "candidates": len(owner.candidates)}


def _theirs(contest: Contest, suspects: Sequence[About]) -> Iterator[Row]:
    owner, count = contest.owner, len(contest.owner.candidates)
    own = [contest.own(i) for i in range(count)]
    references = {method.name: contest.of_references(method, own[0]) for method in contest.methods}
    for suspect in suspects:
        given = contest.answers(suspect)
        for method in contest.methods:
            if given is None and method.made:
                continue
            natural = contest.natural(suspect)
            scores = [
                contest.score(method, i, own[i], given[i] if given else {}, natural) for i in range(count)
            ]
            judged = _judged(method, np.array(scores), contest.asked(method))
            yield _row(owner, suspect) | judged | _by_rules(method, scores[0], references[method.name])


def _by_rules(method: Method, score: float, references: np.ndarray) -> Row:
    """What a threshold on the references says, and what the paper's own rule does."""
    over = score > normal_bound(references)
    return {"over_references": over, "own_rule": method.rule(score, references) if method.rule else None}


def _knowing(contest: Contest, suspects: Sequence[About]) -> Iterator[Row]:
    """Dataset Inference, which has no score to rank: its p-value decides. Nothing where no training images of
    the owner are at hand."""
    owner, victim = contest.owner, contest.crafted[0]
    learnt = owner.collection.trained(owner.name, contest.classes)
    if learnt is None:
        return
    if min(len(learnt[0]), len(victim.images)) < NEEDED:
        raise DataError(
            f"{owner.collection.trained_path(owner.name)} has {len(learnt[0])} images and the pool natural"
            f" {len(victim.images)}; expected {NEEDED} or more of each for Dataset Inference; without the"
            " first file it is left out"
        )
    arbiter = Arbiter.of(
        TorchBlackBox(victim.module, contest.classes).ask, learnt, (victim.images, victim.labels)
    )
    for suspect in suspects:
        if (module := contest.module(suspect)) is not None:
            black_box = TorchBlackBox(module, contest.classes)
            stolen = arbiter.p_value(black_box.ask) < DATASET_LEVEL
            data = {
                "method": INFERENCE,
                "access": "label",
                "asked": black_box.queries,
                "stolen": None,
                "first": None,
            }
            yield _row(owner, suspect) | data | {"over_references": None, "own_rule": stolen}


def _judged(method: Method, scores: np.ndarray, asked: int) -> Row:
    """By the same decision as every verdict: scores ``[C]``, the victim's first."""
    looks = standardised(scores)[None]
    verdict = decide(
        Standing(ranked(looks, 1), looks[0], asked, None, None), LEVEL, Asked(method.access, asked, asked)
    )
    data = {"method": method.name, "access": method.access, "asked": asked}
    return data | {"stolen": verdict.decision is Decision.STOLEN, "first": _alone_first(scores)}


def _alone_first(scores: np.ndarray) -> int:
    """Which candidate has the greatest score; -1 where several have."""
    greatest = np.flatnonzero(scores == scores.max())
    return int(greatest[0]) if len(greatest) == 1 else -1


def outcome(found: Sequence[Row]) -> Outcome:
    """Tables and findings of all owners' rows."""
    return Outcome(found, list(_findings(found)))


def counts(part: Sequence[Row], rule: str = "stolen") -> tuple[int, int]:
    """How many are called stolen, by the rank or by another ``rule`` (``over_references``, ``own_rule``), of
    how many that it judges."""
    judged = [r[rule] for r in part if r.get(rule) is not None]
    return sum(judged), len(judged)


def worst_candidate(part: Sequence[Row]) -> tuple[int, int, float]:
    """For which candidate as the victim most innocents put it first, of how many, and the
    chance of one so bad."""
    pairs = [
        (sum(r["first"] == i for r in rows), len(rows))
        for rows in by(part, "owner").values()
        for i in range(rows[0]["candidates"])
    ]
    where, p = worst(pairs, LEVEL)
    return (*pairs[where], p)


def kinds(part: Sequence[Row]) -> tuple[list[Row], list[Row], list[Row]]:
    """Thieves who took the weights, thieves who learnt from answers, innocents."""
    thieves = [r for r in part if r["thief"]]
    return (
        [r for r in thieves if r["taken"]],
        [r for r in thieves if not r["taken"]],
        [r for r in part if not r["thief"]],
    )


RULES = {
    "stolen": "",
    "over_references": "by a threshold on references",
    "own_rule": "by the paper's own rule",
}


def _findings(found: Sequence[Row]) -> Iterator[Finding]:
    for (method, access), part in by(found, lambda r: (r["method"], r["access"])).items():
        asked, some = sorted({r["asked"] for r in part}), kinds(part)
        entries = [_told(some, rule, words) for rule, words in RULES.items() if counts(part, rule)[1]]
        claim = (
            f"{method} says who learnt the victim's images ({access})"
            if method == INFERENCE
            else f"{method} ranks the victim first ({access})"
        )
        whose = "of the suspect" if method == INFERENCE else "in all, every candidate's questions among them"
        yield unclaimed(
            claim,
            "; ".join(entries),
            f"{len(some[0]) + len(some[1])} thieves, {len(some[2])} innocents of {len(by(part, 'owner'))}"
            " victims",
            f"asked {asked[0]:,}" + (f" to {asked[-1]:,}" if len(asked) > 1 else "") + f" images {whose}",
        )
    yield from _left_out(found)


def _told(some: tuple[list[Row], list[Row], list[Row]], rule: str, words: str) -> str:
    taken, learnt, innocents = (shown(*counts(part, rule)) for part in some)
    return f"{words} weights taken {taken}, answers learnt {learnt}, innocent {innocents}".strip()


NEEDS = {
    INFERENCE: (
        "images that the victim learnt: DATASET/trained/VICTIM.npz (see zooaudit/studies/collected.py)"
    ),
    "MetaFinger": (
        f"weights of {LEAST} or more of the references that it may learn from, which are half of them"
    ),
}


def _left_out(found: Sequence[Row]) -> Iterator[Finding]:
    """Methods that some victims lack something for."""
    everybody = {r["owner"] for r in found}
    for method, need in NEEDS.items():
        if lacking := sorted(everybody - {r["owner"] for r in found if r["method"] == method}):
            n = f"{len(lacking)} of {len(everybody)} victims"
            yield unclaimed(
                f"{method} was left out for some victims", ", ".join(lacking), n, f"it needs {need}"
            )
