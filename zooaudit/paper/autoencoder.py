"""The encoder's network trained without labels, to rebuild its input (paper appendix C.1, figure 11)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zooaudit.compute import seeded
from zooaudit.config import EncoderConfig
from zooaudit.paper.encoder import Encoder
from zooaudit.seeds import derive


def fit_autoencoder(fingerprints: Tensor, config: EncoderConfig, seed: int) -> Encoder:
    """Fit by the squared error of fingerprints ``[n, 2NK]`` rebuilt from the embedding that
    similarity is measured on."""
    generator = torch.Generator().manual_seed(derive(seed, "order"))
    dimension, (first, second) = fingerprints.shape[1], config.hidden
    with seeded(derive(seed, "init"), fingerprints.device):
        encoder = Encoder(dimension, config).to(fingerprints.device)
        decoder = nn.Sequential(nn.Linear(second, first), nn.ReLU(), nn.Linear(first, dimension)).to(
            fingerprints.device
        )
    optimiser = torch.optim.Adam([*encoder.body.parameters(), *decoder.parameters()], config.lr)
    size = min(config.batch_size, len(fingerprints))
    for _ in range(config.steps):
        batch = fingerprints[torch.randperm(len(fingerprints), generator=generator)[:size]]
        loss = F.mse_loss(decoder(encoder.embed(batch)), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return encoder.eval().requires_grad_(False)
