"""Batched DeepFool against closed forms and against the textbook loop, one image at a time."""

import pytest
import torch
from torch import Tensor, nn

from tests.support.makers import Affine
from tests.support.oracles import deepfool as textbook
from zooaudit.data.images import Dataset, to_unit
from zooaudit.paper.deepfool import OVERSHOOT, deepfool
from zooaudit.paper.uap import local_perturbations, predict

NORMS = ["l2", "linf"]


@pytest.mark.parametrize("norm", NORMS)
def test_affine_models_have_a_closed_form(norm: str) -> None:
    """The distance to the nearest of the hyperplanes, in the norm asked for, and 2 % beyond it."""
    model = Affine(inputs=16, classes=5)
    images = torch.rand(30, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    steps = deepfool(model, images, norm, classes=5)
    with torch.no_grad():
        logits = model(images)
    for image in range(30):
        own = int(logits[image].argmax())
        others = [k for k in range(5) if k != own]
        w = torch.stack([model.linear.weight[k] - model.linear.weight[own] for k in others]).detach()
        gaps = torch.stack([logits[image, own] - logits[image, k] for k in others])
        dual = w.norm(dim=1) if norm == "l2" else w.abs().sum(1)
        length = steps[image].norm() if norm == "l2" else steps[image].abs().max()
        nearest = float((gaps / dual).min())
        assert float(length) == pytest.approx((1 + OVERSHOOT) * nearest, rel=0.02, abs=1e-4)
        if nearest > 1e-3:
            assert int((gaps / dual).argmin()) == others.index(
                int(model((images + steps)[image : image + 1]).argmax())
            )


@pytest.mark.parametrize("norm", NORMS)
def test_a_network_agrees_with_the_textbook_image_by_image(
    norm: str, learnt: nn.Module, digits: Dataset
) -> None:
    images = to_unit(digits.test.images[:16])
    steps = deepfool(learnt, images, norm)
    expected = torch.stack([textbook.deepfool(learnt, image, norm) for image in images])
    torch.testing.assert_close(steps, expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("norm", NORMS)
def test_every_image_crosses_its_boundary_and_only_just(
    norm: str, learnt: nn.Module, digits: Dataset
) -> None:
    images = to_unit(digits.test.images[:100])
    steps = deepfool(learnt, images, norm)
    labels = predict(learnt, images)
    assert (predict(learnt, images + steps) != labels).all()
    assert (predict(learnt, images + 0.9 * steps) == labels).float().mean() > 0.9


def test_each_norm_is_smallest_in_its_own(learnt: nn.Module, digits: Dataset) -> None:
    images = to_unit(digits.test.images[:50])
    l2, linf = deepfool(learnt, images, "l2"), deepfool(learnt, images, "linf")
    assert l2.flatten(1).norm(dim=1).mean() < linf.flatten(1).norm(dim=1).mean()
    assert linf.flatten(1).abs().amax(1).mean() < l2.flatten(1).abs().amax(1).mean()


def test_an_image_does_not_depend_on_its_batch(learnt: nn.Module, digits: Dataset) -> None:
    images = to_unit(digits.test.images[:8])
    together = deepfool(learnt, images)
    alone = torch.cat([deepfool(learnt, image[None]) for image in images])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_out_of_steps_keeps_what_was_reached(learnt: nn.Module, digits: Dataset) -> None:
    images = to_unit(digits.test.images[:8])
    expected = torch.stack([textbook.deepfool(learnt, image, "l2", max_steps=1) for image in images])
    torch.testing.assert_close(deepfool(learnt, images, max_steps=1), expected, atol=1e-4, rtol=1e-3)


def test_only_the_likeliest_classes_are_looked_at() -> None:
    """Class 2 is a little less likely than class 1, yet nearer; with two classes it is never thought of."""
    model = Affine(inputs=2, classes=3)
    with torch.no_grad():
        model.linear.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 50.0]]))
        model.linear.bias.copy_(torch.tensor([1.0, 0.8, 0.7]))
    image = torch.zeros(1, 1, 1, 2)
    assert int(model(image + deepfool(model, image, classes=3)).argmax()) == 2
    assert int(model(image + deepfool(model, image, classes=2)).argmax()) == 1


def test_a_model_without_gradient_is_survived() -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :3] * 0 + torch.tensor([2.0, 1.0, 0.0])

    assert torch.isfinite(deepfool(Constant(), torch.rand(3, 1, 2, 2), max_steps=3)).all()


@pytest.mark.parametrize(("norm", "epsilon"), [("l2", 1.5), ("linf", 0.2)])
def test_local_perturbations_have_the_uaps_norm(
    norm: str, epsilon: float, learnt: nn.Module, digits: Dataset
) -> None:
    images = to_unit(digits.test.images[:40])
    local = local_perturbations(learnt, images, norm, epsilon)
    assert local.shape == images.shape
    length = local.flatten(1).norm(p=2 if norm == "l2" else float("inf"), dim=1)
    torch.testing.assert_close(length, torch.full((40,), epsilon), atol=1e-5, rtol=0)
    direction = nn.functional.cosine_similarity(local.flatten(1), deepfool(learnt, images, norm).flatten(1))
    torch.testing.assert_close(direction, torch.ones(40), atol=1e-5, rtol=0)
