"""The datapoints of paper section 4.2, recomputed cluster by cluster from the cluster labels alone."""

import numpy as np


def datapoints(features: np.ndarray, labels: np.ndarray, clusters: int) -> list[int]:
    """The member of each cluster that is nearest to its mean."""
    found = []
    for cluster in range(clusters):
        members = [i for i in range(len(features)) if labels[i] == cluster]
        centre = sum(features[i].astype(np.float64) for i in members) / len(members)
        found.append(min(members, key=lambda i: float(((features[i] - centre) ** 2).sum())))
    return found
