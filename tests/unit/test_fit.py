"""The training loop: it learns, it repeats itself to the bit, and it leaves torch's global state alone."""

import dataclasses
import itertools

import pytest
import torch
from torch import Tensor, nn

from tests.support.makers import FAST, shape_of
from zooaudit.compute import resolve_precision, seeded, threads
from zooaudit.config import OPTIMISERS, Optimiser, TrainConfig
from zooaudit.data.images import Dataset, to_unit
from zooaudit.zoo.arch import build_architecture
from zooaudit.zoo.fit import DivergedError, accuracy, fit

CPU = torch.device("cpu")


def train(
    dataset: Dataset,
    *,
    seed: int = 0,
    optimiser: Optimiser = "sgd",
    arch: str = "C",
    targets: Tensor | None = None,
    training: TrainConfig = FAST,
    count: int = 400,
    batch_size: int = 32,
    epochs: int = 2,
) -> nn.Module:
    with seeded(1, CPU):
        model = build_architecture(arch, shape_of(dataset))
    targets = dataset.train.labels if targets is None else targets
    fit(
        model,
        dataset.train.images[:count],
        targets[:count],
        optimiser=optimiser,
        batch_size=batch_size,
        training=training,
        epochs=epochs,
        seed=seed,
    )
    return model


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(
        torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_learns_the_digits(optimiser: Optimiser, digits: Dataset) -> None:
    model = train(digits, optimiser=optimiser, count=1000, epochs=8)
    assert accuracy(model, digits.test) > 0.6
    assert not model.training


@pytest.mark.parametrize("arch", ["C", "E"])
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_same_seed_same_bits_other_seed_other_bits(arch: str, optimiser: Optimiser, digits: Dataset) -> None:
    first = train(digits, arch=arch, optimiser=optimiser, epochs=1)
    torch.rand(3)  # the state of the global generator has no say
    assert same(first, train(digits, arch=arch, optimiser=optimiser, epochs=1)), (
        "the global generator decides"
    )
    assert not same(first, train(digits, arch=arch, optimiser=optimiser, epochs=1, seed=1))


def test_the_global_generator_is_left_as_it_was(digits: Dataset, same_global_rng: None) -> None:
    train(digits, arch="E", epochs=1)


def test_bfloat16_repeats_itself_and_keeps_float32_weights(digits: Dataset) -> None:
    training = dataclasses.replace(FAST, precision="bfloat16")
    first = train(digits, training=training)
    assert same(first, train(digits, training=training))
    assert not same(first, train(digits))
    assert {p.dtype for p in first.parameters()} == {torch.float32}


def test_dropout_draws_from_the_seed_alone(digits: Dataset) -> None:
    """Full-batch training sees every image in each step, so only dropout's draws are left to differ."""
    few = {"count": 40, "batch_size": 40, "epochs": 3}
    with_dropout, without = [
        [train(digits, arch=arch, seed=s, **few).head.weight for s in (0, 1)] for arch in ("E", "C")
    ]
    assert (with_dropout[0] - with_dropout[1]).abs().max() > 1e-4
    assert (without[0] - without[1]).abs().max() < 1e-5


def test_certain_soft_labels_train_as_hard_ones_do(digits: Dataset) -> None:
    one_hot = nn.functional.one_hot(digits.train.labels, 10).float()
    soft, hard = train(digits, targets=one_hot), train(digits)
    for a, b in zip(soft.parameters(), hard.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


def test_soft_labels_are_learnt_as_probabilities(digits: Dataset) -> None:
    """Half the weight on the right class and half on the next one: the model comes to say so."""
    one_hot = nn.functional.one_hot(digits.train.labels, 10).float()
    model = train(digits, targets=(one_hot + one_hot.roll(1, 1)) / 2, count=1000, epochs=8)
    with torch.no_grad():
        mean = model(to_unit(digits.train.images[:1000])).softmax(1)
    right = mean.gather(1, digits.train.labels[:1000, None]).mean()
    assert 0.35 < float(right) < 0.6


def test_the_last_steps_are_small(digits: Dataset) -> None:
    """The learning rate decays to zero over the run: the longer run has long stopped moving
    by its last epoch."""
    weights: list[Tensor] = []

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            weights.append(self.linear.weight.detach().clone())
            return self.linear(x.flatten(1))

    with seeded(0, CPU):
        model = Watched()
    fit(
        model,
        digits.train.images[:640],
        digits.train.labels[:640],
        optimiser="sgd",
        batch_size=32,
        training=dataclasses.replace(FAST, warmup_fraction=0.3),
        epochs=4,
        seed=0,
    )
    steps = [float((b - a).norm()) for a, b in itertools.pairwise(weights)]
    assert len(weights) == 80  # 4 epochs of 20 batches
    assert steps[0] < max(steps) / 5, "no warm-up"
    assert steps[-1] < max(steps) / 5, "no decay"


@pytest.mark.parametrize("count", [7, 31, 33])
def test_a_batch_larger_than_the_data_is_cut(count: int, digits: Dataset) -> None:
    before = train(digits, count=count, epochs=1)
    assert all(torch.isfinite(p).all() for p in before.parameters())
    assert not same(before, train(digits, count=count, epochs=3))


def test_images_and_targets_are_not_changed(digits: Dataset) -> None:
    images, labels = digits.train.images.clone(), digits.train.labels.clone()
    train(digits)
    assert torch.equal(images, digits.train.images)
    assert torch.equal(labels, digits.train.labels)


def test_a_loss_that_is_not_finite_stops_the_training(digits: Dataset) -> None:
    poisoned = torch.full((len(digits.train), 10), float("nan"))
    with pytest.raises(DivergedError, match=r"loss is nan .*sgd, batch 32"):
        train(digits, targets=poisoned)


def test_global_state_is_put_back_even_then(digits: Dataset, same_global_rng: None) -> None:
    with pytest.raises(DivergedError):
        train(digits, targets=torch.full((len(digits.train), 10), float("nan")))


def test_accuracy_counts_hits(digits: Dataset) -> None:
    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.one_hot(torch.full((len(x),), 3), 10).float()

    expected = int((digits.test.labels == 3).sum()) / len(digits.test)
    assert accuracy(Fixed(), digits.test) == expected
    assert 0.05 < expected < 0.15


def test_threads_are_put_back() -> None:
    before = torch.get_num_threads()
    with threads(2):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_stated_precision_is_taken_at_its_word(precision: str) -> None:
    assert resolve_precision(precision, "cpu") == precision
    assert resolve_precision("auto", "cpu") in ("float32", "bfloat16")


def test_mirroring_makes_left_and_right_alike(digits: Dataset) -> None:
    """Labels that say which half is bright: a model that saw mirrored images cannot tell."""
    left = torch.zeros(400, 1, 8, 8, dtype=torch.uint8)
    left[:200, :, :, :4] = 255
    left[200:, :, :, 4:] = 255
    labels = (torch.arange(400) >= 200).long()
    sure = []
    for mirror in (False, True):
        with seeded(1, CPU):
            model = build_architecture("C", shape_of(digits))
        training = dataclasses.replace(FAST, mirror=mirror)
        fit(model, left, labels, optimiser="sgd", batch_size=32, training=training, epochs=6, seed=0)
        with torch.no_grad():
            sure.append(float(model(to_unit(left)).softmax(1).gather(1, labels[:, None]).mean()))
    assert sure[0] > 0.95
    assert sure[1] < 0.6
