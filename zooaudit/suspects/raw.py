"""A model as read from its files, before any contract."""

from dataclasses import dataclass, field

from torch import nn

from zooaudit.suspects.contract import Contract
from zooaudit.suspects.described_input import Described


@dataclass(frozen=True, eq=False)
class Raw:
    """A module, and what its files say about it.

    Attributes:
        seen: preprocessing, as inferred from the files.
        labels: names of its columns, in order; empty if they have none.
        described: its input's shape and type, if a graph states them.
        notes: where these come from, a line each.
    """

    module: nn.Module
    seen: Contract = field(default_factory=Contract)
    labels: tuple[str, ...] = ()
    described: Described = field(default_factory=Described)
    notes: tuple[str, ...] = ()
