"""Suspects behind APIs, asked as ``zooaudit score`` asks them: by the transport that it
opens, a ledger of the test's."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tests.support.makers import make_twin_test, near
from zooaudit.suspects.api import ApiBlackBox
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.suspects.ledger import Ledger
from zooaudit.suspects.opening import opened
from zooaudit.suspects.rate_limit import RateLimit
from zooaudit.suspects.remote import remote_of

K = 4
CLASSES = ("ankle boot", "bag", "coat", "dress")
MODEL = near(seed=1, copy=1)


@functools.cache
def _all() -> torch.Tensor:
    return (make_twin_test().questions() * 255).round() / 255


def questions(count: int = 24) -> torch.Tensor:
    """Float images ``[count, 1, 4, 4]`` of 256 grey levels, so that 8 bits hold them."""
    return _all()[:count]


def truth(images: torch.Tensor) -> torch.Tensor:
    return TorchBlackBox(MODEL, K).ask(images)


@dataclass
class Asking:
    """One suspect, for a while."""

    black_box: ApiBlackBox
    ledger: Ledger
    said: list[str] = field(default_factory=list)

    @property
    def told(self) -> str:
        return "\n".join(self.said)


@contextmanager
def asking(
    folder: Path, settings: dict[str, Any], budget: int = 10_000, name: str = "l.sqlite"
) -> Iterator[Asking]:
    """A suspect by its settings; waits between attempts are short."""
    remote = remote_of({"patience_s": 20, **settings}, CLASSES)
    transport, closing = opened(remote)
    said: list[str] = []
    with Ledger(folder / name, remote.about, budget) as ledger:
        yield Asking(
            ApiBlackBox(
                remote, ledger, transport, rate_limit=RateLimit(remote.rate, first_s=0.01), say=said.append
            ),
            ledger,
            said,
        )
    closing.close()


THEIRS = ("boots", "bags", "coats", "dresses")
