"""How much of a store a twin test takes."""

from collections.abc import Callable

import torch
from torch import Tensor

from zooaudit.auditing.kept import TENSORS
from zooaudit.auditing.twin_questions import Pools, order
from zooaudit.auditing.twin_step import procedure, reference
from zooaudit.config import Recipe, digest_of
from zooaudit.storage.artifacts import MARKER, Artifacts
from zooaudit.storage.encoding import tensors_to_bytes
from zooaudit.storage.memory import MemoryStore
from zooaudit.suspects.defences import TREATMENTS
from zooaudit.verdict.examined import FOREIGN, NATURAL, NO_CLASS, Candidate
from zooaudit.verdict.grouping import MOST
from zooaudit.verdict.twin_test import TwinTest
from zooaudit.zoo.plan import Plan
from zooaudit.zoo.spec import Role


def pools_of(recipe: Recipe, test_images: int) -> tuple[str, ...]:
    """The family of each image in the twin test's pools; without a query log or the user's own images."""
    config = recipe.twin_test
    natural = min(config.pool, test_images - round(test_images / 2))
    return (NATURAL,) * natural + (FOREIGN,) * (config.pool // 2 if config.foreign else 0)


def twin_test_of(recipe: Recipe, plan: Plan, families: tuple[str, ...]) -> TwinTest:
    """A twin test of the right size, as if all models learnt, with questions from images of these
    ``families``."""
    image, classes = plan.specs[0].shape.image, plan.specs[0].shape.num_classes
    rows = len(families)
    of = Pools(torch.empty(rows, 0), torch.full((rows,), NO_CLASS), families)
    asked, control, looks = order(recipe.twin_test, of, torch.zeros(rows))
    twins = plan.of(Role.TWIN)
    candidates = tuple(Candidate(id_, 0.98765) for id_ in (plan.victim, *(s.id for s in twins)))
    references = tuple(reference(s) for s in plan.of(Role.REFERENCE))
    columns = min(classes, MOST)
    one = torch.zeros(len(asked), columns)
    own, others = (one.expand(len(models), *one.shape) for models in (candidates, references))
    lessons = torch.zeros(1, columns).expand(len(references), families.count(NATURAL), columns)
    return TwinTest(
        torch.zeros(len(asked), *image, dtype=torch.uint8),
        of.labels[asked],
        tuple(families[i] for i in asked.tolist()),
        control,
        looks,
        recipe.twin_test.level,
        candidates,
        own,
        references,
        others,
        procedure(twins[0]) if twins else "",
        own.expand(len(TREATMENTS), *own.shape),
        others.expand(len(TREATMENTS), *others.shape),
        own.clone() if references else None,
        lessons if references else None,
        classes,
        recipe.twin_test.statistic,
        own.clone() if recipe.twin_test.defence != "none" else None,
        own.clone() if recipe.twin_test.defence != "none" and references else None,
    )


def tensors_stored(kind: str, tensors: dict[str, Tensor]) -> int:
    return stored(lambda a: a.save(kind, digest_of(kind), {TENSORS: tensors_to_bytes(tensors)}, {}))


def stored(save: Callable[[Artifacts], object]) -> int:
    """Bytes that ``save`` leaves in an empty store: content and manifest."""
    store = MemoryStore()
    save(Artifacts(store))
    return sum(len(store.read(key)) for key in store.keys("") if key != MARKER)
