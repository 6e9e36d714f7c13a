"""QuRD's protocol on its own published models, from a download: pair by pair, each kept, so
that a run goes on where it stopped.

The twin test is not among the methods: it ranks a victim among twins, models of the same training with other
seeds, and the benchmarks publish none.
"""

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.torch
import torch
from torch import Tensor, nn

from zooaudit.baselines.methods import Crafted
from zooaudit.compute import pick_device
from zooaudit.config import digest_of
from zooaudit.data.images import to_unit
from zooaudit.data.reading import PLAIN, Reading
from zooaudit.errors import DataError, NotEnoughModelsError
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.encoding import table_to_bytes, tensors_to_bytes
from zooaudit.studies import qurd
from zooaudit.studies.cuts import BUDGETS, Cut, Natural, cuts, needed
from zooaudit.studies.outcome import unclaimed
from zooaudit.studies.published_images import Images, read_images
from zooaudit.studies.published_models import Found, checked, digest, find, load
from zooaudit.studies.published_names import BENCHMARKS, Benchmark, Pair, stored
from zooaudit.studies.registry import ModelsStudy
from zooaudit.studies.runner import METHOD, ROWS, Result, files_of, result_of
from zooaudit.studies.validity import Row
from zooaudit.suspects.blackbox import TorchBlackBox

QUESTIONS, SCORES = "qurd-questions", "qurd-scores"
TENSORS = "tensors.safetensors"
BATCH = 100
NO_TWINS = unclaimed(
    "The twin test is not run on the published models",
    "-",
    "0 twins",
    "it ranks a victim among its twins, models of the same training with other seeds; the benchmarks publish"
    " none",
)
Progress = Callable[[str], None]


@dataclass(eq=False)
class Questions:
    """What suspects are asked on behalf of one victim.

    Attributes:
        made: images float ``[n, 3, h, w]`` that were made from the victim, by what they
            are; ``own``: its answers to them.
    """

    crafted: Crafted
    made: Mapping[str, Tensor]
    own: dict[str, Tensor]

    @cached_property
    def cuts(self) -> list[Cut]:
        return cuts(self.crafted, {name: len(images) for name, images in self.made.items()})

    @cached_property
    def natural(self) -> Tensor:
        """Rows of the pool that some method asks."""
        return needed(self.cuts)


@dataclass(eq=False)
class Run:
    """One benchmark of a download."""

    benchmark: Benchmark
    found: Found
    images: Images
    artifacts: Artifacts
    progress: Progress
    _digests: dict[str, str] = field(default_factory=dict, init=False)

    def rows(self) -> Iterator[Row]:
        """Of all pairs that can be compared, victim by victim."""
        for victim, pairs in comparable(self.benchmark, self.found).items():
            yield from self._of(victim, pairs)

    def _of(self, victim: str, pairs: Sequence[Pair]) -> Iterator[Row]:
        made: list[Questions] = []  # once it is known that some suspect has not been asked yet
        for number, pair in enumerate(pairs, 1):
            id_ = f"{self._id(victim)}.{digest_of([pair.suspect, self._digest(pair.suspect)])}"
            if not self.artifacts.has(SCORES, id_):
                made = made or [self._questions(victim)]
                self.progress(f"{self.benchmark.group}: {pair.suspect} ({number} of {len(pairs)})")
                table = pa.Table.from_pylist(list(self._scored(made[0], pair)))
                self.artifacts.save(
                    SCORES, id_, {ROWS: table_to_bytes(table)}, {"victim": victim, "suspect": pair.suspect}
                )
            yield from pq.read_table(io.BytesIO(self.artifacts.load(SCORES, id_).read(ROWS))).to_pylist()

    def _digest(self, name: str) -> str:
        if stored(name) not in self._digests:
            self._digests[stored(name)] = digest(self.found.folders[stored(name)])
        return self._digests[stored(name)]

    def _id(self, victim: str) -> str:
        """Changes with the victim's questions."""
        return digest_of(
            [
                METHOD,
                self.benchmark.group,
                victim,
                self.images.digest,
                self._digest(victim),
                len(self.images.labels),
                *BUDGETS,
            ]
        )

    def _questions(self, victim: str) -> Questions:
        """Made once, and kept: it takes as long as asking many suspects."""
        module, device, id_ = self._load(victim), pick_device(), self._id(victim)
        images, labels = self.images.images.to(device), self.images.labels.to(device)
        if not self.artifacts.has(QUESTIONS, id_):
            self.progress(f"{self.benchmark.group}: questions from {victim}")
            crafted = Crafted(module, images, labels, self._asked(module, images), many=BUDGETS[-1])
            self._check(victim, float(crafted.right.float().mean()))
            content = crafted.made() | {"answers": crafted.answers}
            self.artifacts.save(QUESTIONS, id_, {TENSORS: tensors_to_bytes(content)}, {"victim": victim})
        kept = safetensors.torch.load(self.artifacts.load(QUESTIONS, id_).read(TENSORS))
        made = {name: tensor.to(device) for name, tensor in kept.items()}
        crafted = Crafted(module, images, labels, made.pop("answers"), many=BUDGETS[-1])
        return Questions(crafted, made, {name: self._asked(module, one) for name, one in made.items()})

    def _check(self, victim: str, right: float) -> None:
        """Classes in another order would make every image one that the victim gets wrong."""
        if right < self.benchmark.least_right:
            raise DataError(
                f"{victim} gets {right:.0%} of the test images of {self.benchmark.dataset} right; expected"
                f" {self.benchmark.least_right:.0%} at least: are these its images, and the classes in its"
                " order? --classes FILE says it"
            )

    def _scored(self, questions: Questions, pair: Pair) -> Iterator[Row]:
        module, rows = self._load(pair.suspect), questions.natural
        natural = Natural(rows, self._asked(module, questions.crafted.images[rows]))
        given = {name: self._asked(module, images) for name, images in questions.made.items()}
        for one, score in qurd.scored(questions.cuts, questions.crafted, questions.own, natural, given):
            yield qurd.pair(
                self.benchmark.group,
                pair.victim,
                pair.suspect,
                pair.task,
                pair.stolen,
                score=score,
                tasks=pair.tasks,
                **qurd.named(one),
            )

    def _load(self, name: str) -> nn.Module:
        return load(self.benchmark, name, self.found.folders).to(pick_device())

    def _asked(self, module: nn.Module, images: Tensor) -> Tensor:
        """Answers float32 ``[n, K]`` to images, uint8 or float."""
        black_box = TorchBlackBox(module, self.benchmark.classes)
        return torch.cat(
            [
                black_box.ask(to_unit(part) if part.dtype is torch.uint8 else part)
                for part in images.split(BATCH)
            ]
        )


