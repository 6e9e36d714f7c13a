"""t-SNE maps of fingerprints (paper figure 3): raw answers on one, the encoder's embeddings on the other."""

from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from zooaudit.auditing.results import Audit, embeddings
from zooaudit.paper.fingerprint import fingerprints
from zooaudit.reporting.canvas import FAMILIES, LOOKS, drawn
from zooaudit.zoo.spec import Role

MOST_ROWS = 1000
"""More fingerprints than this, and only the first views of each model are drawn: t-SNE
takes seconds a thousand rows."""
COMPONENTS = 50
"""Principal components that t-SNE sees of raw fingerprints, which have thousands of dimensions."""


def views_drawn(audit: Audit) -> int:
    """How many views of each model fit on a map."""
    views = len(audit.answers[audit.zoo.plan.victim])
    return max(1, min(views, MOST_ROWS // (1 + len(audit.suspects))))


def raw_map(audit: Audit) -> str:
    """Fingerprints as the suspects gave them."""
    k = views_drawn(audit)
    rows = np.concatenate([fingerprints(audit.answers[id_][:k]).numpy() for id_ in _models(audit)])
    return _picture(audit, k, tsne(principal(rows)), "Raw fingerprints")


def embedded_map(audit: Audit) -> str:
    """The same fingerprints as the encoder sees them: unit vectors, since similarity is a cosine."""
    k = views_drawn(audit)
    rows = np.concatenate([embeddings(audit, id_)[:k].numpy() for id_ in _models(audit)])
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return _picture(audit, k, tsne(rows / np.maximum(lengths, 1e-12)), "After the encoder")


def _models(audit: Audit) -> list[str]:
    """The victim, then the suspects. Models that trained the encoder are left out: it
    separates those by construction."""
    return [audit.zoo.plan.victim, *(s.spec.id for s in audit.suspects)]


def principal(rows: np.ndarray) -> np.ndarray:
    """The first ``COMPONENTS`` principal components of ``[n, d]``."""
    found: np.ndarray = PCA(min(COMPONENTS, *rows.shape), random_state=0).fit_transform(rows)
    return found


def tsne(rows: np.ndarray) -> np.ndarray:
    """Map ``[n, d]`` to ``[n, 2]``, the same way each time."""
    # rows that are all alike have no principal axis to start from
    start = "pca" if rows.shape[1] > 1 and rows.std(0).max() > 0 else "random"
    perplexity = min(30.0, (len(rows) - 1) / 3)
    # On a busy machine OpenMP's threads wait for each other a hundred times longer than they compute.
    with threadpool_limits(1):
        placed: np.ndarray = TSNE(perplexity=perplexity, init=start, random_state=0, n_jobs=1).fit_transform(
            rows.astype(np.float64)
        )
    return placed


def _picture(audit: Audit, k: int, placed: np.ndarray, title: str) -> str:
    roles = np.repeat([Role.VICTIM.value, *(s.spec.role.value for s in audit.suspects)], k)

    def paint(axes: Any) -> None:
        for role in (*FAMILIES, Role.VICTIM):
            chosen = placed[roles == role.value]
            if len(chosen):
                look = LOOKS[role]
                size = 45 if role is Role.VICTIM else 14
                axes.scatter(
                    *chosen.T,
                    s=size,
                    marker=look.marker,
                    color=look.colour,
                    linewidths=0,
                    alpha=0.75,
                    label=str(role),
                )
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(True)
        axes.set_title(title, fontsize=10, loc="left", fontweight="bold")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=2, markerscale=1.2)

    return drawn(paint, height=4.6, form="png")
