"""The encoders: fingerprint to embedding."""

import torch.nn.functional as F
from torch import Tensor, nn

from zooaudit.config import EncoderConfig


class Encoder(nn.Module):
    """MLP 2NK -> 50 -> 20 -> 4 with ReLU (paper section 4.3; widths from the public record).

    ``paper-b`` ends at the 20: the loss then acts on the layer on which similarity is measured. So does
    ``hellinger``, which takes square roots first, so that distances are Hellinger distances and small
    probabilities count.
    """

    def __init__(self, dimension: int, config: EncoderConfig) -> None:
        super().__init__()
        first, second = config.hidden
        self.roots = config.name == "hellinger"
        self.body = nn.Sequential(nn.Linear(dimension, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU())
        self.head = (
            nn.Identity() if config.name in ("paper-b", "hellinger") else nn.Linear(second, config.output)
        )

    def forward(self, fingerprints: Tensor) -> Tensor:
        """What the loss sees: float ``[n, 2NK]`` to unit rows, ``[n, 4]`` or the
        ``[n, 20]`` themselves; a zero row stays zero."""
        return F.normalize(self.head(self.embed(fingerprints)), dim=1, eps=1e-8)

    def embed(self, fingerprints: Tensor) -> Tensor:
        """The layer on which similarity is measured: the post-ReLU embedding ``[n, 20]``, not negative."""
        return self.body(fingerprints.clamp(min=0).sqrt() if self.roots else fingerprints)
