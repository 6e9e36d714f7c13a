"""What an audit stores and requests: bytes by saving one artifact of each kind to memory, requests by the
steps that save and load.

The tests count both on a real audit.
"""

from collections import Counter
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from zooaudit.auditing.answering import ANSWERS, answers_schema, answers_table
from zooaudit.config import ExtractConfig, Recipe, Start, digest_of
from zooaudit.kits.kit import Kit, save_kit
from zooaudit.paper.encoder import Encoder
from zooaudit.planning.twin_footprint import stored, tensors_stored
from zooaudit.storage.encoding import table_to_bytes, tensors_to_bytes
from zooaudit.storage.models import save_built
from zooaudit.suspects.defences import TREATMENTS
from zooaudit.suspects.factories import call_factory
from zooaudit.verdict.examined import NATURAL
from zooaudit.verdict.twin_test import TwinTest
from zooaudit.zoo.arch import build_architecture
from zooaudit.zoo.build import BuiltModel, ModelRecord, Status
from zooaudit.zoo.int8 import int8_skeleton
from zooaudit.zoo.plan import Plan
from zooaudit.zoo.shape import ModelShape
from zooaudit.zoo.spec import Group, ModelSpec, Role
from zooaudit.zoo.start import unlearnt


@dataclass(frozen=True)
class Requests:
    """Requests to an S3-compatible store."""

    put: float = 0
    get: float = 0
    head: float = 0
    list: float = 0
    delete: float = 0

    def __add__(self, other: "Requests") -> "Requests":
        return Requests(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    def __mul__(self, times: float) -> "Requests":
        return Requests(*(a * times for a in vars(self).values()))

    def over(self, count: int) -> "Requests":
        """The requests of ``count`` models together, on average."""
        return self * (1 / count)


def on_s3(operations: Requests) -> Requests:
    """The S3 requests of operations: pyarrow reads content in bulk, and first asks for its size."""
    return replace(operations, head=operations.head + operations.get)


PROBE = Requests(put=2, get=1, list=1, delete=1)
"""Opening an S3 store tries all operations that a run will need."""
OPEN = Requests(get=1, head=1)
"""The format marker."""


def saved(files: int) -> Requests:
    """``Artifacts.save``: check that it is there; write files and manifest; check all again. The format
    marker is written once."""
    return Requests(put=files + 1, head=files + 1)


def loaded(files: int) -> Requests:
    """Read a manifest and some files."""
    return Requests(get=1 + files)


KEPT = Requests(head=1) + saved(1) + loaded(1)
"""A step's result: looked up, saved, read back."""
CLAIMED = Requests(put=1, delete=1)
"""The lease on a model: claimed and released. (A job's pulse is a PUT and a DELETE every 5 seconds.)"""
BUILT = CLAIMED + saved(1) + loaded(0)
"""A model: a worker claims it, looks it up and saves it; the driver reads its record."""
EXTRACTED = loaded(1)
"""A model's parent, which the worker reads."""
PARENT = Requests(head=1)
"""The driver looks for the model before work begins."""
ASKED = Requests(head=1) + loaded(1) + saved(1) + loaded(1)
"""Answers: looked up; the model read; the answers saved and read back."""
CALLS = 4 + 2 * len(TREATMENTS)
"""For many models at a time, their answers: references to the pools; candidates to the pool of the task and
to the questions; suspects; candidates and references behind each interface."""
OWN_VICTIM = Requests(head=1) + saved(1) + loaded(0)
"""The user's own victim: looked up, saved, its record read."""
FOUND = Requests(head=1) + saved(0) + Requests(put=2, list=4 + CALLS, delete=1)
"""Once for each run: the format marker of a new store; run; pulse; lists of models and answers."""
ONCE = FOUND + loaded(0) * 2 + loaded(1) * 2 + KEPT * 2 + saved(2) + saved(4)
"""In addition: the victim and its contract; its answers to the twin test's questions, as a suspect; UAP,
datapoints; kit; report."""


def audit_requests(trained: int, extracted: int, parents: int, answered: int, encoders: int) -> Requests:
    """Operations of a whole audit on an empty store, without retries and without the start of each Ray worker
    (``PROBE + OPEN``).

    Args:
        trained, extracted: the number of models, and of those made from another.
        parents: models that others are made from.
        answered: question sets that models answer, summed over models.
        encoders: the number of encoders fitted.
    """
    return (
        ONCE + KEPT * encoders + BUILT * trained + EXTRACTED * extracted + PARENT * parents + ASKED * answered
    )


def model_bytes(plan: Plan) -> dict[str, int]:
    """Bytes of all models, manifests included; the user's own victim is as large as one of its twins."""
    examples: dict[tuple[str, ...], ModelSpec] = {}
    counts: Counter[tuple[str, ...]] = Counter()
    for spec in plan.specs:
        change = spec.extraction or spec.modification
        key = (
            spec.architecture,
            change.attack if isinstance(change, ExtractConfig) else change.kind if change else "",
        )
        examples.setdefault(key, spec)
        counts[key] += 1
    counts.update(key for key, spec in examples.items() if spec.own_training)
    return {"model": sum(_model_bytes(examples[key]) * n for key, n in counts.items())}


@cache
def _model_bytes(spec: ModelSpec) -> int:
    record = ModelRecord(
        Status.LEARNT,
        0.98765,
        0.98765 if spec.parent else None,
        12345,
        12.345,
        1,
        "bfloat16",
        "",
        *([0.98765] * 2 if spec.parent else []),
    )
    around = stored(lambda artifacts: save_built(artifacts, BuiltModel(spec, {}, record)))
    if spec.own_training is not None and not spec.own_training.factory:
        return around
    quantised = spec.modification is not None and spec.modification.kind == "int8"
    factory = spec.own_training.factory if spec.own_training else ""
    return around + _weights_bytes(spec.architecture, spec.shape, factory, spec.start, quantised)


@cache
def _weights_bytes(
    architecture: str, shape: ModelShape, factory: str, start: Start | None, quantised: bool
) -> int:
    with torch.random.fork_rng([]):
        if start:
            module = unlearnt(start, shape.num_classes)
        elif factory:
            module = call_factory(factory, num_classes=shape.num_classes)
        else:
            with torch.device("meta"):
                module = build_architecture(architecture, shape)
        weights = (int8_skeleton(module) if quantised else module).state_dict()
    return len(tensors_to_bytes({name: torch.zeros(t.shape, dtype=t.dtype) for name, t in weights.items()}))


@dataclass(frozen=True)
class Asking:
    """Which models are asked which questions, if all models learn.

    Attributes:
        models: answer the fingerprints' questions: victim, encoder's models, suspects.
        candidates, references: of the twin test; the victim is both a candidate and one of ``models``.
        pool: images that the twin test's questions are chosen from; all references are asked them.
        natural: those of the pool that candidates are asked too: of the victim's task; 0 without references.
        budget: questions of the twin test.
        fingerprints: questions of all fingerprints.
    """

    models: int
    candidates: int
    references: int
    pool: int
    natural: int
    budget: int
    fingerprints: int

    @property
    def short(self) -> int:
        """How often a model is asked the twin test's questions: all but references plainly, candidates and
        references behind interfaces."""
        return self.models - 1 + self.candidates + (self.candidates + self.references) * len(TREATMENTS)

    @property
    def sets(self) -> int:
        """Question sets that models answer, summed over models."""
        return self.models + self.references + (self.candidates if self.natural else 0) + self.short

    @property
    def queries(self) -> int:
        """Images that all models are asked, including models that run in this process."""
        pools = self.references * self.pool + self.candidates * self.natural
        return self.models * self.fingerprints + pools + self.short * self.budget


def asking(recipe: Recipe, plan: Plan, test: TwinTest, families: tuple[str, ...]) -> Asking:
    """Which models are asked which questions."""
    judged = sum(s.group in (Group.ENCODER, Group.SUSPECT) for s in plan.specs)
    n, views = recipe.fingerprint.points, recipe.fingerprint.views
    pool, natural = len(families), families.count(NATURAL) if test.references else 0
    return Asking(
        1 + judged, len(test.candidates), len(test.references), pool, natural, test.budget, 2 * n * views
    )


def audit_bytes(recipe: Recipe, plan: Plan, asked: Asking, test: TwinTest) -> dict[str, int]:
    """Bytes of an audit's artifacts other than models and report, by kind."""
    image, classes = plan.specs[0].shape.image, plan.specs[0].shape.num_classes
    n, views = recipe.fingerprint.points, recipe.fingerprint.views
    answers = _drawn(views, n, 2, classes)
    points = torch.zeros(views, n, *image, dtype=torch.uint8)
    with torch.random.fork_rng([]):
        encoder = Encoder(answers[0].numel(), recipe.encoder)
        beside = None if recipe.encoder.name == "paper" else Encoder(answers[0].numel(), recipe.paper_encoder)
    references = tuple(s.id for s in plan.of(Role.HOMOLOGOUS, Group.SUSPECT))
    drawn = np.random.default_rng(0).random((len(references), views), dtype=np.float32)
    kit = Kit(
        plan.victim,
        torch.zeros(image),
        points,
        answers,
        encoder,
        recipe.encoder,
        references,
        drawn,
        recipe.verdict,
        recipe.seed,
        test,
        {},
    )
    given = _answers_bytes(answers, plan.victim) * asked.models
    given += _answers_bytes(_drawn(1, asked.pool, 1, classes), plan.victim) * asked.references
    if asked.natural:
        given += _answers_bytes(_drawn(1, asked.natural, 1, classes), plan.victim) * asked.candidates
    given += _answers_bytes(_drawn(1, asked.budget, 1, classes), plan.victim) * asked.short
    return {
        "answers": given,
        "uap": tensors_stored("uap", {"v": torch.zeros(image)}),
        "points": tensors_stored(
            "points", {"points": points, "indices": torch.zeros(views, n, dtype=torch.int64)}
        ),
        "encoder": sum(
            tensors_stored("encoder", dict(e.state_dict())) for e in (encoder, beside) if e is not None
        ),
        "kit": stored(lambda a: save_kit(a, kit)),
    }


def _drawn(*shape: int) -> Tensor:
    """Answers as random as a model's, since zeros would compress to nothing."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).softmax(-1)


def _answers_bytes(answers: Tensor, model: str) -> int:
    table = table_to_bytes(answers_table(answers, answers_schema(answers.shape[-1])))
    meta = {"model": model, "queries": answers[..., 0].numel()}
    return stored(lambda a: a.save("answers", f"{model}.{digest_of('')}", {ANSWERS: table}, meta))
