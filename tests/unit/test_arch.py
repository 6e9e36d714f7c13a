"""The FMNIST architectures against paper table 1 and a textbook forward pass."""

import dataclasses

import pytest
import torch
from torch import nn

from tests.support.makers import shape_of
from tests.support.oracles.networks import activation_before_pooling
from zooaudit.compute import seeded
from zooaudit.data.images import Dataset, to_unit
from zooaudit.errors import ConfigError
from zooaudit.zoo.activations import ELU, Dropout, PReLU
from zooaudit.zoo.arch import ARCHITECTURES, ConvNet, build_architecture
from zooaudit.zoo.shape import ModelShape

CPU = torch.device("cpu")
FMNIST = ModelShape((1, 28, 28), 10, (0.286,), (0.353,), (16, 32), 128)


def make(name: str, shape: ModelShape, seed: int = 0) -> ConvNet:
    with seeded(seed, CPU):
        model = build_architecture(name, shape)
    assert isinstance(model, ConvNet)
    return model.eval()


@pytest.mark.parametrize(
    ("name", "activation", "dropout", "kernel", "convolutions"),
    [
        ("A", ELU, 0, 3, 2),
        ("B", ELU, 0, 5, 3),
        ("C", nn.ReLU, 0, 3, 2),
        ("D", PReLU, 0, 3, 4),
        ("E", nn.ReLU, 1, 5, 2),
    ],
)
def test_table_1(
    name: str, activation: type[nn.Module], dropout: int, kernel: int, convolutions: int
) -> None:
    modules = list(make(name, FMNIST).modules())
    found = [m for m in modules if isinstance(m, nn.Conv2d)]
    assert len(found) == convolutions
    assert {m.kernel_size for m in found} == {(kernel, kernel)}
    assert {type(m) for m in modules if isinstance(m, ELU | PReLU | nn.ReLU)} == {activation}
    assert any(isinstance(m, Dropout) and m.p > 0 for m in modules) == bool(dropout)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_pooling_first_is_the_same_function(name: str, digits: Dataset) -> None:
    model = make(name, shape_of(digits))
    x = to_unit(digits.test.images[:64])
    with torch.no_grad():
        expected = activation_before_pooling(model, name, x)
        torch.testing.assert_close(model(x), expected, atol=1e-5, rtol=1e-5)
    assert expected.shape == (64, 10)
    assert expected.std() > 0.05


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_pooling_first_has_the_same_gradients(name: str, digits: Dataset) -> None:
    model = make(name, shape_of(digits))
    x, y = to_unit(digits.test.images[:32]), digits.test.labels[:32]
    found, expected = (
        torch.autograd.grad(nn.functional.cross_entropy(logits, y), list(model.parameters()))
        for logits in (model(x), activation_before_pooling(model, name, x))
    )
    for (parameter, _), a, b in zip(model.named_parameters(), found, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4, msg=lambda text, p=parameter: f"{p}: {text}")


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("image", [(1, 28, 28), (3, 32, 32), (3, 9, 7), (1, 4, 4)])
def test_any_image_of_4_by_4_and_up_fits(name: str, image: tuple[int, int, int]) -> None:
    shape = dataclasses.replace(
        FMNIST, image=image, mean=(0.5,) * image[0], std=(0.2,) * image[0], num_classes=7
    )
    assert make(name, shape)(torch.rand(2, *image)).shape == (2, 7)


@pytest.mark.parametrize("image", [(1, 3, 8), (1, 8, 3), (1, 1, 1)])
def test_smaller_images_are_refused(image: tuple[int, int, int]) -> None:
    with pytest.raises(
        ConfigError,
        match=rf"images of {image[1]} x {image[2]} pixels are too small .* expected at least 4 x 4",
    ):
        make("A", dataclasses.replace(FMNIST, image=image))


def test_unknown_architecture_lists_the_known() -> None:
    with pytest.raises(ConfigError, match=r"unknown architecture 'Z'; known: A, B, C, D, E"):
        build_architecture("Z", FMNIST)


def test_inputs_are_normalised_inside_the_model(digits: Dataset) -> None:
    """With inputs mapped to zero by the normalisation, the first convolution gives its bias
    and nothing else."""
    shape = shape_of(digits)
    model = make("C", shape)
    model.convolutions[0].bias.data.fill_(0.7)
    average = torch.full((1, 1, 8, 8), shape.mean[0])
    first = model.convolutions[0]((average - model.mean) / model.std)
    torch.testing.assert_close(first, torch.full_like(first, 0.7))
    assert {"mean", "std"} <= model.state_dict().keys(), "a stored model must carry its normalisation"


def test_the_same_seed_gives_the_same_weights_and_leaves_no_trace(same_global_rng: None) -> None:
    first, again, other = make("B", FMNIST, 1), make("B", FMNIST, 1), make("B", FMNIST, 2)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.head.weight, other.head.weight)


@pytest.mark.parametrize(
    ("name", "widths", "channels"),
    [
        ("A", (16, 32), [16, 32]),
        ("D", (16, 32), [16, 16, 32, 32]),
        ("D", (8,), [8] * 4),
        ("D", (3, 5, 7, 9), [3, 5, 7, 9]),
    ],
)
def test_convolutions_share_the_widths(name: str, widths: tuple[int, ...], channels: list[int]) -> None:
    model = make(name, dataclasses.replace(FMNIST, widths=widths))
    assert [m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d)] == channels
