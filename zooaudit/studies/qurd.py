"""The protocol of QuRD (Godinot et al., AAAI 2025): pairs of a victim and a suspect, a score each, and how
well a threshold tells them.

A pair of a victim and a thief of it is positive, by how the thief was made (the *task*); a pair of a victim
and a model that was made without it is negative, and counts for every task. Here the pairs are of a folder of
models that somebody else trained (``studies/collected.py``); of QuRD's own published models, see
``studies/published.py``. Other methods' scores are raw: a method asks the victim's questions only, and
nothing is ranked. So is the twin test's statistic of the victim.

What differs from QuRD: the pair of the victim with itself, a task of its own there, is left out, as it is
found by every method; and scores are compared within a data set only.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from zooaudit.baselines.methods import Crafted
from zooaudit.errors import ModelError
from zooaudit.studies.collected_about import About
from zooaudit.studies.contest import Load, asked_all, load_one
from zooaudit.studies.cuts import BUDGETS, Cut, Natural, cuts
from zooaudit.studies.outcome import Finding, Outcome, unclaimed
from zooaudit.studies.owners import LEARNT, Owner
from zooaudit.studies.pictures import panels
from zooaudit.studies.roc import FPRS, Measured, Scored, Share, measured
from zooaudit.studies.trials import Asking, Trial, last
from zooaudit.studies.validity import Row, by, of
from zooaudit.suspects.access import Access
from zooaudit.verdict.examined import NATURAL

ALL = "all"
OURS, DEVIATIONS = "twin test", "twin test, in deviations from the twins"
"""The victim's statistic as it is, and as it is ranked: in standard deviations of all
candidates from their mean."""


def pair(
    group: str,
    victim: str,
    suspect: str,
    task: str,
    stolen: bool,
    method: str,
    access: str,
    budget: int,
    asked: int,
    score: float,
    tasks: Sequence[str] = (),
    learnt: bool = True,
) -> Row:
    """One row: a pair, a method and a budget.

    Args:
        group: what scores are compared within: a data set.
        task: how a thief was made; of an innocent, its family.
        budget, asked: images that may be asked, and that were.
        tasks: for which an innocent counts; all if none is named.
        learnt: False of a thief that is in no number.
    """
    return {
        "group": group,
        "victim": victim,
        "suspect": suspect,
        "task": task,
        "stolen": stolen,
        "tasks": "|".join(tasks),
        "learnt": learnt,
        "method": method,
        "access": access,
        "budget": budget,
        "asked": asked,
        "score": score,
    }


def rows(owner: Owner, load: Load | None) -> list[Row]:
    """Of one owner: all pairs, methods and budgets."""
    assert load is not None, "this study asks models about new images"
    innocents = [(family, a) for family, a in owner.innocents if not owner.excluded(a, owner.candidates[0])]
    suspects = [*((a.family, a) for a in owner.thieves), *innocents]
    return [*_ours(owner, suspects), *_theirs(owner, load, suspects)]


def _told(owner: Owner, family: str, suspect: About) -> dict[str, Any]:
    stolen = suspect in owner.thieves
    learnt = not stolen or suspect.recovery is None or suspect.recovery >= LEARNT
    data = {"victim": owner.name, "suspect": suspect.id, "task": family, "stolen": stolen, "learnt": learnt}
    return data | {"group": owner.collection.dataset}


def _ours(owner: Owner, suspects: Sequence[tuple[str, About]]) -> Iterator[Row]:
    models, before = [a for _, a in suspects], 0
    for budget in BUDGETS:
        trial = Trial.of(
            owner,
            Asking(
                f"{budget:,} natural",
                (budget,),
                (NATURAL,),
                max(1, min(Asking.control_questions, budget // 5)),
            ),
        )
        if trial.test.budget <= before:
            break
        before = trial.test.budget
        for access in (Access(), Access("label")):
            data: dict[str, Any] = {"access": access.name, "budget": budget, "asked": trial.test.budget}
            compared = [float(last(c).looks[-1][0]) for c in trial.compared(models, access)]
            for method, scores in ((OURS, trial.cosines(models, access)), (DEVIATIONS, compared)):
                for (family, suspect), score in zip(suspects, scores, strict=True):
                    yield pair(**_told(owner, family, suspect), **data, method=method, score=score)


def _theirs(owner: Owner, load: Load, suspects: Sequence[tuple[str, About]]) -> Iterator[Row]:
    collection, victim = owner.collection, owner.candidates[0]
    folder, classes = collection.folder / "models", collection.answers(victim.id)["natural"].shape[1]
    module = load_one(load, folder, victim.id)
    if module is None:
        raise ModelError(f"the victim {victim.id} has no weights; questions are made from it")
    natural = {a.id: collection.answers(a.id)["natural"] for a in (victim, *(s for _, s in suspects))}
    crafted = Crafted(
        module, collection.pools["natural"], collection.labels, natural[victim.id], many=BUDGETS[-1]
    )
    made = crafted.made()
    own = {name: asked_all(module, images, classes) for name, images in made.items()}
    chosen = cuts(crafted, {name: len(images) for name, images in made.items()})
    for family, suspect in suspects:
        other = load_one(load, folder, suspect.id)
        given = (
            None if other is None else {n: asked_all(other, images, classes) for n, images in made.items()}
        )
        for one, score in scored(chosen, crafted, own, Natural.to_all(natural[suspect.id]), given):
            yield pair(**_told(owner, family, suspect), **named(one), score=score)


def scored(
    chosen: Sequence[Cut],
    crafted: Crafted,
    own: dict[str, Any],
    natural: Natural,
    given: dict[str, Any] | None,
) -> Iterator[tuple[Cut, float]]:
    """The score of a suspect by every method and budget; by those alone that ask natural images where it
    cannot be asked others."""
    for one in chosen:
        if given is not None or not one.made:
            yield one, one.score(crafted, own, natural, given or {})


def named(one: Cut) -> dict[str, Any]:
    """The columns that say which method asked how much."""
    return {"method": one.method.name, "access": one.method.access, "budget": one.budget, "asked": one.asked}


def outcome(found: Sequence[Row], says: Sequence[Finding] = ()) -> Outcome:
    """Metrics by group, method, budget and task; findings, a picture, and the pairs' own scores.

    Args:
        says: findings that are told first.
    """
    rows = list(_metrics([r for r in found if r["learnt"]]))
    failed = sorted({r["suspect"] for r in found if not r["learnt"]})
    picture = {"qurd.svg": _picture(rows)} if rows else {}
    return Outcome(rows, [*says, *_findings(rows, failed)], picture, tables={"pairs": found})


def _metrics(found: Sequence[Row]) -> Iterator[Row]:
    for (group, method, access, budget), part in by(
        found, lambda r: (r["group"], r["method"], r["access"], r["budget"])
    ).items():
        tasks = sorted({r["task"] for r in part if r["stolen"]})
        for task in (ALL, *tasks):
            mine = part if task == ALL else [r for r in part if counts_for(r, task)]
            if result := measured(as_scored(mine)):
                data = {"group": group, "method": method, "access": access, "budget": budget, "task": task}
                asked = [r["asked"] for r in mine]
                data |= {
                    "asked_least": min(asked),
                    "asked_most": max(asked),
                    "victims": len(by(mine, "victim")),
                }
                yield (
                    data
                    | _numbers(result)
                    | {"innocent_models": len({r["suspect"] for r in mine if not r["stolen"]})}
                )


def counts_for(row: Row, task: str) -> bool:
    """Whether a pair is one of a task's."""
    return bool(row["task"] == task if row["stolen"] else not row["tasks"] or task in row["tasks"].split("|"))


