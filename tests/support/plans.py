"""Plans of zoos."""

from hypothesis import strategies as st

from zooaudit.config import ExtractConfig, ZooConfig
from zooaudit.zoo.plan import Plan, plan_zoo
from zooaudit.zoo.shape import ModelShape

SHAPE = ModelShape((1, 28, 28), 10, (0.286,), (0.353,), (16, 32), 128)
ZOOS = st.builds(
    ZooConfig,
    architectures=st.sampled_from([("B",), ("B", "C"), ("D", "E", "B", "C")]),
    optimisers=st.sampled_from([("sgd",), ("adam", "sgd"), ("sgd", "adam", "rmsprop")]),
    suspects_per_cell=st.integers(1, 3),
    encoder_per_role=st.integers(2, 5),
    other_victims=st.integers(0, 3),
    look_alikes_per_victim=st.integers(0, 5),
    twins=st.integers(0, 5),
    references=st.integers(0, 7),
    second_attack=st.sampled_from([None, ExtractConfig(attack="jbda")]),
)


def plan(zoo: ZooConfig, seed: int = 0, own: str | None = None) -> Plan:
    return plan_zoo(zoo, "data", SHAPE, seed, own)
