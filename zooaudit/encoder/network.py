"""The encoder of the paper: fingerprint to embedding."""

import torch.nn.functional as F
from torch import Tensor, nn

from zooaudit.config import EncoderConfig


class Encoder(nn.Module):
    """MLP 2NK -> 50 -> 20 -> 4 with ReLU (paper section 4.3; widths from the public record)."""

    def __init__(self, dimension: int, config: EncoderConfig) -> None:
        super().__init__()
        first, second = config.hidden
        self.body = nn.Sequential(nn.Linear(dimension, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU())
        self.head = nn.Linear(second, config.output)

    def forward(self, fingerprints: Tensor) -> Tensor:
        """What the loss sees: float ``[n, 2NK]`` to unit rows ``[n, 4]``."""
        return F.normalize(self.head(self.body(fingerprints)), dim=1)

    def embed(self, fingerprints: Tensor) -> Tensor:
        """What similarity is taken on: the post-ReLU embedding ``[n, 20]``, not negative."""
        return self.body(fingerprints)
