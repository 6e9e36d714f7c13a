"""What every stage computes, held in a few numbers: who changes one on purpose raises the
stage's number in zooaudit/methods.py."""

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.support.makers import make_twin_test, near
from tests.support.places import SUPPORT
from zooaudit.baselines.scores import decision_distance, jensen_shannon, matching_rate, sample_correlation
from zooaudit.config import EncoderConfig, FingerprintConfig, UapConfig, VerdictConfig
from zooaudit.methods import METHODS, versions_of
from zooaudit.paper.datapoints import choose_points
from zooaudit.paper.encoder_training import INDEPENDENT, STOLEN, fit_encoder
from zooaudit.paper.fingerprint import fingerprints, queries
from zooaudit.paper.similarity import similarities
from zooaudit.paper.t_test import decide
from zooaudit.paper.uap import craft_uap, local_perturbations
from zooaudit.suspects.access import Access
from zooaudit.suspects.blackbox import TorchBlackBox

KEPT = SUPPORT / "methods.json"
"""Version and numbers by stage."""
ANEW = "write the numbers anew by 'python -m tests.unit.test_methods'"


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def net() -> nn.Module:
    """Eight by eight pixels, four classes, two layers whose weights are drawn."""
    layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 4))
    with torch.no_grad():
        for i, weights in enumerate(layers.parameters()):
            weights.copy_((drawn(*weights.shape, seed=i) - 0.5) / 2)
    return layers.eval()


def uap() -> list[float]:
    images = (drawn(60, 1, 8, 8) * 255).to(torch.uint8)
    made = []
    for method, norm, radius in (
        ("gradient", "linf", 0.2),
        ("gradient", "l2", 1.0),
        ("deepfool", "linf", 0.2),
        ("deepfool", "l2", 1.0),
    ):
        config = UapConfig(method=method, norm=norm, epsilon=radius, points=60, max_steps=4, batch_size=20)
        v = craft_uap(net(), images, images, config, seed=3).v
        made += [float(v.mean()), float(v.abs().sum())]
    return [*made, float(local_perturbations(net(), images[:5].float() / 255, "l2", 1.0).abs().sum())]


def points() -> list[float]:
    chosen = choose_points(drawn(200, 6), FingerprintConfig(points=7, views=4), seed=2)
    return chosen.flatten().tolist()


def answers(count: int, seed: int) -> Tensor:
    """Of ``count`` fingerprints: ``[count, 5, 2, 4]``."""
    return torch.softmax(4 * drawn(count, 5, 2, 4, seed=seed), -1)


def encoder() -> list[float]:
    rows = torch.cat([fingerprints(answers(6, seed)) for seed in range(4)])
    labels = torch.tensor([STOLEN, STOLEN, INDEPENDENT, INDEPENDENT]).repeat_interleave(6)
    found = []
    for name in ("paper", "paper-b", "hellinger"):
        fitted = fit_encoder(rows, labels, EncoderConfig(name, steps=3), seed=1)
        found += similarities(fitted, rows[:6], rows[6:12]).tolist()
    return [*found, float(queries(drawn(5, 1, 2, 2), drawn(1, 2, 2)).sum())]


def verdict() -> list[float]:
    test, suspect = make_twin_test(), near(0, 77)
    given = TorchBlackBox(suspect, 4).ask(test.questions())
    found: list[float] = []
    for access in ("probabilities", "label"):
        result = test.judge(given, access=Access.named(access)).verdict
        found += [*result.statistics, float(result.rank), float(result.p_value or -1)]
    draws = np.random.default_rng(5)
    paper = decide(draws.uniform(0.6, 0.9, 20), draws.uniform(0.4, 0.8, (6, 20)), VerdictConfig(), seed=4)
    return [*found, float(paper.p_value)]


def baselines() -> list[float]:
    of, suspect = answers(8, 1).flatten(0, 2), answers(8, 2).flatten(0, 2)
    return [
        score(of, suspect) for score in (matching_rate, sample_correlation, jensen_shannon, decision_distance)
    ]


STAGES: dict[str, Callable[[], list[float]]] = {
    f.__name__: f for f in (uap, points, encoder, verdict, baselines)
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_result_that_changes_has_a_new_version(stage: str) -> None:
    kept, found = json.loads(KEPT.read_text()), STAGES[stage]()
    assert kept[stage]["version"] == METHODS[stage], f"the version of {stage} changed: {ANEW}"
    same = found == pytest.approx(kept[stage]["numbers"], rel=1e-3, abs=1e-4)
    assert same, f"{stage} computes something else: if that is meant, raise METHODS[{stage!r}], then {ANEW}"


def test_what_is_kept_is_named_after_the_versions() -> None:
    assert versions_of("encoder", "verdict") == f"encoder-{METHODS['encoder']}.verdict-{METHODS['verdict']}"
    with pytest.raises(KeyError):
        versions_of("no stage")


def write() -> None:
    numbers = {s: {"version": METHODS[s], "numbers": [round(x, 6) for x in f()]} for s, f in STAGES.items()}
    KEPT.write_text("{\n" + ",\n".join(f'"{s}": {json.dumps(n)}' for s, n in numbers.items()) + "\n}\n")


if __name__ == "__main__":
    write()
