"""The step that makes a kit's twin test: the questions, and the answers of candidates and references."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zooaudit.auditing.answering import clean_answers
from zooaudit.auditing.twin_questions import (
    NO_SOURCES,
    Pools,
    Sources,
    informativeness,
    natural_images,
    order,
    pools,
)
from zooaudit.config import TwinTestConfig
from zooaudit.data.images import Dataset, to_unit
from zooaudit.data.on_disk import in_memory
from zooaudit.errors import DataError
from zooaudit.storage.artifacts import Artifacts
from zooaudit.suspects.defences import TREATMENTS
from zooaudit.telemetry.phases import Count, Tally, ignore_count
from zooaudit.verdict.examined import NATURAL, Candidate, Reference
from zooaudit.verdict.grouping import MOST, kept, rounded
from zooaudit.verdict.predicted import predicted
from zooaudit.verdict.twin_test import TwinTest
from zooaudit.zoo.attacks.defended import shown
from zooaudit.zoo.reference_nets import REFERENCE_NETS
from zooaudit.zoo.spec import ModelSpec


def make(
    config: TwinTestConfig,
    seed: int,
    dataset: Dataset,
    artifacts: Artifacts,
    candidates: Sequence[Candidate],
    references: Sequence[ModelSpec],
    sources: Sources = NO_SOURCES,
    procedure: str = "",
    count: Count = ignore_count,
) -> TwinTest:
    """A twin test of ``candidates``, the victim first."""
    available, many, few = pools(config, dataset, seed, sources), len(references), len(candidates)
    tally = Tally(count, (1 + len(TREATMENTS)) * (many + few) + bool(references) * few)
    others = answered([s.id for s in references], available.images, dataset, artifacts, tally.part(many))
    chosen = order(config, available, informativeness(others))
    images, ids = available.images[chosen[0]], [c.id for c in candidates]
    natural = available.families.count(NATURAL)
    own = Asked(
        answered(ids, images, dataset, artifacts, tally.part(few)),
        answered_behind(ids, images, dataset, artifacts, tally),
        defended=answered_defended(ids, images, dataset, artifacts, config),
    )
    if references:
        pool, count = available.images[:natural], tally.part(few)
        own = foreseen(
            own,
            answered(ids, pool, dataset, artifacts, count),
            others[:, :natural],
            chosen[0],
            dataset.num_classes,
            answered_defended(ids, pool, dataset, artifacts, config),
        )
    other = Asked(
        others[:, chosen[0]], answered_behind([s.id for s in references], images, dataset, artifacts, tally)
    )
    kinds = [reference(s) for s in references]
    test = assembled(
        config.level, available, chosen, candidates, own, kinds, other, procedure, dataset.num_classes
    )
    return replace(
        test, lessons=others[:, :natural].clone() if references else None, statistic=config.statistic
    )


@dataclass(frozen=True, eq=False)
class Asked:
    """The models' answers to the questions: float32 ``[models, Q, K]``; behind I interfaces ``[I, models, Q,
    K]`` or None; for candidates also the predictions of their answers, the answers that their defence gives
    instead, and the predictions of those, as in :class:`~zooaudit.verdict.twin_test.TwinTest`, or None."""

    plain: Tensor
    behind: Tensor | None = None
    predicted: Tensor | None = None
    defended: Tensor | None = None
    defended_predicted: Tensor | None = None


def foreseen(
    asked: Asked,
    own: Tensor,
    lessons: Tensor,
    rows: Tensor,
    classes: int,
    defended: Tensor | None = None,
) -> Asked:
    """The candidates' answers together with their predictions.

    Args:
        own, lessons: float32 ``[C, n, K]`` and ``[R, n, K]``, the candidates' and the references' answers to
            the images of the task in the pools.
        rows: int64 ``[Q]``, the image of each question; n or more for another family.
        classes: the models' number of classes, before grouping.
        defended: as ``own``, the answers that the candidates' defence gives instead; None without one.
    """
    if not len(lessons):
        return asked
    natural = rows < lessons.shape[1]

    def filled(plain: Tensor, pool: Tensor) -> Tensor:
        found = plain.clone()
        found[:, natural] = rounded(predicted(pool, lessons, rows[natural]), classes)
        return found

    asked = replace(asked, predicted=filled(asked.plain, own))
    if asked.defended is None or defended is None:
        return asked
    return replace(asked, defended_predicted=filled(asked.defended, defended))


def places(test: TwinTest, config: TwinTestConfig, seed: int, dataset: Dataset) -> Tensor:
    """The place of each question among the pools' images of the task: int64 ``[Q]``; their number, for a
    question of another family.

    Raises:
        DataError: a question is not among them, or the test's lessons have another number of images.
    """
    pool = in_memory(natural_images(dataset, seed, config.pool).images)
    known = {image.numpy().tobytes(): i for i, image in enumerate(pool)}
    rows = [
        known.get(q.numpy().tobytes(), -1) if f == NATURAL else len(pool)
        for q, f in zip(test.images, test.families, strict=True)
    ]
    if -1 in rows or (test.lessons is not None and len(pool) != test.lessons.shape[1]):
        raise DataError(
            f"the kit's questions are not among the images that {dataset.name} gives now; give the data that"
            " the kit was made on"
        )
    return torch.tensor(rows)


def asked_more(
    test: TwinTest,
    ids: Sequence[str],
    config: TwinTestConfig,
    seed: int,
    dataset: Dataset,
    artifacts: Artifacts,
) -> Asked:
    """The answers of later candidates to a test's questions, in the same form as those of its own.

    Args:
        config, seed: those that the test was made with, on this dataset.

    Raises:
        DataError: the questions are not from this dataset.
    """
    images, lessons = test.images, test.lessons
    asked = Asked(
        answered(ids, images, dataset, artifacts),
        answered_behind(ids, images, dataset, artifacts),
        defended=answered_defended(ids, images, dataset, artifacts, config),
    )
    if lessons is None:
        return asked
    rows, pool = (
        places(test, config, seed, dataset),
        in_memory(natural_images(dataset, seed, config.pool).images),
    )
    return foreseen(
        asked,
        answered(ids, pool, dataset, artifacts),
        lessons,
        rows,
        dataset.num_classes,
        answered_defended(ids, pool, dataset, artifacts, config),
    )


def assembled(
    level: float,
    available: Pools,
    chosen: tuple[Tensor, int, tuple[int, ...]],
    candidates: Sequence[Candidate],
    own: Asked,
    references: Sequence[Reference],
    others: Asked,
    procedure: str = "",
    classes: int = 0,
) -> TwinTest:
    """A twin test of the images that ``order`` chose from the pools; ``own`` and ``others`` answer them, in
    that order."""
    asked, control, looks = chosen
    return TwinTest(
        available.images[asked],
        available.labels[asked],
        tuple(available.families[i] for i in asked.tolist()),
        control,
        looks,
        level,
        tuple(candidates),
        own.plain,
        tuple(references),
        others.plain,
        procedure,
        own.behind,
        others.behind,
        own.predicted,
        classes=classes,
        defended=own.defended,
        defended_predicted=own.defended_predicted,
    )


def answered(
    ids: Sequence[str], images: Tensor, dataset: Dataset, artifacts: Artifacts, count: Count = ignore_count
) -> Tensor:
    """The answers of stored models to uint8 ``[n, c, h, w]``: float32 ``[models, n, K]``; many classes are
    grouped."""
    given = clean_answers(ids, images, dataset, artifacts, kept, count)
    return (
        torch.stack([given[id_] for id_ in ids])
        if ids
        else torch.empty(0, len(images), min(dataset.num_classes, MOST))
    )


def answered_defended(
    ids: Sequence[str], images: Tensor, dataset: Dataset, artifacts: Artifacts, config: TwinTestConfig
) -> Tensor | None:
    """As ``answered``, with what the defence in ``config`` gives instead; None without one. It is computed
    from the answers, so no model is asked again."""
    if config.defence == "none":
        return None
    unit = to_unit(images)

    def changed(rows: Tensor) -> Tensor:
        flat = shown(unit, rows.flatten(0, 2), config.defence, config.defence_budget)
        return kept(flat.view_as(rows))

    given = clean_answers(ids, images, dataset, artifacts, changed)
    return torch.stack([given[id_] for id_ in ids])


def answered_behind(
    ids: Sequence[str], images: Tensor, dataset: Dataset, artifacts: Artifacts, tally: Tally | None = None
) -> Tensor:
    """As ``answered``, behind each of ``TREATMENTS``: float32 ``[I, models, n, K]``. Services blur and
    roughen what they receive, which moves all models' answers in the same direction; a verdict must not
    mistake that direction for the victim's."""
    unit, none = to_unit(images), torch.empty(0, len(images), min(dataset.num_classes, MOST))
    found = []
    for treatment in TREATMENTS:
        count = tally.part(len(ids)) if tally else ignore_count
        given = clean_answers(ids, treatment.questions(unit), dataset, artifacts, kept, count)
        found.append(torch.stack([given[id_] for id_ in ids]) if ids else none)
    return torch.stack(found)


def reference(spec: ModelSpec) -> Reference:
    """A model of the zoo as a reference."""
    made = spec.architecture if spec.architecture in REFERENCE_NETS else "trained"
    if spec.start:
        made = "fine-tuned from the victim's start"
    if spec.extraction:
        made = spec.extraction.description
    return Reference(spec.id, made, "" if spec.source == spec.id else spec.source)


def procedure(twin: ModelSpec) -> str:
    """How a twin was trained, for people."""
    if own := twin.own_training:
        return (
            f"by the owner's own {'function' if own.function else 'command'}: {own.function or own.command}"
        )
    return (
        f"{twin.architecture}, {twin.optimiser}, batch {twin.batch_size}, {twin.training.epochs} epochs, on"
        " the victim's own images"
    )