def as_scored(part: Sequence[Row]) -> Scored:
    """Rows of one method and budget."""
    scores, stolen = np.array([r["score"] for r in part]), np.array([r["stolen"] for r in part], dtype=bool)
    return Scored(scores, stolen, [r["suspect"] for r in part])


def _numbers(found: Measured) -> Row:
    shares = {"auc": found.auc} | {column(rate): found.tpr[rate] for rate in FPRS}
    data = {
        name + end: getattr(s, of_)
        for name, s in shares.items()
        for end, of_ in (("", "value"), ("_low", "low"), ("_high", "high"))
    }
    return {"stolen": found.stolen, "innocent": found.innocent} | data


def _findings(found: Sequence[Row], failed: Sequence[str]) -> Iterator[Finding]:
    for (group, method, access), part in by(found, lambda r: (r["group"], r["method"], r["access"])).items():
        every, most = of(part, task=ALL), max(r["budget"] for r in part)
        counts = (
            f"{max(r['stolen'] for r in every)} stolen, {{}} innocent pairs of"
            f" {max(r['victims'] for r in every)} victims"
        )
        n = max(r["innocent"] for r in every)
        note = "; ".join(
            [
                told_of_rates(n),
                *([f"did not learn, and are in no number: {', '.join(failed)}"] if failed else []),
            ]
        )
        line = "; ".join(f"{r['asked_most']:,} questions: {_shown(r)}" for r in every)
        yield unclaimed(
            f"{method} tells stolen models from innocent ones ({group}, {access})",
            line,
            counts.format(n),
            note,
        )
        tasks = [r for r in of(part, budget=most) if r["task"] != ALL]
        if len(tasks) > 1:
            n = min(r["innocent"] for r in tasks)
            line = "; ".join(f"{r['task']} ({r['stolen']}): {_shown(r)}" for r in tasks)
            claim = f"{method}, task by task, {most:,} questions at most ({group}, {access})"
            yield unclaimed(claim, line, counts.format(n), told_of_rates(n))


