"""How much a suspect's interface gives: the access levels, from all probabilities down to a label."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from zooaudit.choices import ACCESS
from zooaudit.config import check
from zooaudit.errors import ConfigError

Kind = Literal["probabilities", "top", "rounded", "label"]


@dataclass(frozen=True)
class Access:
    """One access level. ``detail`` is the k of ``top``, the decimals of ``rounded``, and 0 for the others."""

    kind: Kind = "probabilities"
    detail: int = 0

    def __post_init__(self) -> None:
        least, most = {"top": (1, 1_000_000), "rounded": (0, 7)}.get(self.kind, (0, 0))
        check(self.kind in ("probabilities", "top", "rounded", "label"), self, "kind", ACCESS)
        check(least <= self.detail <= most, self, "detail", f"{least} to {most} for {self.kind}")

    @staticmethod
    def named(name: str) -> "Access":
        """The level with this ``name``: ``Access.named("top-3")``.

        Raises:
            ConfigError: no access level has that name.
        """
        kind, _, detail = name.partition("-")
        if (kind in ("top", "rounded")) != detail.isdecimal() or kind not in (
            "probabilities",
            "top",
            "rounded",
            "label",
        ):
            raise ConfigError(f"access {name!r} is unknown; expected {ACCESS}")
        return Access(kind, int(detail or 0))  # type: ignore[arg-type]

    @staticmethod
    def seen(answers: Tensor) -> "Access":
        """The access level that answers ``[n, K]`` seem to come from, for an interface that is not described.

        Labels, then the fewest decimals (up to 4) that all answers have, then the largest number of classes
        that any of them names.
        """
        label = Access("label")
        if torch.equal(label.reduced(answers), answers):
            return label
        for decimals in range(1, 5):
            if torch.allclose(torch.round(answers, decimals=decimals), answers, rtol=0, atol=1e-6):
                return Access("rounded", decimals)
        named = int((answers > 0).sum(1).max())
        return Access("top", named) if named < answers.shape[1] else Access()

    def within(self, seen: "Access") -> bool:
        """Whether an interface that looks like ``seen`` gives at least as much as this level claims."""
        if seen.kind == "probabilities" or self.kind == "label":
            return True
        return self.kind == seen.kind and self.detail <= seen.detail

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.detail}" if self.kind in ("top", "rounded") else self.kind

    def reduced(self, answers: Tensor) -> Tensor:
        """The answers ``answers``, probabilities float32 ``[..., K]``, as an interface of this level gives
        them, in the same shape.

        A class that is left out is 0; a label is 1 for its class. Rounded answers need not sum to 1.
        """
        if self.kind == "top":
            return top_k(answers, self.detail)
        if self.kind == "label":
            return top_k(answers, 0)
        return torch.round(answers, decimals=self.detail) if self.kind == "rounded" else answers


def top_k(answers: Tensor, k: int) -> Tensor:
    """The answers of a suspect that gives only its ``k`` likeliest classes (paper figure 6b).

    Args:
        answers: probabilities ``[..., K]``.
        k: how many classes are kept, the others become 0; 0 is label-only: 1 for the likeliest class.
    """
    kept = answers.topk(min(max(k, 1), answers.shape[-1]), dim=-1)
    values = torch.ones_like(kept.values) if k == 0 else kept.values
    return torch.zeros_like(answers).scatter_(-1, kept.indices, values)


LADDER = (
    Access(),
    Access("top", 3),
    Access("top", 1),
    Access("rounded", 2),
    Access("rounded", 1),
    Access("label"),
)
"""The access levels that a kit is calibrated for."""
