"""From facts to a recipe: every number comes with its reason. Pure.

The rules were derived from the tested recipes (:mod:`zooaudit.recipes.named`): for their data they give about
these recipes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zooaudit.config import Recipe, Start
from zooaudit.planning.own_task import DataFacts, VictimFacts
from zooaudit.recipes.values import Place, changed
from zooaudit.zoo.vision_nets import HALVED_FROM, SMALLEST

Reasoned = dict[str, tuple[Any, str]]
"""By path: a value, as in a TOML file, and the reason for it."""
MOST_EPOCHS = 40
TINY, SMALL_TASK = 144, 2000
"""The image side up to which smaller nets are enough, and the number of training images for each model below
which two architectures of suspects are enough."""


@dataclass(frozen=True)
class Task:
    """Facts, with what all rules below derive from them."""

    data: DataFacts
    victim: VictimFacts | None

    @property
    def half(self) -> int:
        """Training images that each of our models sees."""
        return round(self.data.train / 2)

    @property
    def held(self) -> int:
        """Training images that the victim has seen."""
        return self.data.train if self.victim else self.half

    @property
    def pixels(self) -> int:
        return self.data.image[1] * self.data.image[2]

    @property
    def tiny(self) -> bool:
        return self.pixels <= TINY

    @property
    def large(self) -> bool:
        """Whether images are for torchvision's nets, whose size does not grow with the image."""
        return self.pixels >= HALVED_FROM**2 and min(self.data.image[1:]) >= SMALLEST

    @property
    def colour(self) -> bool:
        return self.data.image[0] > 1

    @property
    def largest_batch(self) -> int:
        """A tenth of a model's images, or half as many as there are classes if that is more, but no more than
        a third of its images."""
        images = 2 ** int(math.log2(max(16, min(128, self.half / 10))))
        classes = 2 ** math.ceil(math.log2(max(2, min(512, self.data.classes)) / 2))
        return min(max(images, classes), max(4, 2 ** int(math.log2(self.half / 3))))

    @property
    def optimiser_steps(self) -> int:
        """Steps that nets of this size need to learn such images."""
        return 2500 if self.large else 120 if self.tiny else 1500 if self.colour else 900

    @property
    def size(self) -> str:
        return f"images of {self.data.image[1]} x {self.data.image[2]} pixels"


def derived(data: DataFacts, victim: VictimFacts | None) -> Reasoned:
    """The fields of a recipe for this task; every other field keeps its default."""
    task = Task(data, victim)
    parts = (_nets, _training, _floors, _attacks, _counts, _uap, _fingerprint, _twin_test)
    return {path: one for part in parts for path, one in part(task).items()}


def begun_with(start: Start) -> Reasoned:
    """The fields for the public checkpoint that the victim was fine-tuned from."""
    return {
        "zoo.start.factory": (start.factory, "--start: what the victim was fine-tuned from"),
        "zoo.start.weights": (
            start.weights,
            "the weights that it always gives; an audit that finds others there stops",
        ),
    }


def made(name: str, reasoned: Reasoned) -> Recipe:
    """Build the recipe from these values."""
    table: dict[str, Any] = {"name": name}
    for path, (value, _) in reasoned.items():
        *tables, field = path.split(".")
        into = table
        for one in tables:
            into = into.setdefault(one, {})
        into[field] = value
    recipe: Recipe = changed(None, Recipe, table, Place("the recipe that was made"))
    return recipe


def reasons(reasoned: Reasoned) -> Mapping[str, str]:
    """Only the reasons, as comments in a file."""
    return {path: why for path, (_, why) in reasoned.items()}


