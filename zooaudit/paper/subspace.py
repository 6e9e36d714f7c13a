"""UAP subspaces: do the perturbations of two models point the same way? Paper section 4.1, equation 5."""

import torch
from torch import Tensor

from zooaudit.errors import ConfigError


def subspace(uaps: Tensor) -> Tensor:
    """Right singular vectors w_1 .. w_r, float ``[r, p]``, of a model's UAPs ``[d, p]`` (flattened, one in
    each row; r = min(d, p))."""
    if uaps.ndim != 2 or len(uaps) < 2:
        raise ConfigError(f"UAPs of shape {tuple(uaps.shape)}; expected [d, p], at least two of one model")
    return torch.linalg.svd(uaps.double(), full_matrices=False).Vh


def profile(uaps: Tensor, basis: Tensor) -> Tensor:
    """Mean absolute cosine of UAPs ``[d, p]`` with each vector of ``basis`` ``[r, p]``:
    float ``[r]`` in [0, 1]."""
    unit = torch.nn.functional.normalize(uaps.double(), dim=1)
    return (unit @ basis.double().T).abs().mean(0)


def inconsistency(victim: Tensor, suspect: Tensor, again: Tensor | None = None) -> float:
    """D(V, S) of equation 5: how far the suspect's projections on the victim's UAP subspace
    are from the victim's own.

    *Ours*: the L2 distance of the two profiles, which the paper leaves open.

    Args:
        victim, suspect: UAPs ``[d, p]`` of each, made with different seeds and images.
        again: other UAPs of the victim, whose profile then replaces its own. The UAPs of the basis lie on it
            by construction, so that even the victim is far from itself: a floor under every D, which this
            removes.
    """
    basis = subspace(victim)
    return float((profile(victim if again is None else again, basis) - profile(suspect, basis)).norm())
