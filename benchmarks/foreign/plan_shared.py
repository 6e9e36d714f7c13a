"""Jobs that belong to no victim: the auditor's references, and innocents of a data set and set."""

from collections.abc import Iterator
from functools import partial

from benchmarks.foreign.classical import SIZES
from benchmarks.foreign.data import derive
from benchmarks.foreign.jobs import SET_OF, SHORT, Job
from benchmarks.foreign.owners import ARCHITECTURE
from benchmarks.foreign.references import specs


def references(dataset: str) -> Iterator[Job]:
    """By zooaudit's own code and plan: nets of its architectures, what is extracted from
    these, and nets of other kinds."""
    planned = specs(dataset)
    ids = {
        spec.id: f"{SHORT[dataset]}-reference-{i:02d}-{spec.architecture}" for i, spec in enumerate(planned)
    }
    for i, spec in enumerate(planned):
        attack, labels = (spec.extraction.attack, spec.extraction.labels) if spec.extraction else ("", "")
        yield Job(
            ids[spec.id],
            dataset,
            "both",
            "reference",
            "reference",
            "reference",
            options={"index": i},
            procedure="zooaudit",
            architecture=spec.architecture,
            parent=ids.get(spec.parent or "", ""),
            attack=attack,
            labels=labels,
            seed=spec.seed % 2**31,
        )


def shared(round_: str, dataset: str, victims: tuple[str, ...]) -> Iterator[Job]:
    """Innocents of a data set and set: by other loops, hardened, scikit-learn's, strangers,
    and models extracted from these."""
    prefix = f"{SHORT[dataset]}-{round_}"
    base = partial(Job, dataset=dataset, set=SET_OF[round_], role="innocent")
    yield from independents(base, prefix, round_ != "dev", dataset == "cifar10")
    for kind in SIZES:
        seed = derive(prefix, kind) % 10_000
        options = {"part": f"{prefix}-{kind}", "kind": kind}
        yield base(
            f"{prefix}-sklearn-{kind}",
            family="scikit-learn",
            maker="classical",
            options=options,
            procedure=kind,
            architecture=kind,
            seed=seed,
        )
    yield from strangers(base, prefix, [p for p in ARCHITECTURE if p not in victims])
    yield from extracted(base, prefix, round_ != "dev", dataset == "cifar10")


def independents(base: partial[Job], prefix: str, many: bool, colour: bool) -> Iterator[Job]:
    """Other architectures by other loops; from the public checkpoint; adversarially trained."""
    cases = [
        ("vit", "smooth", "adamw"),
        ("mlp", "noisy", "sgd"),
        ("dense", "smooth", "adamw"),
        ("tanh", "noisy", "rmsprop"),
        ("resid", "noisy", "sgd"),
        ("mlp", "smooth", "adamw"),
        ("dense", "noisy", "sgd"),
        ("tanh", "smooth", "adamw"),
        ("gelu", "noisy", "rmsprop"),
        ("plain", "smooth", "adamw"),
    ]
    if prefix.endswith("-fresh"):
        cases = [
            ("vit", "cropped", "adamw"),
            ("mlp", "cropped", "adamax"),
            ("dense", "cropped", "adamax"),
            ("tanh", "smooth", "rmsprop"),
            ("resid", "cropped", "sgd"),
            ("separable", "noisy", "adamw"),
            ("drop", "smooth", "sgd"),
            ("hybrid", "noisy", "adamw"),
            ("group", "cropped", "rmsprop"),
            ("mixer", "smooth", "adamw"),
        ]
    for i, (architecture, loop, optimiser) in enumerate(cases if many else cases[:4]):
        epochs = 10 if architecture == "vit" else 6 if colour else 4
        options = {
            "part": f"{prefix}-independent-{i}",
            "loop": loop,
            "optimiser": optimiser,
            "epochs": epochs,
        }
        yield base(
            f"{prefix}-independent-{i}-{architecture}",
            family="independent",
            maker="independent",
            options=options,
            procedure=f"{loop}-{optimiser}",
            architecture=architecture,
            seed=derive(prefix, i) % 10_000,
        )
    for i in range(3 if many else 2):
        loop, optimiser = (("smooth", "adamw"), ("noisy", "sgd"), ("smooth", "sgd"))[i]
        options = {
            "part": f"{prefix}-start-{i}",
            "loop": loop,
            "optimiser": optimiser,
            "epochs": 6 if colour else 4,
            "from_start": True,
        }
        yield base(
            f"{prefix}-same-start-{i}",
            family="same public checkpoint, other loop",
            maker="independent",
            options=options,
            procedure=f"{loop}-{optimiser}",
            architecture="resid",
            seed=700 + i,
        )
    for i in range(2 if many else 1):
        strength, epochs = ((4 if colour else 10) + 4 * i) / 255, 5 if colour else 4
        options = {"part": f"{prefix}-hardened-{i}", "strength": strength, "epochs": epochs}
        yield base(
            f"{prefix}-hardened-{i}",
            family="adversarially trained",
            maker="adversarial",
            options=options,
            procedure="fgsm",
            architecture=("dense", "gelu")[i],
            seed=800 + i,
        )


def strangers(base: partial[Job], prefix: str, procedures: list[str]) -> Iterator[Job]:
    """Owners of other procedures with data of their own: two, as innocents and to extract from."""
    for i, procedure in enumerate(procedures[:2]):
        yield base(
            f"{prefix}-stranger-{i}",
            family="stranger",
            maker="owner",
            options={"part": f"{prefix}-stranger-{i}"},
            procedure=procedure,
            architecture=ARCHITECTURE[procedure],
            seed=900 + i,
        )


def extracted(base: partial[Job], prefix: str, many: bool, colour: bool) -> Iterator[Job]:
    """Models extracted from the strangers and from an independent fine-tuning of the public checkpoint."""
    cases = [
        ("distilled", "soft", "gelu", f"{prefix}-stranger-0"),
        ("distilled", "hard", "plain", f"{prefix}-stranger-1"),
        ("knockoff", "soft", "gelu", f"{prefix}-stranger-1"),
        ("jbda", "soft", "plain", f"{prefix}-stranger-0"),
        ("distilled", "soft", "resid", f"{prefix}-same-start-0"),
        ("cloudleak", "soft", "resid", f"{prefix}-stranger-1"),
        ("knockoff", "soft", "dense", f"{prefix}-stranger-0"),
        ("jbda", "hard", "gelu", f"{prefix}-stranger-1"),
        ("cloudleak", "hard", "plain", f"{prefix}-stranger-0"),
    ]
    for i, (attack, labels, architecture, parent) in enumerate(cases if many else cases[:5]):
        maker, options = how(attack, colour)
        yield base(
            f"{prefix}-extracted-{i}-{attack}-{labels}",
            family="extracted from stranger",
            maker=maker,
            options=options,
            procedure="imitate",
            architecture=architecture,
            parent=parent,
            attack=attack,
            labels=labels,
            seed=1000 + i,
        )


def how(attack: str, colour: bool) -> tuple[str, dict[str, object]]:
    """The maker of an attack and its options at full strength."""
    if attack == "cloudleak":
        return "active", {"count": 3000, "epochs": 8 if colour else 4}
    if attack == "jbda":
        return "active", {"count": 2000, "epochs": 8 if colour else 4}
    source = "foreign" if attack == "knockoff" else "attacker"
    return "imitated", {"count": 6000, "epochs": 11 if colour else 7, "loop": "adam", "source": source}
