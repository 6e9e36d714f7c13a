"""The only way to ask a model as a black box: checks every answer and counts every query."""

from collections.abc import Callable
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from zooaudit.errors import AnswersError, ColumnsError, ModelError, first_line

SUM_TOLERANCE = 1e-3
SCALED = 0.05
"""How far sums of rows may deviate from their mean, relative to it, if they are scaled probabilities, after
rounding. Sums of logits deviate by far more."""
Reading = Literal["any", "guess", "stated"]


class BlackBox(Protocol):
    """Something that answers images with class probabilities. An attacker and an auditor see a model only
    through this."""

    @property
    def queries(self) -> int:
        """Images answered so far."""
        ...

    def ask(self, images: Tensor) -> Tensor:
        """Answer float images ``[n, c, h, w]`` in [0, 1] with probabilities float32 ``[n, K]``."""
        ...


class TorchBlackBox:
    """A torch module that is asked as a black box.

    Args:
        module: returns logits, or probabilities (rows that are not negative and sum to 1), ``[n,
            num_classes]``.
        num_classes: K, checked on every answer.
        name: used in errors.
        reading: ``any``: whatever is not probabilities is read as logits. ``guess``: the same, but values in
            [0, 1] that do not sum to 1 are refused, since they may be rounded or cut probabilities.
            ``stated``: the interface is described, and values in [0, 1] are taken as they are.
    """

    def __init__(
        self, module: nn.Module, num_classes: int, name: str = "model", reading: Reading = "any"
    ) -> None:
        self._reading = reading
        self._module = module.eval()
        self._num_classes = num_classes
        self._name = name
        self._queries = 0

    @property
    def queries(self) -> int:
        return self._queries

    @torch.no_grad()
    def ask(self, images: Tensor) -> Tensor:
        try:
            outputs = self._module(images)
        except Exception as error:  # the user's model may raise anything
            shape = tuple(images.shape)
            raise ModelError(f"{self._name} failed on float images {shape}: {first_line(error)}") from error
        self._queries += len(images)
        return to_probabilities(outputs, len(images), self._num_classes, self._name, self._reading)


class FunctionBlackBox:
    """A function of images that is asked as a black box.

    Args:
        function: takes float32 images ``[n, c, h, w]`` in [0, 1] as a NumPy array, and returns logits or
            probabilities ``[n, K]``.
        num_classes, name, reading: as for ``TorchBlackBox``.
    """

    def __init__(
        self,
        function: Callable[[np.ndarray], Any],
        num_classes: int,
        name: str = "model",
        reading: Reading = "any",
    ) -> None:
        self._function, self._num_classes, self._name, self._reading = function, num_classes, name, reading
        self._queries = 0

    @property
    def queries(self) -> int:
        return self._queries

    def ask(self, images: Tensor) -> Tensor:
        try:
            outputs = torch.as_tensor(np.asarray(self._function(images.cpu().numpy()), dtype=np.float32))
        except Exception as error:  # the user's function may raise anything
            raise ModelError(
                f"{self._name} failed on float images {tuple(images.shape)}: {first_line(error)}"
            ) from error
        self._queries += len(images)
        return to_probabilities(outputs, len(images), self._num_classes, self._name, self._reading)


class Recorded:
    """A model whose answers are already known, in the order in which it will be asked: for a suspect that was
    asked elsewhere.

    Args:
        answers: float32 ``[n, K]``.
    """

    def __init__(self, answers: Tensor) -> None:
        self._answers = answers
        self._queries = 0

    @property
    def queries(self) -> int:
        return self._queries

    def ask(self, images: Tensor) -> Tensor:
        first, self._queries = self._queries, self._queries + len(images)
        if self._queries > len(self._answers):
            raise AnswersError.of(f"{len(self._answers)} rows", f"{self._queries} at least, one a question")
        return self._answers[first : self._queries]


def to_probabilities(
    outputs: object, count: int, num_classes: int, name: str, reading: Reading = "any"
) -> Tensor:
    """Check outputs and turn logits into probabilities, float32 ``[count, num_classes]``.

    Raises:
        ModelError: not a tensor of this shape; ColumnsError if only the number of columns differs.
        AnswersError: NaN or infinite values, or a contradiction to ``reading``.
    """
    if not isinstance(outputs, Tensor) or tuple(outputs.shape) != (count, num_classes):
        found = (
            f"a tensor of shape {tuple(outputs.shape)}"
            if isinstance(outputs, Tensor)
            else f"a {type(outputs).__name__}"
        )
        text = (
            f"{name} gave {found} for {count} images; expected ({count}, {num_classes}): one row an image,"
            " one column a class"
        )
        if isinstance(outputs, Tensor) and outputs.ndim == 2 and len(outputs) == count:
            raise ColumnsError.counted(outputs.shape[1], text)
        raise ModelError(text)
    scores = outputs.float()
    if not torch.isfinite(scores).all():
        bad = int((~torch.isfinite(scores)).any(1).sum())
        raise AnswersError(
            f"{name} gave NaN or infinite values for {bad} of {count} images; expected finite logits or"
            " probabilities"
        )
    bounded = bool(((scores >= 0) & (scores <= 1 + SUM_TOLERANCE)).all())
    if reading == "stated":
        if not bounded:
            raise AnswersError.of(
                f"values from {scores.min():.3g} to {scores.max():.3g}",
                f"what {name} is stated to give: values in [0, 1]",
            )
        return scores
    already = bool((scores >= 0).all()) and bool(((scores.sum(1) - 1).abs() < SUM_TOLERANCE).all())
    if reading == "guess" and bounded and not already:
        raise AnswersError.of(
            f"values in [0, 1] that do not sum to 1 (from {scores.sum(1).min():.3g} to"
            f" {scores.sum(1).max():.3g})",
            f"logits or whole probabilities of {name}; if it rounds or cuts them, state that by --access",
        )
    if reading == "guess" and not already and _scaled(scores):
        total = float(scores.sum(1).mean())
        expected = f"logits or whole probabilities of {name}; percentages have to be divided by {total:.4g}"
        raise AnswersError.of(f"rows that all sum to about {total:.4g}", expected)
    return scores if already else scores.softmax(1)


def _scaled(scores: Tensor) -> bool:
    """Whether rows look like percentages, or counts out of 255: not negative, and all with about the same
    sum. Logits do not."""
    sums = scores.sum(1)
    return len(scores) > 1 and bool((scores >= 0).all()) and float(sums.std()) <= SCALED * float(sums.mean())
