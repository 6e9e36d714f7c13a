"""Other people's models, as they come to the readers of the how-to pages: each stolen from the victim or not,
in a file, a graph, a folder, or as answers that came back."""

import importlib
import json
import warnings
import zipfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.support import howto_owners
from tests.support.howto import Town, here
from tests.support.howto_owners import NAMES, SIDE, digits
from tests.support.strangers import read_png


def save_folder(model: Any, folder: Path) -> None:
    model.save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    transformers.ViTImageProcessor(size=size, image_mean=[0.5], image_std=[0.5]).save_pretrained(folder)


def noisy(model: nn.Module) -> nn.Module:
    """A copy whose weights were changed a little, as by a thief who fine-tuned them."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.numel() > 1:
                weights += 0.01 * weights.std() * torch.randn(weights.shape, generator=generator)
    return model.eval()


class InRange(nn.Module):
    """Another's model for images in [0, 1]."""

    def __init__(self, inner: nn.Module, scale: float = 2.0, shift: float = -1.0) -> None:
        super().__init__()
        self.inner, self.scale, self.shift = inner, scale, shift

    def forward(self, images: Tensor) -> Tensor:
        result = self.inner(images * self.scale + self.shift)
        return result if isinstance(result, Tensor) else result.logits


def theirs(town: Town, stolen: bool) -> nn.Module:
    """A suspect for images ``[n, 1, 16, 16]`` in [0, 1], in the order of classes in which
    the victim was trained."""
    if not stolen:
        return InRange(independent(), 1, 0).eval()
    with here(town.folder):
        if Path("my-vit").is_dir():
            return InRange(
                noisy(transformers.AutoModelForImageClassification.from_pretrained("my-vit"))
            ).eval()
        return InRange(copied(), 1, 0).eval()


def copied() -> nn.Module:
    model: nn.Module = importlib.import_module("my_package.nets").make()
    model.load_state_dict(load_file("mine.safetensors"))
    return noisy(model)


def independent() -> nn.Module:
    """Of somebody who had the task's images, and never the victim."""
    with torch.random.fork_rng([]):
        torch.manual_seed(11)
        model = nn.Sequential(
            nn.Conv2d(1, 24, 5, 2, 2), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(24 * 16, 10)
        )
    return read_out(model, model[4], lambda images: model(images))


def own_images() -> tuple[Tensor, Tensor]:
    images, labels = digits()["train"]
    return nn.functional.interpolate(images[:, None].float(), (SIDE, SIDE), mode="bilinear"), labels


def read_out(model: nn.Module, head: nn.Module, give: Callable[[Tensor], object]) -> nn.Module:
    made: dict[str, Any] = {}
    exec(howto_owners.READOUT, made)
    found: nn.Module = made["read_out"](model, head, *own_images(), lambda _, images: give(images))
    return found.requires_grad_(False)


def theirs_package(town: Town, stolen: bool) -> None:
    """``theirs.safetensors`` and what builds it."""
    net = "from torch import nn\n\ndef make():\n    return " + (
        "nn.Sequential(nn.Flatten(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))\n"
        if stolen
        else (
            "nn.Sequential(nn.Conv2d(1, 24, 5, 2, 2), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(24"
            " * 16, 10))\n"
        )
    )
    if not (town.folder / "their_package").is_dir():
        howto_owners.package(town.folder, "their_package")
    (town.folder / "their_package" / "nets.py").write_text(net)
    model = theirs(town, stolen)
    save_file(
        {k.removeprefix("inner."): v.contiguous() for k, v in model.state_dict().items()},
        town.folder / "theirs.safetensors",
    )


class Columns(nn.Module):
    """Classes in another order, or among more: probabilities, and maybe something else beside them."""

    def __init__(
        self,
        inner: nn.Module,
        order: list[int],
        nhwc: bool = False,
        scale: float = 1,
        shift: float = 0,
        more: bool = False,
        logits: bool = False,
    ) -> None:
        super().__init__()
        self.inner, self.order, self.nhwc, self.scale, self.shift = inner, order, nhwc, scale, shift
        self.more, self.logits = more, logits

    def forward(self, images: Tensor) -> Any:
        images = images.permute(0, 3, 1, 2) if self.nhwc else images
        result = self.inner((images - self.shift) / self.scale)
        wide = torch.cat([result, result.mean(1, keepdim=True) - 2], 1) if len(self.order) > 10 else result
        scores = wide[:, self.order]
        return (scores.softmax(1), scores) if self.more else scores if self.logits else scores.softmax(1)


