"""Train the encoder on the fingerprints of a few models of known origin."""

import torch
from torch import Tensor

from zooaudit.compute import seeded
from zooaudit.config import EncoderConfig
from zooaudit.encoder.autoencoder import fit_autoencoder
from zooaudit.encoder.loss import supervised_contrastive_loss
from zooaudit.encoder.network import Encoder
from zooaudit.seeds import derive

STOLEN, INDEPENDENT = 0, 1
"""Labels of paper section 4.3: victim and piracy fingerprints 0, homologous 1."""


def fit_encoder(fingerprints: Tensor, labels: Tensor, config: EncoderConfig, seed: int) -> Encoder:
    """Fit by the supervised contrastive loss; batches of ``config.batch_size`` fingerprints, all of them if there are fewer.

    ``autoencoder`` learns without labels instead (:mod:`zooaudit.encoder.autoencoder`).

    Args:
        fingerprints: float ``[n, 2NK]``, all views of all training models.
        labels: int64 ``[n]``, ``STOLEN`` or ``INDEPENDENT``.
    """
    if config.name == "autoencoder":
        return fit_autoencoder(fingerprints, config, seed)
    generator = torch.Generator().manual_seed(derive(seed, "order"))
    with seeded(derive(seed, "init"), fingerprints.device):
        encoder = Encoder(fingerprints.shape[1], config).to(fingerprints.device)
    optimiser = torch.optim.Adam(encoder.parameters(), config.lr)
    size = min(config.batch_size, len(fingerprints))
    for _ in range(config.steps):
        batch = torch.randperm(len(fingerprints), generator=generator)[:size]
        loss = supervised_contrastive_loss(encoder(fingerprints[batch]), labels[batch], config.temperature)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return encoder.eval().requires_grad_(False)
