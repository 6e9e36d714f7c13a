"""A model behind its contract: takes images in [0, 1] ``[n, c, h, w]`` and returns logits or probabilities of
the kit's classes."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from zooaudit.suspects.blackbox import BlackBox, Reading
from zooaudit.suspects.contract import Contract
from zooaudit.suspects.outputs import chosen, taken, valued
from zooaudit.suspects.preprocess import Preprocess

NUMBERS_AT_ONCE = 2**24
"""Most bytes of prepared images at a time: 111 of 224 x 224 in colour, 64 MiB."""


class Contracted(nn.Module):
    """Any module behind its contract; gradients pass through, except through rounded inputs.

    Args:
        inner: takes what ``prepare`` returns.
        contract: the effective one: its output names one if there are several.
        columns: the column of each of the kit's classes; empty if they are in order.
        reading: of its outputs, see :class:`~zooaudit.suspects.blackbox.TorchBlackBox`.
    """

    def __init__(
        self,
        inner: nn.Module,
        prepare: Preprocess,
        contract: Contract,
        columns: Sequence[int] = (),
        name: str = "model",
        reading: Reading = "any",
    ) -> None:
        super().__init__()
        self.inner, self.prepare, self.contract = inner, prepare, contract
        self.columns, self.name, self.reading = tuple(columns), name, reading

    def forward(self, images: Tensor) -> Tensor:
        batch = self.prepare.input.batch
        size = batch or max(1, NUMBERS_AT_ONCE // self.prepare.pixels)
        if len(images) <= size and not batch:
            return self._scores(images)
        return (
            torch.cat([self._scores(part, batch) for part in images.split(size)])
            if len(images)
            else self._scores(images)
        )

    def _scores(self, images: Tensor, batch: int = 0) -> Tensor:
        """The scores of one batch; if its size is fixed, the last image fills it up."""
        count = len(images)
        if 0 < count < batch:
            images = torch.cat([images, images[-1:].expand(batch - count, -1, -1, -1)])
        result = self.reading == "stated"
        scores = taken(self.inner(self.prepare(images)), self.contract.output, self.name)[:count]
        scores = valued(scores, self.contract.output, self.name, result) if scores.ndim == 2 else scores
        return chosen(scores, self.columns, self.name, self.reading) if self.columns else scores


def bare(module: nn.Module) -> nn.Module:
    """The model itself; its weights have the names that its files use."""
    return module.inner if isinstance(module, Contracted) else module


class ContractedBox:
    """A black box behind a contract, for suspects over the network: the same preprocessing and the same
    choice of columns.

    Args:
        black_box: takes what ``prepare`` returns and answers with scores of all its classes.
        geometry_only: change only channels and size, and leave pixels in [0, 1], since images sent as PNG can
            hold nothing else.
    """

    def __init__(
        self,
        black_box: BlackBox,
        prepare: Preprocess,
        contract: Contract,
        columns: Sequence[int] = (),
        name: str = "suspect",
        reading: Reading = "guess",
        geometry_only: bool = False,
    ) -> None:
        self._black_box, self._prepare, self._contract = black_box, prepare, contract
        self._columns, self._name, self._reading = tuple(columns), name, reading
        self._form = prepare.geometry if geometry_only else prepare

    @property
    def queries(self) -> int:
        return self._black_box.queries

    def ask(self, images: Tensor) -> Tensor:
        """As :meth:`BlackBox.ask`."""
        result: Reading = self._reading
        scores = valued(
            self._black_box.ask(self._form(images)), self._contract.output, self._name, result == "stated"
        )
        return chosen(scores, self._columns, self._name, result) if self._columns else scores


def contracted_box(
    black_box: BlackBox,
    contract: Contract,
    image_shape: tuple[int, int, int],
    classes: Sequence[str],
    name: str = "suspect",
    reading: Reading = "guess",
    geometry_only: bool = False,
) -> BlackBox:
    """``black_box`` behind a contract; ``black_box`` itself if the contract is empty.

    Raises:
        ConfigError: the contract does not fit the images or the kit's classes.
    """
    if contract == Contract():
        return black_box
    prepare, columns = Preprocess(replace(contract.input, batch=0), image_shape), contract.classes.of(classes)
    return ContractedBox(black_box, prepare, contract, columns, name, reading, geometry_only)
