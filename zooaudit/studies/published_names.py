"""QuRD's two benchmarks by the names of their models: who was made from whom, which pairs are compared, and
what each is called on the hub.

A name tells how a model was made: ``train(vgg_model,CIFAR10,base)->finetune(3)``. SACBench is of Guan, Liang
and He (NeurIPS 2022), ModelReuse of ModelDiff (Li et al., ISSTA 2021), both as QuRD (Godinot et al., AAAI
2025) has them on the Hugging Face hub.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

STEP = re.compile(r"(\w+)\(([^()]*)\)")
FIRST = ("train", "pretrain")
WITH_ARCHITECTURE = ("steal", "label_extraction", "adv_label_extraction", "probit_extraction")
"""Thieves that are other nets than their victim: the first word in brackets."""


@dataclass(frozen=True)
class Step:
    """For example ``transfer`` with ``CIFAR100`` and ``3``."""

    kind: str
    words: tuple[str, ...]


@cache
def steps(name: str) -> tuple[Step, ...]:
    """What was done, in order."""
    return tuple(Step(kind, tuple(words.split(",")) if words else ()) for kind, words in STEP.findall(name))


def architecture(name: str) -> str:
    """As the benchmark calls it."""
    return [s.words[0] for s in steps(name) if s.kind in (*FIRST, *WITH_ARCHITECTURE)][-1]


def hub_name(name: str) -> str:
    """The part of a repository's name that follows the benchmark's; brackets, commas and
    arrows are not allowed there."""
    for old, new in ((">", ""), (".", "_"), ("(", "."), (",", "."), (")", "")):
        name = name.replace(old, new)
    return name.strip("-.")


@dataclass(frozen=True)
class Pair:
    """Attributes:
    task: how the suspect was made of the victim; of an innocent, what it is.
    tasks: for which an innocent counts; all if none is named.
    """

    victim: str
    suspect: str
    task: str
    stolen: bool
    tasks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Benchmark:
    """Attributes: dataset: of the images, and the name of their folder. side: of these, in pixels.
    least_right: of them, the share that a victim gets right at least, if they and their classes are the
    benchmark's. pairs: all that are compared.
    """

    name: str
    dataset: str
    classes: int
    side: int
    least_right: float
    pairs: tuple[Pair, ...]

    @property
    def group(self) -> str:
        return f"{self.name} {self.dataset}"

    @cached_property
    def victims(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(p.victim for p in self.pairs))

    @cached_property
    def models(self) -> tuple[str, ...]:
        """All that are compared, victims first."""
        return tuple(dict.fromkeys((*self.victims, *(p.suspect for p in self.pairs))))

    @cached_property
    def by_folder(self) -> dict[str, str]:
        """Names by what a published model's folder is called: the inverse of ``hub_name``."""
        return {f"{self.name}-{hub_name(stored(m))}": stored(m) for m in self.models}


def stored(name: str) -> str:
    """The model whose weights are published: a quantised one is made anew of that which it was made from."""
    return name.partition("->quantize(")[0]


SAC_VICTIM = "train(vgg_model,CIFAR10,base)"
STUDENTS = ("vgg13", "resnet18", "densenet121", "mobilenet_v2")
EXTRACTIONS = ("label_extraction", "adv_label_extraction", "probit_extraction")
NOT_TRANSFER = ("finetune", "fineprune", *EXTRACTIONS)


def _by_student(form: Callable[[str, int], str], nets: tuple[str, ...] = STUDENTS) -> Iterator[str]:
    """Five of each net, numbered through."""
    return (form(net, 5 * i + seed) for i, net in enumerate(nets) for seed in range(5))


def _sac_pairs() -> Iterator[Pair]:
    kinds = [f"{kind}({seed})" for kind in ("finetune", "fineprune") for seed in range(10)]
    kinds += [f"transfer({dataset},{seed})" for dataset in ("CIFAR100", "CIFAR10C") for seed in range(10)]
    for kind in EXTRACTIONS:
        kinds += _by_student(lambda net, seed, kind=kind: f"{kind}({net},{seed})")  # type: ignore[misc]
    for one in kinds:
        yield Pair(SAC_VICTIM, f"{SAC_VICTIM}->{one}", one.partition("(")[0], True)
    for suspect in _by_student(lambda net, seed: f"train({net},CIFAR10,{seed})"):
        yield Pair(SAC_VICTIM, suspect, "trained on CIFAR10", False, NOT_TRANSFER)
    for suspect in _by_student(lambda net, seed: f"train({net},CIFAR10C,{seed})", ("vgg16_bn", "resnet18")):
        yield Pair(SAC_VICTIM, suspect, "trained on CIFAR10C", False, ("transfer",))


REUSED = ("mbnetv2", "resnet18")
VARIED = (
    "prune(0.2)",
    "prune(0.5)",
    "prune(0.8)",
    "quantize(float16)",
    "quantize(qint8)",
    "steal(mbnetv2)",
    "steal(resnet18)",
    "distill()",
)


def _reuse_pairs(dataset: str) -> Iterator[Pair]:
    fine = [
        f"pretrain({net},imagenet-1k)->transfer({dataset},{share})"
        for net in REUSED
        for share in ("0.1", "0.5", "1.0")
    ]
    scratch = [f"train({net},{dataset})" for net in REUSED]
    made = {
        v: [f"{v}->{how}" for how in VARIED if v in fine or not how.startswith("quantize")]
        for v in (*fine, *scratch)
    }
    for victim in made:
        for suspect in made[victim]:
            yield Pair(victim, suspect, steps(suspect)[-1].kind, True)
        for other in (o for o in made if _unrelated(victim, o)):
            for suspect in (other, *made[other]):
                yield Pair(
                    victim,
                    suspect,
                    "trained from nothing" if other in scratch else "of another checkpoint",
                    False,
                )


def _unrelated(victim: str, other: str) -> bool:
    """ModelDiff's negatives: trained from nothing on the same data, or made from another
    public checkpoint."""
    return steps(other)[0] != steps(victim)[0]


BENCHMARKS = (
    Benchmark("SACBenchmark", "CIFAR10", 10, 32, 0.5, tuple(_sac_pairs())),
    Benchmark("ModelReuse", "Flower102", 102, 224, 0.2, tuple(_reuse_pairs("Flower102"))),
    Benchmark("ModelReuse", "SDog120", 120, 224, 0.2, tuple(_reuse_pairs("SDog120"))),
)


def known_folders() -> dict[str, str]:
    """Every published model, whether it is compared or not, by the name of its folder."""
    found = {folder: name for b in BENCHMARKS for folder, name in b.by_folder.items()}
    return found | {
        f"ModelReuse-{hub_name(f'pretrain({net},imagenet-1k)')}": f"pretrain({net},imagenet-1k)"
        for net in REUSED
    }


def folder_name(place: Path) -> str:
    """What a published model is called where it lies: its own folder, or one of a hub's cache,
    ``models--OWNER--NAME``."""
    return place.name.rpartition("--")[2] if place.name.startswith("models--") else place.name
