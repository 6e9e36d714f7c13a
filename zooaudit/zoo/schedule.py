"""Which model is trained next. Pure: knows specs, costs and what is done; nothing of workers or time."""

from zooaudit.zoo.arch import ARCHITECTURES, channels_after
from zooaudit.zoo.spec import ModelSpec


def relative_cost(spec: ModelSpec, train_size: int) -> float:
    """Estimated training work in arbitrary units: images seen times the multiplications of one image."""
    if spec.extraction is None:
        images = spec.training.epochs * spec.data_fraction * train_size
    else:
        e = spec.extraction
        growth = [2.0**r if e.attack == "jbda" else 1.0 + r for r in range(e.rounds + 1)]
        images = e.seed_size * (e.round_epochs * sum(growth[:-1]) + e.final_epochs * growth[-1])
    return images * _work_per_image(spec)


def _work_per_image(spec: ModelSpec) -> float:
    arch, shape = ARCHITECTURES[spec.architecture], spec.shape
    channels, height, width = shape.image
    work = 0.0
    for i in range(arch.convolutions):
        out = channels_after(i, arch, shape)
        work += height * width * out * (channels * arch.kernel**2 + 64)  # 64: activation and pooling, in multiplications
        channels = out
        if i in arch.pool_after:
            height, width = height // 2, width // 2
    return work + channels * height * width * shape.hidden


def by_longest_path(specs: tuple[ModelSpec, ...], train_size: int) -> list[ModelSpec]:
    """Order for workers to draw in: by the work of a model and of its dearest child, most first.

    Victims, which others wait for, come before their children, and the long models before the short, so that no worker is
    left alone with a long one at the end.
    """
    cost = {s.id: relative_cost(s, train_size) for s in specs}
    longest_child: dict[str, float] = {}
    for s in specs:
        if s.parent:
            longest_child[s.parent] = max(longest_child.get(s.parent, 0.0), cost[s.id])
    return sorted(specs, key=lambda s: -(cost[s.id] + longest_child.get(s.id, 0.0)))
