"""In which order models are trained."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.makers import trained_spec
from zooaudit.config import ExtractConfig, TrainConfig
from zooaudit.data.images import Dataset
from zooaudit.storage.opening import open_store
from zooaudit.training.farm import ordered_tasks
from zooaudit.training.work_queue import WorkQueue
from zooaudit.zoo.schedule import by_longest_path, relative_cost
from zooaudit.zoo.spec import ModelSpec

FAMILIES = st.lists(
    st.tuples(st.integers(1, 9), st.lists(st.integers(1, 9), max_size=3)), min_size=1, max_size=5
)
"""Epochs of each victim, and of the models extracted from it."""


@settings(max_examples=30)
@given(FAMILIES, st.randoms(use_true_random=False))
def test_longest_path_first(digits: Dataset, families: list[tuple[int, list[int]]], random: object) -> None:
    specs: list[ModelSpec] = []
    for i, (epochs, children) in enumerate(families):
        victim = trained_spec(digits, seed=i, training=TrainConfig(epochs=epochs))
        attacks = [ExtractConfig(seed_size=10 * c, final_epochs=c) for c in children]
        specs += [
            victim,
            *(
                trained_spec(digits, seed=100 + j, parent=victim.id, extraction=a)
                for j, a in enumerate(attacks)
            ),
        ]
    random.shuffle(specs)  # type: ignore[attr-defined]
    cost = {s.id: relative_cost(s, 1000) for s in specs}

    def path(spec: ModelSpec) -> float:
        return cost[spec.id] + max((cost[c.id] for c in specs if c.parent == spec.id), default=0)

    ordered = by_longest_path(tuple(specs), 1000)
    assert sorted(s.id for s in ordered) == sorted(s.id for s in specs)
    assert [path(s) for s in ordered] == sorted(map(path, specs), reverse=True)
    queue = WorkQueue(*ordered_tasks(specs, open_store("memory:"), 1000))
    drawn = queue.draw(0)
    assert drawn is not None
    assert drawn.id == max((s for s in ordered if s.parent is None), key=path).id


def test_cost_grows_with_the_work(digits: Dataset) -> None:
    base = trained_spec(digits)
    cost = relative_cost(base, 1000)
    attack = ExtractConfig(seed_size=500, rounds=2)
    assert relative_cost(base, 2000) == 2 * cost
    assert (
        relative_cost(replace(base, training=TrainConfig(epochs=2 * base.training.epochs)), 1000) == 2 * cost
    )
    assert relative_cost(replace(base, architecture="B"), 1000) > cost
    assert relative_cost(replace(base, shape=replace(base.shape, widths=(16, 32))), 1000) > cost
    cloudleak, jbda = (
        relative_cost(replace(base, extraction=replace(attack, attack=a)), 1000)
        for a in ("cloudleak", "jbda")
    )
    assert jbda > cloudleak > relative_cost(replace(base, extraction=replace(attack, rounds=0)), 1000)
