"""From a model's return value to rows of class scores: which output to use, what its numbers mean, which
columns are the kit's classes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from zooaudit.errors import AnswersError, ColumnsError, ModelError
from zooaudit.suspects.blackbox import SUM_TOLERANCE, Reading, to_probabilities
from zooaudit.suspects.contract import MISSING, Output

LOGITS = "logits"
ALIKE = 1e-3
"""Outputs whose probabilities differ by less are the same answers, as logits and as probabilities."""


def named(outputs: Any) -> dict[str, Tensor]:
    """Every tensor of a model's outputs under its name: its key, or its number from 0."""
    if isinstance(outputs, Tensor):
        return {"0": outputs}
    fields = getattr(outputs, "_asdict", None)  # a named tuple, as from torchvision's GoogLeNet
    if fields is not None and isinstance(outputs, tuple):
        outputs = fields()
    items = (
        outputs.items()
        if isinstance(outputs, Mapping)
        else enumerate(outputs)
        if isinstance(outputs, list | tuple)
        else ()
    )
    return {str(name): value for name, value in items if isinstance(value, Tensor)}


def flat(tensor: Tensor) -> Tensor:
    """Scores of ``[n, K, 1, 1]``, from nets that end in a convolution, as ``[n, K]``."""
    return tensor.flatten(1) if tensor.ndim == 4 and tensor.shape[2:] == (1, 1) else tensor


def settle(outputs: Any, stated: Output, count: int, columns: int | None, name: str) -> Output:
    """Determine which output is the answers, in the form that ``taken`` uses; the same object if nothing has
    to be added.

    Args:
        outputs: the answers to ``count`` images.
        columns: how many the answers have; None if unknown.

    Raises:
        ModelError: no output fits, or several fit and differ.
    """
    if isinstance(outputs, Tensor):
        return stated
    found = named(outputs)
    if not found:
        raise ModelError(
            f"{name} gave a {type(outputs).__name__} for {count} images; expected ({count},"
            f" {columns or 'classes'}) scores"
        )
    if stated.name or stated.index is not None:
        taken(outputs, stated, name)
        return stated
    rows = {
        n: flat(t)
        for n, t in found.items()
        if t.is_floating_point() and flat(t).ndim == 2 and len(t) == count
    }
    fit = {n: t for n, t in rows.items() if columns is None or t.shape[1] == columns}
    if LOGITS in fit or (LOGITS in rows and not fit):
        return replace(stated, name=LOGITS)
    if len(fit) > 1 and not _alike(list(fit.values())):
        raise ModelError(
            f"{name} gives {_shapes(found)}, and {', '.join(fit)} could each be the answers; state which: "
            f"--contract output.name={next(iter(fit))}"
        )
    if not rows:
        raise ModelError(
            f"{name} gives {_shapes(found)} for {count} images; expected float [images, classes]"
        )
    return replace(stated, name=next(iter(fit or rows)))


def _alike(scores: Sequence[Tensor]) -> bool:
    if len({t.shape for t in scores}) > 1:
        return False
    rows = [t.float() if _whole(t.float()) else t.float().softmax(1) for t in scores]
    return all(bool(((r - rows[0]).abs() < ALIKE).all()) for r in rows)


def _shapes(found: Mapping[str, Tensor]) -> str:
    return ", ".join(
        f"{n}: {str(t.dtype).removeprefix('torch.')} {tuple(t.shape)}" for n, t in list(found.items())[:8]
    )


def taken(outputs: Any, stated: Output, name: str) -> Tensor:
    """The output that is the answers, as float32 ``[n, K']``.

    Raises:
        ModelError: there is no output of that name or number.
    """
    found = named(outputs)
    if stated.index is not None:
        if stated.index >= len(found):
            raise ModelError(
                f"{name} gives {len(found)} outputs, {_shapes(found)}; there is no output.index"
                f" {stated.index}"
            )
        return flat(list(found.values())[stated.index]).float()
    if stated.name:
        if stated.name not in found:
            raise ModelError(
                f"{name} gives {_shapes(found)}; expected an output named {stated.name!r}, as output.name"
                " says"
            )
        return flat(found[stated.name]).float()
    if not isinstance(outputs, Tensor):
        found_ = _shapes(found) or type(outputs).__name__
        raise ModelError(
            f"{name} gives {found_}; state which output is the answers: --contract output.name=..."
        )
    return flat(outputs).float()


