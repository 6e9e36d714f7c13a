"""Datapoints and views: K-means on the victim's last-layer representation (paper section 4.2)."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from zooaudit.config import FingerprintConfig
from zooaudit.data.batches import images_at_once
from zooaudit.data.images import to_unit
from zooaudit.data.on_disk import Images
from zooaudit.errors import ConfigError, DataError

if TYPE_CHECKING:
    from sklearn.cluster import KMeans

BATCH = 500
MAX_ROUNDS = 10


@torch.no_grad()
def representation(model: nn.Module, images: Images) -> Tensor:
    """The last-layer representation float32 ``[n, d]`` of uint8 images: the input of the model's last
    ``nn.Linear``, or its outputs if it has none (an exported graph, say)."""
    linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
    seen: list[Tensor] = []
    handle = (
        linear[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])) if linear else None
    )
    try:
        outputs = [model(to_unit(x)) for x in images.split(images_at_once(images.shape, BATCH))]
    finally:
        if handle:
            handle.remove()
    return torch.cat(seen or outputs).flatten(1).float()


def choose_points(features: Tensor, config: FingerprintConfig, seed: int) -> Tensor:
    """Choose the datapoints of every view.

    View 0 has the member of each cluster that is nearest to its centre; the others draw from the rest of the
    cluster, without replacement, so that views share no image. Only if ``small_clusters`` is ``repeat`` is an
    exhausted cluster drawn from again.

    Args:
        features: float ``[n, d]``, one row for each candidate image.

    Returns:
        int64 ``[views, N]``, indices into the rows, all different unless clusters repeat.

    Raises:
        ConfigError: N x views exceeds the number of candidates.
        DataError: a cluster is smaller than the number of views, and the recipe's rule does not resolve it.
    """
    needed = config.points * config.views
    if config.points > len(features) or (needed > len(features) and config.small_clusters != "repeat"):
        raise ConfigError(
            f"{config.points} datapoints x {config.views} views need {needed:,} images, "
            f"but the victim's training set has {len(features):,}; "
            "lower FingerprintConfig.points or views"
        )
    from sklearn.cluster import KMeans  # takes a second to import, and few commands need it

    rows = features.cpu().numpy()
    kept = np.arange(len(rows))
    for round_ in range(MAX_ROUNDS):
        found = KMeans(config.points, n_init=1, random_state=(seed + round_) % 2**32).fit(rows[kept])
        sizes = np.bincount(found.labels_, minlength=config.points)
        if sizes.min() >= config.views or config.small_clusters == "repeat":
            return torch.from_numpy(_views(rows, kept, found, config, np.random.default_rng(seed)))
        if config.small_clusters == "error":
            raise DataError(
                _too_small(sizes, config) + "; lower N or views, or set small_clusters to recluster"
            )
        remaining = kept[sizes[found.labels_] >= config.views]
        if len(remaining) < needed:
            break
        kept = remaining
    raise DataError(
        _too_small(sizes, config)
        + f" after {round_ + 1} rounds of setting small ones aside; lower N or views"
    )


def _too_small(sizes: np.ndarray, config: FingerprintConfig) -> str:
    small = int((sizes < config.views).sum())
    return (
        f"{small} of {config.points} clusters have fewer than {config.views} members (the smallest"
        f" {sizes.min()}), one is needed per view"
    )


def _views(
    rows: np.ndarray,
    kept: np.ndarray,
    found: "KMeans",
    config: FingerprintConfig,
    generator: np.random.Generator,
) -> np.ndarray:
    chosen = np.empty((config.views, config.points), dtype=np.int64)
    for cluster in range(config.points):
        members = kept[found.labels_ == cluster]
        from_centre = np.linalg.norm(rows[members] - found.cluster_centers_[cluster], axis=1)
        datapoint = from_centre.argmin()
        order = [datapoint, *generator.permutation(np.delete(np.arange(len(members)), datapoint))]
        while len(order) < config.views:
            order += list(generator.permutation(len(members)))
        chosen[:, cluster] = members[order[: config.views]]
    return chosen