def _shown(row: Row) -> str:
    """For example ``AUC .94 [.90, .97], found .71 [.60, .80] at 1 % FPR, .80 [.70, .88] at 5 %``."""
    shares = {
        name: Share(row[name], row[f"{name}_low"], row[f"{name}_high"])
        for name in ("auc", *map(column, FPRS))
    }
    first, *others = FPRS
    text = "".join(f", {shares[column(rate)]} at {rate * 100:g} %" for rate in others)
    return f"AUC {shares['auc']}, found {shares[column(first)]} at {first * 100:g} % FPR{text}"


def column(rate: float) -> str:
    """Where the true positives at a rate of false ones stand."""
    return f"tpr_{rate * 100:g}"


def told_of_rates(innocent: int) -> str:
    """What a rate of false positives means with so few negatives."""
    none = [f"{rate * 100:g} %" for rate in FPRS if rate * innocent < 1]
    if not none:
        return "intervals of 95 % by bootstrap over models"
    return (
        f"intervals of 95 % by bootstrap over models; with {innocent} innocent pairs, fewer than"
        f" {1 / min(FPRS):.0f}, the rate at {' and '.join(none)} FPR is the rate at no false positive at all"
    )


def _picture(found: Sequence[Row]) -> bytes:
    groups = list(by(found, "group"))

    def paint(axes: Any, title: str) -> None:
        for (method, access), part in by(
            of(found, group=title, task=ALL), lambda r: (r["method"], r["access"])
        ).items():
            ours = method in (OURS, DEVIATIONS)
            style = {"linewidth": 2.0 if ours else 1.0, "linestyle": "-" if ours else "--"}
            axes.plot(
                [r["asked_most"] for r in part],
                [r["tpr_5"] for r in part],
                marker="o",
                markersize=3.5,
                label=f"{method} ({access})",
                **style,
            )
        axes.set_xscale("log")
        axes.set(xlabel="questions", ylabel="stolen models found at 5 % FPR", ylim=(-0.02, 1.03))

    return panels(groups, paint)
