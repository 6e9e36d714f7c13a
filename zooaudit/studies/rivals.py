"""Other methods' power under the same valid test: each scores a suspect against every candidate, and the victim's rank is the p-value."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from zooaudit.baselines.methods import METHODS, Crafted, Method
from zooaudit.errors import ModelError, first_line
from zooaudit.studies.collected import About
from zooaudit.studies.outcome import Finding, Outcome, unclaimed
from zooaudit.studies.owners import Owner
from zooaudit.studies.rates import shown, worst
from zooaudit.studies.trials import ASKINGS, LEVEL, Trial, last
from zooaudit.studies.validity import Row, by
from zooaudit.suspects.access import Access
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.verdict.decision import Asked, Call, Standing, decide
from zooaudit.verdict.ranking import ranked
from zooaudit.verdict.statistic import standardised

Load = Callable[[Path, str], nn.Module]
"""Of the folder of a data set's models and an id, a module in evaluation mode that gives logits; FileNotFoundError where there is none."""
INNOCENTS = 40
"""Of an owner, at most, families in turn: they have to be asked 20 candidates' images."""
FEWEST = 5
"""References that a threshold may rest on."""
OURS = ("500 natural", "500", "2,000")
BATCH = 500


def rows(owner: Owner, load: Load | None) -> list[Row]:
    """One row a suspect and method."""
    assert load is not None, "this study asks models about new images"
    suspects = [*owner.thieves, *(about for _, about in sampled(owner))]
    return [*_ours(owner, suspects), *_theirs(_Contest(owner, load, suspects))]


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
        test = trial.test.at_once()
        for access in (Access(), Access("label")):
            for suspect, compared in zip(suspects, trial.compared(suspects, access), strict=True):
                call = test.call(last(compared), aside=False).call
                told = {"method": f"twin test, {asking.name}", "access": access.name, "asked": test.budget}
                yield _row(owner, suspect) | told | {"stolen": call is Call.STOLEN, "first": int(compared.looks[-1].argmax())}


def _row(owner: Owner, suspect: About) -> Row:
    stolen = suspect in owner.thieves
    told = {"owner": owner.name, "suspect": suspect.id, "thief": stolen, "family": suspect.family}
    return told | {"taken": suspect.took_weights, "candidates": len(owner.candidates)}


@dataclass(eq=False)
class _Contest:
    """What candidates' questions are, and what suspects answer to them."""

    owner: Owner
    load: Load
    suspects: Sequence[About]
    _to_victims: dict[str, dict[str, Tensor] | None] = field(default_factory=dict, init=False)

    @cached_property
    def crafted(self) -> list[Crafted]:
        """Of each candidate."""
        pool, labels = self.owner.collection.pools["natural"], self.owner.collection.labels
        return [Crafted(self._loaded(a), pool, labels, self.natural(a)) for a in self.owner.candidates]

    @cached_property
    def made(self) -> list[dict[str, Tensor]]:
        """Images float ``[n, c, h, w]`` that are made from each candidate, by what they are."""
        return [c.made() for c in self.crafted]

    @property
    def classes(self) -> int:
        return self.natural(self.owner.candidates[0]).shape[1]

    def natural(self, model: About) -> Tensor:
        return self.owner.collection.answers(model.id)["natural"]

    def _loaded(self, model: About) -> nn.Module:
        found = load_one(self.load, self.owner.collection.folder / "models", model.id)
        if found is None:
            raise ModelError(f"the candidate {model.id} has no weights; questions are made from every candidate")
        return found

    def own(self, index: int) -> dict[str, Tensor]:
        """A candidate's answers to its own images."""
        return {name: _asked(self.crafted[index].module, images, self.classes) for name, images in self.made[index].items()}

    def answers_to_victims(self, model: About) -> dict[str, Tensor] | None:
        """A model's answers to the images that are made from the victim; None of one without weights."""
        if model.id not in self._to_victims:
            module = load_one(self.load, self.owner.collection.folder / "models", model.id)
            answers = None if module is None else {n: _asked(module, images, self.classes) for n, images in self.made[0].items()}
            self._to_victims[model.id] = answers
        return self._to_victims[model.id]

    def answers(self, suspect: About) -> list[dict[str, Tensor]] | None:
        """A suspect's answers to all candidates' images; None of one without weights."""
        module = load_one(self.load, self.owner.collection.folder / "models", suspect.id)
        if module is None:
            return None
        return [{name: _asked(module, images, self.classes) for name, images in made.items()} for made in self.made]


def load_one(load: Load, folder: Path, id_: str) -> nn.Module | None:
    """A model by the user's function; None where that says there is none.

    Raises:
        ModelError: the function fails, or gives no module.
    """
    try:
        found = load(folder, id_)
    except FileNotFoundError:
        return None
    except Exception as error:  # the user's code may raise anything
        raise ModelError(f"loading {id_} of {folder} failed: {type(error).__name__}: {first_line(error)}") from error
    if not isinstance(found, nn.Module):
        raise ModelError(f"loading {id_} of {folder} gave a {type(found).__name__}; expected a torch.nn.Module")
    return found.eval().requires_grad_(False)


