"""The nets of other kinds that references are of."""

import itertools

import pytest
import torch

from zooaudit.data.images import Dataset
from zooaudit.recipes.named import get_recipe
from zooaudit.zoo.arch import build_architecture
from zooaudit.zoo.build import Status, build
from zooaudit.zoo.cost import counted
from zooaudit.zoo.fit import accuracy, fit
from zooaudit.zoo.planner import Planner
from zooaudit.zoo.reference_nets import FERNS, REFERENCE_NETS, TESTS, Ferns, Kernel, ReferenceNet
from zooaudit.zoo.shape import ModelShape
from zooaudit.zoo.spec import ModelSpec

IMAGES = ((1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 48, 64))


def shape(image: tuple[int, int, int] = (1, 8, 8), num_classes: int = 10) -> ModelShape:
    return ModelShape(image, num_classes, (0.3,) * image[0], (0.3,) * image[0], (8, 16), 32)


def make(name: str, of: ModelShape, seed: int = 0) -> ReferenceNet:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = build_architecture(name, of)
    assert isinstance(model, ReferenceNet)
    return model.eval()


@pytest.mark.parametrize(("name", "image"), [*itertools.product(REFERENCE_NETS, IMAGES)])
def test_every_net_takes_every_size_and_gives_gradients(name: str, image: tuple[int, int, int]) -> None:
    model = make(name, shape(image, 7))
    x = torch.rand(3, *image)
    logits = model(x)
    assert logits.shape == (3, 7)
    logits.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    torch.testing.assert_close(logits[1:], model(x[1:]), msg="one image's answer depends on the others")


@pytest.mark.parametrize("name", REFERENCE_NETS)
def test_weights_carry_all_that_was_drawn(name: str) -> None:
    x = torch.rand(5, 1, 8, 8)
    one, other = make(name, shape(), 1), make(name, shape(), 2)
    with torch.no_grad():
        for model in (one, other):
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(x), other(x))


@pytest.mark.parametrize("name", REFERENCE_NETS)
@pytest.mark.parametrize("optimiser", ["adam", "rmsprop", "sgd"])
def test_each_learns_the_digits_by_each_optimiser(name: str, optimiser: str, digits: Dataset) -> None:
    training = get_recipe("digits").zoo.training
    model = make(name, shape())
    fit(
        model,
        digits.train.images,
        digits.train.labels,
        optimiser=optimiser,
        batch_size=64,
        training=training,
        epochs=training.epochs,
        seed=0,
    )
    assert accuracy(model, digits.test) > 0.7


def test_a_planned_one_is_built_as_any_model(digits: Dataset) -> None:
    planned = Planner(get_recipe("digits").zoo, "digits", shape(), 0).references()
    spec = next(s for s in planned if s.architecture == "ferns")
    built = build(spec, digits, None)
    assert built.record.status is Status.LEARNT
    assert ModelSpec.from_json(spec.to_json()).id == spec.id
    model = make("ferns", spec.shape)
    model.load_state_dict(built.weights)
    assert accuracy(model, digits.test) == pytest.approx(built.record.accuracy, abs=0.02)


def test_a_fern_is_a_table_of_which_pixels_are_bright() -> None:
    ferns = Ferns(9, 4)
    torch.nn.init.normal_(ferns.table.weight)
    x = torch.randn(6, 9)
    expected = torch.zeros(6, 4)
    for row, image in enumerate(x):
        for fern in range(FERNS):
            cell = 0
            for test in range(TESTS):
                cell += 2**test * int(image[ferns.pixels[fern, test]] > ferns.thresholds[fern, test])
            expected[row] += ferns.table.weight[fern * 2**TESTS + cell].detach()
    torch.testing.assert_close(ferns(x).detach(), expected)


def test_the_kernels_cosines_have_nearly_a_gaussians_inner_products() -> None:
    torch.manual_seed(0)
    kernel, x = Kernel(50), torch.randn(20, 50)
    features = kernel(x) * (2 / len(kernel.directions)) ** 0.5
    expected = torch.exp(-torch.cdist(x, x).square() / (2 * 50))
    torch.testing.assert_close(features @ features.T, expected, atol=0.15, rtol=0)


@pytest.mark.parametrize("name", REFERENCE_NETS)
def test_work_is_counted_without_drawing(name: str, same_global_rng: None) -> None:
    assert 0 < counted(name, shape((1, 28, 28))).work < 2 * counted("residual", shape((1, 28, 28))).work


def test_a_linear_model_is_counted_by_its_weights() -> None:
    assert counted("linear", shape((1, 28, 28))).work == 28 * 28 * 10