def graph(model: nn.Module, path: Path, nhwc: bool = False, names: tuple[str, ...] = ("p",)) -> None:
    shape = (2, SIDE, SIDE, 1) if nhwc else (2, 1, SIDE, SIDE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.eval(),
            (torch.zeros(shape),),
            str(path),
            dynamo=False,
            input_names=["x"],
            output_names=list(names),
            dynamic_axes={name: {0: "n"} for name in ("x", *names)},
            opset_version=17,
        )


ODD = [3, 0, 9, 1, 2, 8, 4, 5, 7, 6]
"""The class in each column of another team's."""
BACKGROUND = [10, *range(10)]


def onnx_as_it_is(town: Town, stolen: bool) -> None:
    graph(Columns(theirs(town, stolen), list(range(10)), nhwc=True), town.folder / "theirs.onnx", nhwc=True)


def onnx_signed(town: Town, stolen: bool) -> None:
    graph(Columns(theirs(town, stolen), list(range(10)), scale=2, shift=-1), town.folder / "theirs.onnx")


@contextmanager
def onnx_bytes(town: Town, stolen: bool) -> Any:
    """Channels last, 0 to 255, classes in an order of its own."""
    graph(Columns(theirs(town, stolen), ODD, nhwc=True, scale=255), town.folder / "theirs.onnx", nhwc=True)
    yield {'"dog","cat","bird"': ",".join(f'"{NAMES[i]}"' for i in ODD)}


def onnx_background(town: Town, stolen: bool) -> None:
    model = Columns(theirs(town, stolen), BACKGROUND, more=True)
    graph(model, town.folder / "theirs.onnx", names=("probabilities", "scores"))


def folder_of_theirs(town: Town, stolen: bool, name: str = "their-convnext") -> None:
    """A thief's folder names the classes in its own order; an innocent's is another net."""
    if stolen:
        with here(town.folder):
            model = noisy(transformers.AutoModelForImageClassification.from_pretrained("my-vit"))
        with torch.no_grad():
            model.classifier.weight.copy_(model.classifier.weight[ODD])
            model.classifier.bias.copy_(model.classifier.bias[ODD])
        names = [NAMES[i] for i in ODD]
    else:
        with torch.random.fork_rng([]):
            torch.manual_seed(5)
            config = transformers.ResNetConfig(
                embedding_size=16, hidden_sizes=[32, 128], depths=[1, 1], layer_type="basic", num_channels=1
            )
            config.num_labels = 10
            model = transformers.ResNetForImageClassification(config)
        read_out(model, model.classifier[1], lambda images: model(images * 2 - 1))
        names = list(NAMES)
    model.config.id2label, model.config.label2id = dict(enumerate(names)), {n: i for i, n in enumerate(names)}
    save_folder(model, town.folder / name)


def timms(town: Town, stolen: bool) -> None:
    """An innocent ResNet18; nobody steals so much in so little time."""
    assert not stolen
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        model = timm.create_model("resnet18", num_classes=10, in_chans=1)
    read_out(
        model,
        model.fc,
        lambda given: model(nn.functional.interpolate(given, (28, 28), mode="bilinear") * 2 - 1),
    )
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, town.folder / "theirs.safetensors")


def answers(town: Town, stolen: bool) -> None:
    """What came back to the questions of ``queries.zip``."""
    town.done("zooaudit kit queries --store store --kit 4f2a --out queries.zip")
    model = theirs(town, stolen)
    with zipfile.ZipFile(town.folder / "queries.zip") as archive:
        images = torch.cat(
            [read_png(archive.read(n)) for n in sorted(archive.namelist()) if n.endswith(".png")]
        )
    rows = model(images).softmax(1).tolist()
    lines = [f'{i},"{json.dumps(row)}"' for i, row in enumerate(rows)]
    (town.folder / "answers.csv").write_text("query,probabilities\n" + "\n".join(lines) + "\n")
