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


class WorkQueue:
    """Specs to build and who has claimed which. One caller at a time; a worker that comes back gives up its old claim.

    Args:
        ordered: specs in the order they should be drawn.
        ready: ids of parents that already exist.
    """

    def __init__(self, ordered: list[ModelSpec], ready: set[str]) -> None:
        self._pending = {s.id: s for s in ordered}
        self._claims: dict[int, ModelSpec] = {}
        self._ready = set(ready)

    def join(self, worker: int) -> None:
        """Worker number ``worker`` starts or restarts: what its dead predecessor had claimed is to be done again."""
        spec = self._claims.pop(worker, None)
        if spec is not None:
            self._pending = {spec.id: spec, **self._pending}

    def draw(self, worker: int) -> ModelSpec | None:
        """Claim the next spec whose parent is there; None if there is none now (see ``empty``)."""
        for spec in self._pending.values():
            if spec.parent is None or spec.parent in self._ready:
                del self._pending[spec.id]
                self._claims[worker] = spec
                return spec
        return None

    def finish(self, worker: int, id_: str) -> None:
        """Worker ``worker`` has committed model ``id_`` (which a queue made anew may not know that it had drawn)."""
        self._claims.pop(worker, None)
        self._pending.pop(id_, None)
        self._ready.add(id_)

    @property
    def claimed(self) -> tuple[str, ...]:
        """Ids of the models being built."""
        return tuple(s.id for s in self._claims.values())

    @property
    def empty(self) -> bool:
        """Nothing is left to draw, now or later."""
        return not self._pending