def _nets(task: Task) -> Reasoned:
    found: Reasoned = {"dataset": (task.data.name, "the data that was looked at")}
    if task.large:
        why = f"{task.size}: torchvision's nets, which end in a mean over the image"
        suspects = ["vgg16", "resnet34"]
        found["zoo.victim_architecture"] = ("resnet18", why)
        found["zoo.widths"] = ([16], f"{why}; a quarter of the published width, so that a CPU can train them")
    else:
        why = f"{task.size}: the small nets A to E"
        few = task.half < SMALL_TASK
        suspects = ["B", "C"] if few else ["B", "C", "D", "E"]
        why_suspects = (
            f"{why}; {'two of them, for' if few else 'all of them, for'} {task.half:,} training images a"
            " model"
        )
        found["zoo.victim_architecture"] = ("A", why)
        found["zoo.widths"] = ([8, 16] if task.tiny else [16, 32], task.size)
        hidden = 32 if task.tiny else 64 if few else 256
        found["zoo.hidden"] = (
            max(hidden, 2 ** math.ceil(math.log2(task.data.classes))),
            f"{task.size}, {task.data.classes} classes",
        )
        why = why_suspects
    found["zoo.architectures"] = (suspects, why)
    found["zoo.encoder_architectures"] = (suspects, "the suspects' architectures, in turn")
    return found


