"""The step that makes a kit's probe: which images tell copies of the victim from innocent models, and what known models answer to them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from zooaudit.config import ProbeConfig
from zooaudit.data.images import Dataset, ImageSet, to_unit
from zooaudit.encoder.discriminant import most_telling
from zooaudit.errors import DataError
from zooaudit.seeds import derive
from zooaudit.steps import clean_answers
from zooaudit.storage.artifacts import Artifacts
from zooaudit.verdict.probe import Answered, Known, Probe
from zooaudit.zoo.build import untuned
from zooaudit.zoo.spec import ModelSpec

LEAST_POOL = 25
"""Fewest images that a probe can be made of: five checks and a first look at twenty."""


def pool(dataset: Dataset, seed: int) -> ImageSet:
    """The half of the test images that no model trains or tunes on, in random order, since data sets are often sorted by class."""
    free = untuned(dataset).to("cpu")
    if len(free) < LEAST_POOL:
        raise DataError(f"half of the {len(dataset.test)} test images is {len(free)}; a probe needs {LEAST_POOL} that nothing is tuned on")
    return free.take(torch.randperm(len(free), generator=torch.Generator().manual_seed(derive(seed, "pool"))))


def teaching(parents: Sequence[str]) -> set[str]:
    """Those strangers whose look-alikes train the score: half of them, but so that three are left to be references. How strangers vary
    takes two, and a zoo's own look-alikes are judged without their stranger."""
    distinct = list(dict.fromkeys(parents))
    return set(distinct[: max(0, min(len(distinct) // 2, len(distinct) - 3))])


def make_probe(
    config: ProbeConfig, seed: int, dataset: Dataset, artifacts: Artifacts,
    copies: Sequence[ModelSpec], innocent: Sequence[ModelSpec], references: Sequence[ModelSpec],
) -> Probe:  # fmt: skip
    """Choose the images by the models that train the score, and ask the references those.

    Args:
        copies, innocent: models that train the score: extracted from the victim; homologous models and look-alikes.
        references: innocent models that do not, nor share a stranger with those that do.
    """
    images = pool(dataset, seed)
    unit = to_unit(images.images)
    given = clean_answers([s.id for s in (*copies, *innocent)], unit, dataset, artifacts)
    checks = min(config.checks, len(images) // 5)
    telling = most_telling(_stacked(copies, given), _stacked(innocent, given), min(config.queries, len(images) - checks))
    asked = order(len(images), telling, checks)
    of_references = clean_answers([s.id for s in references], unit[asked], dataset, artifacts)
    trained = {id_: answers[asked] for id_, answers in given.items()}
    return Probe(
        images.images[asked], images.labels[asked], checks, config.level,
        answered(copies, trained), answered(innocent, trained), answered(references, of_references),
    )  # fmt: skip


def order(size: int, telling: Tensor, checks: int) -> Tensor:
    """Indices into a pool of ``size``: the first so many that are not telling, as checks, and then the telling ones."""
    free = torch.ones(size, dtype=torch.bool)
    free[telling] = False
    return torch.cat([free.nonzero().flatten()[:checks], telling])


def answered(specs: Sequence[ModelSpec], answers: dict[str, Tensor], family: str = "") -> Answered:
    """What models of the zoo answer; their family is their role unless given."""
    return Answered(tuple(Known(s.id, family or str(s.role), s.kin) for s in specs), _stacked(specs, answers))


def _stacked(specs: Sequence[ModelSpec], answers: dict[str, Tensor]) -> Tensor:
    classes = next(iter(answers.values())).shape if answers else (0, 0)
    return torch.stack([answers[s.id] for s in specs]) if specs else torch.empty(0, *classes)