def _asked(module: nn.Module, images: Tensor, classes: int) -> Tensor:
    box = TorchBlackBox(module, classes)
    return torch.cat([box.ask(part) for part in images.split(BATCH)])


def _theirs(contest: _Contest) -> Iterator[Row]:
    owner = contest.owner
    own = [contest.own(i) for i in range(len(owner.candidates))]
    most = {method.name: _threshold(method, contest, own[0]) for method in METHODS}
    for suspect in contest.suspects:
        given = contest.answers(suspect)
        for method in METHODS:
            if given is None and method.made:
                continue
            scores = [_score(method, contest, i, own[i], given[i] if given else {}, contest.natural(suspect)) for i in range(len(own))]
            judged = _judged(method, np.array(scores), _count(method, contest))
            yield _row(owner, suspect) | judged | {"over_references": scores[0] > most[method.name]}


def _threshold(method: Method, contest: _Contest, own: dict[str, Tensor]) -> float:
    """What 99 % of independent models' scores against the victim lie under, were they normal, as the references' are: how DeepJudge's paper
    sets its thresholds, and others theirs in one way or another. Infinite where too few references can be asked."""
    scores = []
    for reference in contest.owner.references:
        given = contest.answers_to_victims(reference) if method.made else {}
        if given is not None:
            scores.append(_score(method, contest, 0, own, given, contest.natural(reference)))
    if len(scores) < FEWEST:
        return float("inf")
    return float(np.mean(scores) + stats.norm.ppf(0.99) * np.std(scores, ddof=1))


def _score(method: Method, contest: _Contest, index: int, own: dict[str, Tensor], given: dict[str, Tensor], natural: Tensor) -> float:
    """Of one suspect against one candidate."""
    crafted = contest.crafted[index]
    asked = method.rows(crafted)
    mine, theirs = crafted.answers[asked], natural[asked]
    if method.made:
        mine, theirs = (torch.cat([part, of[method.made][: method.count]]) for part, of in ((mine, own), (theirs, given)))
    return method.score(mine, theirs, crafted.labels[crafted.surest])


def _count(method: Method, contest: _Contest) -> int:
    """Images asked in all, those of all candidates."""
    natural = {int(i) for c in contest.crafted for i in method.rows(c)}
    return len(natural) + sum(len(made[method.made][: method.count]) for made in contest.made if method.made)


def _judged(method: Method, scores: np.ndarray, asked: int) -> Row:
    """By the same decision as every verdict: scores ``[C]``, the victim's first."""
    looks = standardised(scores)[None]
    verdict = decide(Standing(ranked(looks, 1), looks[0], None, None), LEVEL, Asked(method.access, asked, asked))
    told = {"method": method.name, "access": method.access, "asked": asked}
    return told | {"stolen": verdict.call is Call.STOLEN, "first": _alone_first(scores)}


def _alone_first(scores: np.ndarray) -> int:
    """Which candidate has the greatest score; -1 where several have."""
    greatest = np.flatnonzero(scores == scores.max())
    return int(greatest[0]) if len(greatest) == 1 else -1


def outcome(found: Sequence[Row]) -> Outcome:
    """Tables and findings of all owners' rows."""
    return Outcome(found, list(_findings(found)))


def counts(part: Sequence[Row]) -> tuple[int, int]:
    """How many are called stolen, of how many."""
    return sum(r["stolen"] for r in part), len(part)


def worst_candidate(part: Sequence[Row]) -> tuple[int, int, float]:
    """For which candidate as the victim most innocents put it first, of how many, and the chance of one so bad."""
    pairs = [(sum(r["first"] == i for r in rows), len(rows)) for rows in by(part, "owner").values() for i in range(rows[0]["candidates"])]
    where, p = worst(pairs, LEVEL)
    return (*pairs[where], p)


def _findings(found: Sequence[Row]) -> Iterator[Finding]:
    for (method, access), part in by(found, lambda r: (r["method"], r["access"])).items():
        thieves, innocents = [r for r in part if r["thief"]], [r for r in part if not r["thief"]]
        taken, learnt = [r for r in thieves if r["taken"]], [r for r in thieves if not r["taken"]]
        asked = sorted({r["asked"] for r in part})
        over = [[r for r in some if "over_references" in r] for some in (taken, learnt, innocents)]
        by_threshold = [shown(sum(r["over_references"] for r in some), len(some)) for some in over]
        told = "; by a threshold on references {}, {}, {}".format(*by_threshold) if any(over) else ""
        yield unclaimed(
            f"{method} ranks the victim first ({access})",
            f"weights taken {shown(*counts(taken))}, answers learnt {shown(*counts(learnt))}, innocent {shown(*counts(innocents))}{told}",
            f"{len(thieves)} thieves, {len(innocents)} innocents of {len(by(part, 'owner'))} victims",
            f"asked {asked[0]:,}"
            + (f" to {asked[-1]:,}" if len(asked) > 1 else "")
            + " images in all, every candidate's questions among them",
        )