def _whole(scores: Tensor) -> bool:
    """Whether rows are whole probabilities."""
    return bool((scores >= 0).all()) and bool(((scores.sum(1) - 1).abs() < SUM_TOLERANCE).all())


def valued(scores: Tensor, output: Output, name: str, stated: bool = False) -> Tensor:
    """Scores ``[n, K']`` as logits or probabilities, according to ``output.values``.

    Args:
        stated: the interface may round them or leave some out, so rows need not sum to 1.

    Raises:
        AnswersError: the scores contradict ``output.values``.
    """
    values = output.values
    if values in ("", "logits"):
        return scores
    found = (
        f"from {float(scores.min()):.3g} to {float(scores.max()):.3g}, rows that sum to"
        f" {float(scores.sum(1).min()):.3g} to " + f"{float(scores.sum(1).max()):.3g}"
    )
    hint = "; if it rounds or cuts them, state that by --access"
    if values == "log-probabilities":
        if not bool((scores <= SUM_TOLERANCE).all()) or not bool(
            (scores.exp().sum(1) - 1).abs().max() < SUM_TOLERANCE
        ):
            raise AnswersError.of(
                f"values {found}", f"log-probabilities: {name} states them by output.values"
            )
        return scores  # the softmax of log-probabilities is the probabilities
    shares = scores / 100 if values == "percentages" else scores
    bounded = bool(((shares >= 0) & (shares <= 1 + SUM_TOLERANCE)).all())
    if not bounded or not (stated or _whole(shares) or _nearly(shares, values)):
        raise AnswersError.of(
            f"values {found}", f"what {name} states by output.values: {values}{'' if not bounded else hint}"
        )
    return shares if stated or _whole(shares) else shares / shares.sum(1, keepdim=True)


def _nearly(shares: Tensor, values: str) -> bool:
    """Whether rows sum to 1 up to rounding: percentages are often rounded to a decimal."""
    return values == "percentages" and bool(
        (shares.sum(1) - 1).abs().max() < 5e-4 * shares.shape[1] + SUM_TOLERANCE
    )


def chosen(scores: Tensor, columns: Sequence[int], name: str, reading: Reading = "any") -> Tensor:
    """The columns of the kit's classes, ``[n, K]``, from scores ``[n, K']``: logits unchanged, probabilities
    divided by their sum.

    Either way the answers say how likely each of the kit's classes is, given that it is one of them. Models
    that know only these classes answer the same, so the two are comparable. Values of a described interface
    (``stated``: rounded, the likeliest few, a label) are not divided, since they would look more precise than
    they are. A class that the model does not have is 0.

    Raises:
        ColumnsError: there is no such column.
        AnswersError: see ``to_probabilities``.
    """
    if scores.ndim != 2 or max(columns) >= scores.shape[1]:
        text = (
            f"{name} gave a tensor of shape {tuple(scores.shape)}; expected column {max(columns)}, as the"
            " classes of the contract say"
        )
        raise ColumnsError.counted(scores.shape[1] if scores.ndim == 2 else 0, text)
    wide, there = scores.shape[1], [c for c in columns if c != MISSING]
    places = torch.tensor(there, device=scores.device)
    if reading == "any" and not _whole(scores) and len(there) == len(columns):
        return scores.index_select(1, places)
    if reading != "stated" and not _whole(scores):
        # For all classes together: checks what the values look like.
        to_probabilities(scores, len(scores), wide, name, reading)
        some = scores.index_select(1, places).softmax(1)
    else:
        some = to_probabilities(scores, len(scores), wide, name, reading).index_select(1, places)
        some = some if reading == "stated" else _shared(some)
    if len(there) == len(columns):
        return some
    rows = scores.new_zeros(len(scores), len(columns), dtype=some.dtype)
    return rows.index_copy(
        1, torch.tensor([i for i, c in enumerate(columns) if c != MISSING], device=scores.device), some
    )


def _shared(some: Tensor) -> Tensor:
    """Rows divided by their sums. A row of zeros means that the model is sure that the image has none of
    these classes; each is then equally likely."""
    sums = some.sum(1, keepdim=True)
    return torch.where(
        sums > 0,
        some / sums.clamp(min=torch.finfo(some.dtype).tiny),
        torch.full_like(some, 1 / some.shape[1]),
    )
