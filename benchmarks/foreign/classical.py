"""Innocent models without a gradient, or nearly: scikit-learn's."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import Tensor

SIZES = {
    "svm": 2500,
    "boosting": 4000,
    "forest": 6000,
    "extra-trees": 6000,
    "mlp": 6000,
    "neighbours": 6000,
    "logistic": 6000,
}
"""Training images of each kind."""


@dataclass(frozen=True, eq=False)
class Classical:
    """A fitted scikit-learn model that answers uint8 images."""

    model: ClassifierMixin

    def answers(self, images: Tensor) -> Tensor:
        """Probabilities float32 ``[n, 10]``."""
        return torch.from_numpy(self.model.predict_proba(_flat(images)).astype(np.float32))


def _flat(images: Tensor) -> np.ndarray:
    return images.flatten(1).numpy().astype(np.float32) / 255


def _make(kind: str, seed: int) -> ClassifierMixin:
    if kind == "forest":
        return RandomForestClassifier(100, max_features="sqrt", random_state=seed)
    if kind == "extra-trees":
        return ExtraTreesClassifier(120, min_samples_leaf=2, random_state=seed)
    if kind == "boosting":
        boosting = HistGradientBoostingClassifier(
            max_iter=25, max_leaf_nodes=15, learning_rate=0.2, random_state=seed
        )
        return make_pipeline(PCA(40, random_state=seed), boosting)
    if kind == "svm":
        return make_pipeline(
            PCA(50, random_state=seed), SVC(C=5, gamma="scale", probability=True, random_state=seed)
        )
    if kind == "mlp":
        return make_pipeline(
            StandardScaler(), MLPClassifier((96,), alpha=1e-2, max_iter=15, random_state=seed)
        )
    if kind == "neighbours":
        return make_pipeline(PCA(50, random_state=seed), KNeighborsClassifier(8, weights="distance"))
    return make_pipeline(
        PCA(80, random_state=seed), StandardScaler(), LogisticRegression(C=0.5, max_iter=200)
    )


def fitted(kind: str, images: Tensor, labels: Tensor, seed: int) -> Classical:
    """The model by name, fitted to as many of the images as it can bear."""
    count = SIZES[kind]
    return Classical(_make(kind, seed).fit(_flat(images[:count]), labels[:count].numpy()))
