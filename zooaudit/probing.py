"""The step that makes a kit's probe: which images tell copies of the victim from innocent models, and what known models answer to them."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from zooaudit.config import ProbeConfig
from zooaudit.data.images import Dataset, ImageSet, to_unit
from zooaudit.encoder.discriminant import most_telling
from zooaudit.errors import DataError
from zooaudit.seeds import derive
from zooaudit.steps import clean_answers
from zooaudit.storage.artifacts import Artifacts
from zooaudit.suspects.defences import TREATMENTS
from zooaudit.verdict.probe import Answered, Known, Probe
from zooaudit.zoo.build import untuned
from zooaudit.zoo.spec import ModelSpec

Behind = Mapping[str, Mapping[str, Tensor]]
"""By treatment and model: answers to the same images behind it."""
LEAST_POOL = 25
"""Fewest images that a probe can be made of: five checks and a first look at twenty."""


def pool(dataset: Dataset, seed: int) -> ImageSet:
    """The half of the test images that no model trains or tunes on, in random order, since data sets are often sorted by class."""
    free = untuned(dataset).to("cpu")
    if len(free) < LEAST_POOL:
        raise DataError(f"half of the {len(dataset.test)} test images is {len(free)}; a probe needs {LEAST_POOL} that nothing is tuned on")
    return free.take(torch.randperm(len(free), generator=torch.Generator().manual_seed(derive(seed, "pool"))))


def sizes(config: ProbeConfig, pool: int) -> tuple[int, int]:
    """How many checks and how many telling images a pool of that size gives."""
    checks = min(config.checks, pool // 5)
    return checks, min(config.queries, pool - checks)


def teaching(parents: Sequence[str]) -> set[str]:
    """Those strangers whose look-alikes train the score: half of them, but so that three are left to be references. How strangers vary
    takes two, and a zoo's own look-alikes are judged without their stranger."""
    distinct = list(dict.fromkeys(parents))
    return set(distinct[: max(0, min(len(distinct) // 2, len(distinct) - 3))])


def choose(
    config: ProbeConfig, seed: int, dataset: Dataset, artifacts: Artifacts, copies: Sequence[ModelSpec], innocent: Sequence[ModelSpec]
) -> Probe:
    """A probe that lacks its references yet: images chosen by the models that train the score, some extracted from the victim, some
    homologous models and look-alikes. References may neither be among them nor share a stranger with one."""
    images = pool(dataset, seed)
    given = clean_answers([s.id for s in (*copies, *innocent)], to_unit(images.images), dataset, artifacts)
    checks, count = sizes(config, len(images))
    telling = most_telling(_stacked(copies, given), _stacked(innocent, given), count)
    asked = order(len(images), telling, checks)
    trained = {id_: answers[asked] for id_, answers in given.items()}
    behind = treated(list(trained), to_unit(images.images[asked]), dataset, artifacts)
    parts = (answered(specs, trained, behind) for specs in (copies, innocent, ()))
    return Probe(images.images[asked], images.labels[asked], checks, config.level, *parts)


def order(size: int, telling: Tensor, checks: int) -> Tensor:
    """Indices into a pool of ``size``: the first so many that are not telling, as checks, and then the telling ones."""
    free = torch.ones(size, dtype=torch.bool)
    free[telling] = False
    return torch.cat([free.nonzero().flatten()[:checks], telling])


def treated(models: Sequence[str], images: Tensor, dataset: Dataset, artifacts: Artifacts) -> Behind:
    """What models answer to float images ``[n, c, h, w]`` behind each of ``TREATMENTS``."""
    return {t.name: clean_answers(models, t.questions(images), dataset, artifacts) for t in TREATMENTS}


def answered(specs: Sequence[ModelSpec], answers: Mapping[str, Tensor], behind: Behind | None = None) -> Answered:
    """What models of the zoo answer, as they are and then behind interfaces; their family is their role."""
    ways = {"": answers} | dict(behind or {})
    models = tuple(Known(s.id, str(s.role), s.kin, way) for way in ways for s in specs)
    return Answered(models, torch.cat([_stacked(specs, given) for given in ways.values()]))


def _stacked(specs: Sequence[ModelSpec], answers: Mapping[str, Tensor]) -> Tensor:
    classes = next(iter(answers.values())).shape if answers else (0, 0)
    return torch.stack([answers[s.id] for s in specs]) if specs else torch.empty(0, *classes)
