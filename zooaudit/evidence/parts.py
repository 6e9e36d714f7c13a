"""Make parts of a kit again from the victim and the data: its UAP, its questions, the victim's own
answers."""

from collections.abc import Iterable

import torch

from zooaudit.auditing import steps
from zooaudit.auditing.twin_questions import natural_images
from zooaudit.config import Recipe
from zooaudit.data.images import Dataset
from zooaudit.data.on_disk import Images
from zooaudit.data.textures import textures
from zooaudit.evidence.checks import Finding
from zooaudit.evidence.packs import Opened
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.verdict.examined import FOREIGN, LOG, NATURAL
from zooaudit.verdict.grouping import kept
from zooaudit.zoo.attacks.defended import shown
from zooaudit.zoo.fit import accuracy

TOLERANCE = 1e-3
"""How far a remade UAP may differ, L-inf, because another processor rounds differently."""
ANOTHER = 0.5
"""Cosine below which a remade UAP is a different one, whatever the processor."""
ROUNDING = 0.02
"""How far probabilities and accuracies may differ on another processor."""


def uap_again(opened: Opened, recipe: Recipe, victim: steps.Victim, dataset: Dataset) -> Finding:
    """Make the UAP again from the recipe's seed, and compare."""
    made, stated = steps.crafted(recipe, victim, dataset).v.cpu(), opened.kit.v
    apart = float((made - stated).abs().max())
    alike = float(torch.nn.functional.cosine_similarity(made.flatten(), stated.flatten(), dim=0))
    text = (
        f"made again from seed {recipe.seed}, it differs by {apart:.2g} at most (L-inf), cosine {alike:.3f}"
    )
    if apart <= TOLERANCE:
        return Finding("UAP", True, text)
    return Finding(
        "UAP",
        False if alike < ANOTHER else None,
        text + ("" if alike < ANOTHER else "; another processor may explain it"),
    )


def questions(opened: Opened, recipe: Recipe, dataset: Dataset) -> Finding:
    """Whether the questions are of the stated kinds: test images that no model trains on, and textures made
    from the recipe's seed.

    Images of another task and a query log are the owner's own; fresh twins are asked them too.
    """
    test, config = opened.kit.twin_test, recipe.twin_test
    free = natural_images(dataset, recipe.seed, config.pool)
    known = _keys(free.images, free.labels.tolist())
    natural, foreign, log = (
        [i for i, f in enumerate(test.families) if f == family] for family in (NATURAL, FOREIGN, LOG)
    )
    strange = sum(key not in known for key in _listed(test.images[natural], test.labels[natural].tolist()))
    text = (
        f"{strange} of {len(natural)} images, with their labels, are not among the {len(free)} test images"
        " that no model trains on"
    )
    if foreign:
        made = _keys(textures(config.pool // 2, dataset.image_shape, recipe.seed))
        other = sum(key not in made for key in _listed(test.images[foreign]))
        text += f"; {len(foreign)} of another domain, " + (
            f"{other} of them the owner's own" if other else "textures of the recipe's seed"
        )
    if log:
        text += f"; {len(log)} of a query log, which the owner chose"
    return Finding("questions", strange == 0, text)


def itself(opened: Opened, recipe: Recipe, victim: steps.Victim, dataset: Dataset) -> Finding:
    """Whether the victim has the answers and the accuracy that the kit states."""
    test, device = opened.kit.twin_test, dataset.train.images.device
    black_box = TorchBlackBox(victim.module.to(device), test.num_classes, victim.id)
    given = torch.cat([black_box.ask(batch.to(device)).cpu() for batch in test.questions().split(500)])
    config = recipe.twin_test
    apart = float((kept(given) - test.answers[0]).abs().max())
    if test.defended is not None:
        defended = shown(test.questions(), given, config.defence, config.defence_budget)
        apart = max(apart, float((kept(defended) - test.defended[0]).abs().max()))
    reached, stated = accuracy(victim.module, dataset.test), test.candidates[0].accuracy
    text = (
        f"asked again, its answers differ from the kit's by {apart:.2g} at most, its accuracy is"
        f" {reached:.3f} and the kit's {stated:.3f}; up to {ROUNDING:g} another processor may explain"
    )
    same = (
        test.candidates[0].id == opened.kit.victim and apart <= ROUNDING and abs(reached - stated) <= ROUNDING
    )
    return Finding("victim", same, text)


def _keys(images: Images, labels: Iterable[int] = ()) -> set[tuple[bytes, ...]]:
    return set(_listed(images, labels))


def _listed(images: Images, labels: Iterable[int] = ()) -> list[tuple[bytes, ...]]:
    """Images, with their labels if there are any, as hashable keys."""
    content = [image.cpu().numpy().tobytes() for part in images.split(500) for image in part]
    named = [str(label).encode() for label in labels]
    return list(zip(content, named, strict=True)) if named else [(c,) for c in content]
