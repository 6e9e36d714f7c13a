"""Torchvision's nets, narrowed and fitted to small images: against the published ones, layer by layer."""

import dataclasses
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from tests.support.makers import narrowest
from zooaudit.compute import seeded
from zooaudit.errors import ConfigError
from zooaudit.paper.datapoints import representation
from zooaudit.zoo.arch import build_architecture
from zooaudit.zoo.cost import NORMALISED, counted
from zooaudit.zoo.shape import ModelShape
from zooaudit.zoo.vision_nets import VISION_NETS, WIDTH_STEPS

CPU = torch.device("cpu")
PUBLISHED: dict[str, Callable[..., nn.Module]] = {
    "resnet18": models.resnet18,
    "resnet34": models.resnet34,
    "vgg16": models.vgg16_bn,
    "googlenet": lambda: models.googlenet(aux_logits=False, init_weights=False),
    "densenet121": models.densenet121,
}
LAST = {"resnet18": 4, "resnet34": 4, "vgg16": 2, "googlenet": 4, "densenet121": 2}
"""Pixels on a side of what the last convolution gives for 32 x 32 images."""


def make(name: str, shape: ModelShape, seed: int = 0) -> nn.Module:
    with seeded(seed, CPU):
        return build_architecture(name, shape).eval()


def layers(net: nn.Module) -> list[nn.Module]:
    return [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]


@pytest.mark.parametrize("name", VISION_NETS)
@pytest.mark.parametrize("width", [8, 64])
def test_every_layer_but_the_first_and_the_last_is_the_published_one_narrowed(name: str, width: int) -> None:
    with torch.device("meta"):
        published = layers(PUBLISHED[name]())
        ours = layers(build_architecture(name, narrowest(name, width=width)))
    assert len(ours) == len(published)
    for i, (a, b) in enumerate(zip(ours, published, strict=True)):
        assert type(a) is type(b)
        if isinstance(a, nn.BatchNorm2d) and isinstance(b, nn.BatchNorm2d):
            assert (a.num_features * 64, a.eps, a.momentum) == (b.num_features * width, b.eps, b.momentum)
        elif isinstance(a, nn.Conv2d) and isinstance(b, nn.Conv2d):
            assert a.out_channels * 64 == b.out_channels * width
            assert (a.bias is None) == (b.bias is None)
            if i:
                assert a.in_channels * 64 == b.in_channels * width
                assert (a.kernel_size, a.stride, a.padding, a.groups) == (
                    b.kernel_size,
                    b.stride,
                    b.padding,
                    b.groups,
                )
            else:
                assert (a.in_channels, a.kernel_size, a.stride, a.padding) == (3, (3, 3), (1, 1), (1, 1))


@pytest.mark.parametrize("name", VISION_NETS)
def test_one_linear_layer_gives_the_classes(name: str) -> None:
    linear = [m for m in make(name, narrowest(name, num_classes=7)).modules() if isinstance(m, nn.Linear)]
    assert len(linear) == 1
    assert linear[0].out_features == 7
    assert (
        linear[0].in_features
        == {"googlenet": 1024, "densenet121": 1024}.get(name, 512) * WIDTH_STEPS[name] // 64
    )


@pytest.mark.parametrize("name", VISION_NETS)
@pytest.mark.parametrize("image", [(3, 32, 32), (1, 32, 32), (3, 64, 64), (3, 47, 33)])
def test_coloured_and_grey_images_of_32_pixels_and_up_fit(name: str, image: tuple[int, int, int]) -> None:
    model = make(name, narrowest(name, image=image))
    maps: list[Tensor] = []
    convolution = [m for m in model.modules() if isinstance(m, nn.Conv2d)][-1]
    convolution.register_forward_hook(lambda *given: maps.append(given[-1]))
    with torch.no_grad():
        assert model(torch.rand(2, *image)).shape == (2, 10)
    if min(image[1:]) != 33:
        assert tuple(maps[0].shape[2:]) == (LAST[name],) * 2, "64 pixels go on as 32 do"


@pytest.mark.parametrize("name", VISION_NETS)
def test_smaller_images_are_refused(name: str) -> None:
    with pytest.raises(
        ConfigError,
        match=rf"images of 28 x 32 pixels are too small for {name}; expected at least 32 x 32: resize them",
    ):
        make(name, narrowest(name, image=(1, 28, 32)))


