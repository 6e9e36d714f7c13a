"""The views of paper section 4.2, recomputed cluster by cluster from the cluster labels alone."""

import numpy as np


def views(features: np.ndarray, labels: np.ndarray, clusters: int, count: int) -> np.ndarray:
    """``[count, clusters]``: row j holds each cluster's j-th nearest member to its datapoint (the member nearest to the mean)."""
    chosen = np.empty((count, clusters), dtype=np.int64)
    for cluster in range(clusters):
        members = [i for i in range(len(features)) if labels[i] == cluster]
        centre = sum(features[i].astype(np.float64) for i in members) / len(members)
        datapoint = min(members, key=lambda i: float(((features[i] - centre) ** 2).sum()))
        nearest = sorted(members, key=lambda i: float(((features[i] - features[datapoint]).astype(np.float64) ** 2).sum()))
        chosen[:, cluster] = nearest[:count]
    return chosen
