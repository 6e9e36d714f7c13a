"""How alike two models' fingerprints are (paper section 4.3)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from zooaudit.compute import threads
from zooaudit.paper.encoder import Encoder


@torch.no_grad()
def similarities(encoder: Encoder, suspect: Tensor, victim: Tensor) -> Tensor:
    """Cosine of the embeddings, view by view: two ``[views, 2NK]`` to float ``[views]`` in [0, 1].

    An embedding that is all zero has no direction; its similarity is 0, so that it does not count against the
    suspect. The similarity of two models is the mean over all views. Bit for bit the same on any number of
    cores.
    """
    with threads(1):  # how a sum is split decides its last bits
        return F.cosine_similarity(encoder.embed(suspect), encoder.embed(victim), dim=1, eps=1e-8).clamp(0, 1)