def _training(task: Task) -> Reasoned:
    largest, data = task.largest_batch, task.data
    mean = 0.75 * largest
    epochs = min(MOST_EPOCHS, max(2, math.ceil(task.optimiser_steps * mean / task.half)))
    crowded = f", and {data.classes} classes to see in a batch" if data.classes > 64 else ""
    found: Reasoned = {
        "zoo.optimisers": (["sgd", "adam"], "two of three, to save time"),
        "zoo.batch_sizes": ([largest // 2, largest], f"{task.half:,} training images a model{crowded}"),
        "zoo.training.epochs": (
            epochs,
            (
                f"about {task.optimiser_steps:,} steps with batches of {mean:g} of {task.half:,} images; 2 to"
                f" {MOST_EPOCHS}"
            ),
        ),
    }
    if min(data.image[1:]) >= SMALLEST:
        found["zoo.training.shift"] = (
            min(4, min(data.image[1:]) // 16),
            f"a sixteenth of {min(data.image[1:])} pixels, 4 at most",
        )
    return found


def _floors(task: Task) -> Reasoned:
    data, victim = task.data, task.victim
    reached, who = data.linear, f"the {data.linear:.3f} of a linear model of small images"
    if victim is not None and victim.accuracy < reached:
        reached, who = victim.accuracy, f"the victim's {victim.accuracy:.3f}"
    floor = data.chance + (reached - data.chance) / 2
    why = f"halfway from chance, {data.chance:.3f}, to {who}"
    if floor < data.above_chance:
        floor, why = (
            data.above_chance,
            (
                f"two standard errors above chance, {data.chance:.3f} of {data.test:,} test images: {who} is"
                " hardly more"
            ),
        )
    whole = victim.accuracy if victim else max(reached, floor)
    whose = f"the victim's {whole:.3f}" if victim else who
    floor = math.floor(floor * 1000) / 1000
    recovery = min(0.9, math.floor(floor / whole * 100) / 100)
    return {
        "zoo.accuracy_floor": (floor, why),
        "zoo.recovery_floor": (
            recovery,
            f"accuracy_floor over {whose}, so that extracted models meet it too; 0.9 at most",
        ),
    }


def _attacks(task: Task) -> Reasoned:
    left = task.data.train - task.half
    seeds = max(10, min(5000, int(0.6 * left)))
    final = min(
        MOST_EPOCHS, max(4, math.ceil(1.5 * task.optimiser_steps * 0.75 * task.largest_batch / (2 * seeds)))
    )
    of_seeds = f"three in five of the {left:,} training images that a stranger's model leaves, 5,000 at most"
    of_final = (
        f"about {1.5 * task.optimiser_steps:,.0f} steps on {2 * seeds:,} seeds and synthetic points; 4 to"
        f" {MOST_EPOCHS}"
    )
    one: Reasoned = {
        "seed_size": (seeds, of_seeds),
        "rounds": (1, "one round, to save time"),
        "round_epochs": (max(2, final // 3), "a third of final_epochs, at least 2"),
        "final_epochs": (final, of_final),
    }
    if task.colour and min(task.data.image[1:]) >= SMALLEST:
        one["step_linf"] = (0.03, "colour images of 32 pixels and more, as in the recipes for CIFAR-10")
        one["epsilon_linf"] = (0.06, "colour images of 32 pixels and more, as in the recipes for CIFAR-10")
    found = {
        f"zoo.{table}.{name}": value
        for table in ("extraction", "second_attack")
        for name, value in one.items()
    }
    found["zoo.second_attack.attack"] = ("jbda", "references from two attacks teach more than from one")
    return found


def _counts(task: Task) -> Reasoned:
    victim, few = task.victim, not task.large and task.half < SMALL_TASK
    twins = "19 twins allow level 0.05"
    if victim is not None and not victim.has_training:
        twins += "; there are none until --train or --train-command says what trained the victim"
    elif victim is not None and victim.twin_seconds is not None:
        twins += (
            f"; one took {victim.twin_seconds:.1f} s here, so all take about"
            f" {19 * victim.twin_seconds / 60:.1f} minutes one after another"
        )
    found: Reasoned = {
        "zoo.twins": (19, twins),
        "zoo.references": (
            24,
            "as in fmnist-quick: half of them of other kinds, seven extracted from strangers",
        ),
        "zoo.encoder_per_role": (4, "as in fmnist-quick"),
        "zoo.other_victims": (2, "as in fmnist-quick"),
        "zoo.look_alikes_per_victim": (2, "as in fmnist-quick"),
    }
    if few or task.large:
        found["verdict.min_reference_models"] = (
            2,
            "four independent suspects: one may fail, and one is the suspect itself",
        )
    return found


def _uap(task: Task) -> Reasoned:
    side = min(task.data.image[1:])
    if task.colour and side >= SMALLEST:
        epsilon = 0.07 if side < 64 else 0.055 if side < 128 else 0.04
    else:
        epsilon = 0.35 if task.tiny else 0.17 if side < 64 else 0.1
    return {
        "uap.epsilon": (
            epsilon,
            (
                f"{'colour' if task.colour else 'grey'} {task.size}: as in the recipes for such images,"
                " enough to change most labels"
            ),
        ),
        "uap.points": (min(5000, task.held), f"{task.held:,} images that the victim has seen, 5,000 at most"),
    }


def _fingerprint(task: Task) -> Reasoned:
    views = 20 if task.held >= 4000 else 8 if task.held >= 320 else 4
    points = min(100, max(2, task.held // (4 * views)))
    why = f"{task.held:,} images that the victim has seen"
    return {
        "fingerprint.views": (views, why),
        "fingerprint.points": (points, f"{why}, four for each of {views} views and point; 100 at most"),
        "verdict.fingerprints": (min(20, views), f"no more than the {views} views"),
        "encoder.name": ("hellinger", "as in all recipes"),
        "encoder.steps": (400 if task.half >= SMALL_TASK else 200, f"{task.half:,} training images a model"),
    }


def _twin_test(task: Task) -> Reasoned:
    free = task.data.test - round(task.data.test / 2)
    asked = min(1000, max(20, free // 2))
    checks = min(100, max(10, asked // 5))
    kept = f"{free:,} test images that nothing trains or tunes on"
    return {
        "twin_test.pool": (min(3000, free), f"{kept}, 3,000 at most"),
        "twin_test.control_questions": (min(checks, free // 5), f"a fifth of {asked} questions, 100 at most"),
        "twin_test.looks": (
            [asked // 4, asked // 2, asked],
            f"a quarter, a half and all of {asked} questions: half of {kept}, 1,000 at most",
        ),
    }
