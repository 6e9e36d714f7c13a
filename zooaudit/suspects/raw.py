"""A model as it comes out of its file, before any contract."""

from dataclasses import dataclass, field

from torch import nn

from zooaudit.suspects.contract import Contract
from zooaudit.suspects.described_input import Described


@dataclass(frozen=True, eq=False)
class Raw:
    """A module and what its files say of it.

    Attributes:
        seen: what they say of preprocessing.
        labels: names of its columns, in its order; empty if they have none.
        described: its input's shape and type, where a graph states them.
        notes: what to tell of where that comes from, a line each.
    """

    module: nn.Module
    seen: Contract = field(default_factory=Contract)
    labels: tuple[str, ...] = ()
    described: Described = field(default_factory=Described)
    notes: tuple[str, ...] = ()
