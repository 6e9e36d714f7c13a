"""The sizes that every architecture is built for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelShape:
    """A model's inputs and outputs: image ``[channels, height, width]`` in [0, 1], ``num_classes`` logits;
    its width and normalisation."""

    image: tuple[int, int, int]
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    widths: tuple[int, ...]
    hidden: int
