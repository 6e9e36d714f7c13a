"""The supervised contrastive loss."""

import torch
from torch import Tensor


def supervised_contrastive_loss(embeddings: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """L_out of Khosla et al. (NeurIPS 2020), paper equation 7, averaged over the anchors.

    ``-1/|P(i)| sum_{p in P(i)} log( exp(z_i.z_p / tau) / sum_{a != i} exp(z_i.z_a / tau) )`` for each anchor
    i, P(i) all others of its label.

    Args:
        embeddings: float ``[n, d]``, unit rows.
        labels: int64 ``[n]``; each label at least twice, or its anchor counts as 0.
        temperature: tau > 0.

    Returns:
        A scalar.
    """
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    scores = (embeddings @ embeddings.T / temperature).masked_fill(itself, -torch.inf)
    log_probability = (scores - scores.logsumexp(1, keepdim=True)).masked_fill(itself, 0)
    positives = (labels.unsqueeze(0) == labels.unsqueeze(1)) & ~itself
    per_anchor = (log_probability * positives).sum(1) / positives.sum(1).clamp(min=1)
    return -per_anchor.mean()