def comparable(benchmark: Benchmark, found: Found) -> dict[str, list[Pair]]:
    """By victim that is there: its pairs whose suspects are, if stolen models and innocent
    ones are among them."""
    pairs: dict[str, list[Pair]] = {}
    for pair in benchmark.pairs:
        if {stored(pair.victim), stored(pair.suspect)} <= found.folders.keys():
            pairs.setdefault(pair.victim, []).append(pair)
    return {victim: those for victim, those in pairs.items() if {p.stolen for p in those} == {True, False}}


def left_out(benchmark: Benchmark, found: Found) -> dict[str, str]:
    """Models of a benchmark that are in no number, and why."""
    there = comparable(benchmark, found)
    missing = {
        name: "not in the download" for name in map(stored, benchmark.models) if name not in found.folders
    }
    alone = [v for v in benchmark.victims if v not in there and stored(v) in found.folders]
    return missing | dict.fromkeys(
        alone, "a victim without stolen or without innocent models in the download"
    )


def run_published(
    study: ModelsStudy,
    place: Path,
    artifacts: Artifacts,
    provenance: Mapping[str, Any],
    reading: Reading = PLAIN,
    progress: Progress = lambda _: None,
) -> Result:
    """Run the protocol on the published models in a folder; what was asked once is only read the second time.

    Args:
        reading: what the user says of how the images are read.
        progress: called before each step that takes a while.

    Raises:
        DataError, ModelError: images, weights or configurations do not fit, and which.
        NotEnoughModelsError: no victim is there with a stolen model and an innocent one.
    """
    started, found = time.perf_counter(), find(place)
    at_hand = [b for b in BENCHMARKS if any(stored(m) in found.folders for m in b.models)]
    missing = {name: why for b in at_hand for name, why in left_out(b, found).items()}
    missing |= dict.fromkeys(found.strange, "no model of the benchmark is called that")
    chosen = [b for b in at_hand if comparable(b, found)]
    if not chosen:
        wanted = (at_hand or BENCHMARKS)[0].victims[0]
        raise NotEnoughModelsError(
            f"{place} has {len(found.folders)} published models, and no victim with a stolen model and an"
            f" innocent one; expected {wanted} and some of both"
        )
    for name in {n for b in chosen for n in map(stored, b.models)} & found.folders.keys():
        checked(found.folders[name])  # before anything takes long
    runs = [Run(b, found, read_images(place, b, reading), artifacts, progress) for b in chosen]
    before = len(artifacts.ids(SCORES))
    rows = [row for run in runs for row in run.rows()]
    outcome = replace(qurd.outcome(rows, [NO_TWINS]), excluded=missing)
    facts = {
        "study": study.name,
        "title": study.title,
        "source": study.source,
        "benchmarks": [b.group for b in chosen],
        "owners": sorted({r["victim"] for r in rows}),
        "models": len({r["suspect"] for r in rows} | {r["victim"] for r in rows}),
        "seconds": round(time.perf_counter() - started, 1),
        "queries": 0,
        "trained": 0,
        **provenance,
    }
    return result_of(study, files_of(study.name, outcome, facts), len(artifacts.ids(SCORES)) > before)
