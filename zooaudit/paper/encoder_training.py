"""Train the encoder on the fingerprints of a few models of known origin."""

import torch
from torch import Tensor

from zooaudit.compute import seeded, threads
from zooaudit.config import EncoderConfig
from zooaudit.paper.autoencoder import fit_autoencoder
from zooaudit.paper.encoder import Encoder
from zooaudit.paper.encoder_loss import supervised_contrastive_loss
from zooaudit.seeds import derive

STOLEN, INDEPENDENT = 0, 1
"""Labels of paper section 4.3: victim and piracy fingerprints 0, homologous 1."""


def fit_encoder(fingerprints: Tensor, labels: Tensor, config: EncoderConfig, seed: int) -> Encoder:
    """Fit by the supervised contrastive loss; batches of ``config.batch_size`` fingerprints, or of all if
    there are fewer.

    Bit for bit the same on any number of cores. ``autoencoder`` learns without labels instead
    (:mod:`zooaudit.paper.autoencoder`).

    Args:
        fingerprints: float ``[n, 2NK]``, all views of all training models.
        labels: int64 ``[n]``, ``STOLEN`` or ``INDEPENDENT``.
    """
    with threads(1):  # how a sum is split decides its last bits, and an audit, a study and a sweep must agree
        fit = _fit_unlabelled if config.name == "autoencoder" else _fit_contrastive
        return fit(fingerprints, labels, config, seed).eval().requires_grad_(False)


def _fit_unlabelled(fingerprints: Tensor, labels: Tensor, config: EncoderConfig, seed: int) -> Encoder:
    return fit_autoencoder(fingerprints, config, seed)


def _fit_contrastive(fingerprints: Tensor, labels: Tensor, config: EncoderConfig, seed: int) -> Encoder:
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
    return encoder