@pytest.mark.parametrize(("name", "step"), [(n, s) for n, s in WIDTH_STEPS.items() if s > 1])
def test_widths_that_break_channels_are_refused(name: str, step: int) -> None:
    for width in (step - 1, step + 1):
        with pytest.raises(
            ConfigError,
            match=rf"width {width} gives {name} fractions of channels; expected a multiple of {step} \(64 is",
        ):
            make(name, narrowest(name, width=width))
    with torch.device("meta"):
        for width in (step, 3 * step):
            build_architecture(name, narrowest(name, width=width))


@pytest.mark.parametrize("name", VISION_NETS)
def test_the_same_seed_gives_the_same_weights_and_leaves_no_trace(name: str, same_global_rng: None) -> None:
    shape = narrowest(name)
    first, again, other = make(name, shape, 1), make(name, shape, 1), make(name, shape, 2)
    assert all(
        torch.equal(a, b)
        for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True)
    )
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))
    assert not any(p.is_meta for p in first.state_dict().values())


def test_convolutions_begin_with_the_deviation_that_he_gives() -> None:
    model = make("resnet18", narrowest("resnet18", width=32))
    for layer in (m for m in model.modules() if isinstance(m, nn.Conv2d) and m.weight.numel() > 10_000):
        expected = (2 / (layer.out_channels * layer.weight[0, 0].numel())) ** 0.5
        assert float(layer.weight.detach().std()) == pytest.approx(expected, rel=0.05)


def test_inputs_are_normalised_inside_the_model() -> None:
    """Images mapped to zero by the normalisation give the first convolution nothing to work on."""
    shape = dataclasses.replace(narrowest("resnet18"), mean=(0.2, 0.4, 0.6), std=(0.1, 0.2, 0.3))
    model = make("resnet18", shape)
    seen: list[Tensor] = []
    model.net.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    average = torch.tensor(shape.mean).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    model(torch.cat([average, average + torch.tensor(shape.std).view(1, 3, 1, 1)]))
    torch.testing.assert_close(seen[0][0], torch.zeros(3, 32, 32))
    torch.testing.assert_close(seen[0][1], torch.ones(3, 32, 32))
    assert {"mean", "std"} <= model.state_dict().keys(), "a stored model must carry its normalisation"


@pytest.mark.parametrize("name", VISION_NETS)
def test_the_representation_is_what_the_last_layer_sees(name: str) -> None:
    model = make(name, narrowest(name))
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    last = [m for m in model.modules() if isinstance(m, nn.Linear)][-1]
    found = representation(model, images)
    with torch.no_grad():
        torch.testing.assert_close(last(found), model(images.float() / 255))


def test_work_of_a_net_is_counted_by_its_layers() -> None:
    """ResNet18 at width 8 on 32 pixels, by the tables of its paper: 16 convolutions of 3 x
    3 in four stages, three of 1 x 1."""
    normalised, multiplications = 8 * 32 * 32, 3 * 8 * 9 * 32 * 32
    for stage, (channels, size) in enumerate([(8, 32), (16, 16), (32, 8), (64, 4)]):
        taken = channels if stage == 0 else channels // 2
        multiplications += channels * size * size * 9 * (taken + 3 * channels)
        normalised += 4 * channels * size * size
        if stage:
            multiplications += channels * size * size * taken
            normalised += channels * size * size
    expected = multiplications + 64 * 10 + NORMALISED * normalised
    assert counted("resnet18", narrowest("resnet18", width=8)).work == expected


@pytest.mark.parametrize("name", VISION_NETS)
def test_work_grows_with_the_width_and_not_with_64_pixels(name: str, same_global_rng: None) -> None:
    narrow, wider, large = (
        counted(name, narrowest(name, image=image, width=width)).work
        for image, width in (((3, 32, 32), 8), ((3, 32, 32), 16), ((3, 64, 64), 8))
    )
    assert 2 * narrow < wider < 4 * narrow
    assert large == narrow, "stride 2 makes 32 of 64 pixels"


def test_nets_are_ordered_by_their_work() -> None:
    work = {name: counted(name, narrowest(name, width=16)).work for name in VISION_NETS}
    assert all(work[a] < work[b] for a, b in pairwise(("vgg16", "resnet18", "resnet34")))
