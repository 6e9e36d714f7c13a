"""The order of training. Pure: knows specs, costs and what is done, but not workers or time."""

from functools import cache

from zooaudit.config import ExtractConfig, ModifyConfig
from zooaudit.zoo.arch import ARCHITECTURES, channels_after
from zooaudit.zoo.cost import counted
from zooaudit.zoo.modify import OWN_EPOCHS
from zooaudit.zoo.spec import STARTED, ModelSpec

DEEPFOOL_PASSES = 30.0
"""Passes to craft one adversarial example: a few linearisations in ten classes."""
EPOCHS_OF_ALL = ("fine-tune", "last-layer", "new-head", "retrain", "distil", "transfer")
INVENTED = {"dfme": 1.5, "disguide": 10.0}
"""Passes for one question of a data-free attack: the victim's, and most of a step of the substitute; or many
steps of two."""
TUNING_IMAGES = 5000.0
"""About how many images a thief tunes on, or a model is measured on."""
OWN_WORK = 30 * 2e7
"""Work of an own procedure for each of its images, which we do not know: assumed to be thirty epochs of a net
twice as expensive as any of A to E."""
START_WORK = 2e8
"""Multiplications for an image in a model that begins with a public checkpoint, which we do not know: assumed
to be those of a small net for photographs."""


def relative_cost(spec: ModelSpec, train_size: int) -> float:
    """Estimated training work in arbitrary units: images seen times the multiplications for one image."""
    if spec.own_training is not None:
        return OWN_WORK * train_size
    if spec.modification is not None:
        images = _images_modifying(spec.modification)
    elif spec.extraction is None:
        images = spec.training.epochs * spec.data_fraction * train_size
    else:
        images = _images_extracting(spec.extraction)
    return images * _work_per_image(spec)


def _images_extracting(e: ExtractConfig) -> float:
    """Images that a substitute is trained on, counted as often as they are used."""
    if e.invents:
        return INVENTED[e.attack] * e.queries
    if e.asks_once:
        return float(e.final_epochs * e.seed_size)
    growth = [2.0**r if e.attack == "jbda" else 1.0 + r for r in range(e.rounds + 1)]
    return e.seed_size * (e.round_epochs * sum(growth[:-1]) + e.final_epochs * growth[-1])


def _images_modifying(change: ModifyConfig) -> float:
    """Forward and backward passes of a modification, in images trained on."""
    if change.kind == "adversarial":
        return (change.strength - change.start) * change.batch_size * DEEPFOOL_PASSES
    if change.kind == "uap":
        return change.strength * change.batch_size * 2  # and about as much for the UAPs
    if change.kind == "removal":
        return change.strength * change.batch_size * 2
    if change.kind == "averaged":
        return TUNING_IMAGES * OWN_EPOCHS
    return TUNING_IMAGES * (change.strength if change.kind in EPOCHS_OF_ALL else 1.0)


def _work_per_image(spec: ModelSpec) -> float:
    if spec.architecture == STARTED:
        return START_WORK
    if spec.architecture not in ARCHITECTURES:
        return counted(spec.architecture, spec.shape).work
    arch, shape = ARCHITECTURES[spec.architecture], spec.shape
    channels, height, width = shape.image
    work = 0.0
    for i in range(arch.convolutions):
        out = channels_after(i, arch, shape)
        # 64: activation and pooling, in multiplications.
        work += height * width * out * (channels * arch.kernel**2 + 64)
        channels = out
        if i in arch.pool_after:
            height, width = height // 2, width // 2
    return work + channels * height * width * shape.hidden


def by_longest_path(specs: tuple[ModelSpec, ...], train_size: int) -> list[ModelSpec]:
    """The order in which workers should draw: by the work of a model and of the most expensive chain of
    models made from it, largest first.

    Victims, which others wait for, come before their children, and long models before short ones, so that no
    worker is left with a long one at the end.
    """
    cost = {s.id: relative_cost(s, train_size) for s in specs}
    children: dict[str, list[str]] = {}
    for s in specs:
        if s.parent:
            children.setdefault(s.parent, []).append(s.id)

    @cache
    def path(id_: str) -> float:
        return cost[id_] + max((path(c) for c in children.get(id_, [])), default=0.0)

    return sorted(specs, key=lambda s: -path(s.id))
