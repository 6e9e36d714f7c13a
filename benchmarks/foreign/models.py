"""Models on disk: a folder each with answers, weights and ``about.json``, which is written last."""

import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.foreign.nets import NETS
from zooaudit.zoo.arch import build_architecture
from zooaudit.zoo.shape import ModelShape

SIDES = {"fashion-mnist": (1, 28), "cifar10": (3, 32)}
BATCH = 500


class Interface(nn.Module):
    """A network behind something that blurs what goes in or coarsens what comes out; gives
    logarithms of the probabilities told."""

    def __init__(self, module: nn.Module, kind: str) -> None:
        super().__init__()
        self.module, self.kind = module, kind

    def forward(self, x: Tensor) -> Tensor:
        return self.told(x).clamp_min(1e-12).log()

    def told(self, x: Tensor) -> Tensor:
        """The probabilities as they leave the interface; rounded ones need not sum to 1."""
        logits = self.module(INPUTS.get(self.kind, nn.Identity())(x)).float()
        probabilities = (logits / 3 if self.kind == "temperature-3" else logits).softmax(1)
        return (probabilities * 10).round() / 10 if self.kind == "one-decimal" else probabilities


def blur(x: Tensor) -> Tensor:
    """A Gaussian blur of standard deviation 0.7 pixels."""
    line = torch.exp(-(torch.arange(-2.0, 3.0) ** 2) / (2 * 0.7**2))
    kernel = torch.outer(line, line).div(line.sum() ** 2).expand(x.shape[1], 1, 5, 5)
    return F.conv2d(F.pad(x, (2,) * 4, mode="reflect"), kernel, groups=x.shape[1])


def half_size(x: Tensor) -> Tensor:
    """Halved and doubled again."""
    small = F.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True)
    return F.interpolate(small, x.shape[-2:], mode="bilinear")


def jpeg(x: Tensor) -> Tensor:
    """Through JPEG of quality 30; no gradient passes."""
    pixels = (x * 255).round().to(torch.uint8).permute(0, 2, 3, 1).squeeze(3).numpy()
    done = []
    for image in pixels:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=30)
        done.append(np.asarray(Image.open(file)))
    back = torch.from_numpy(np.stack(done)).float().div(255)
    return back.unsqueeze(1) if x.shape[1] == 1 else back.permute(0, 3, 1, 2)


INPUTS = {"blur": blur, "half-size": half_size, "jpeg-30": jpeg}
INTERFACES = ("blur", "jpeg-30", "half-size", "one-decimal", "temperature-3")


def blank(about: dict[str, Any], classes: int = 10) -> nn.Module:
    """The network that ``about`` describes, before its weights are loaded."""
    if about["procedure"] == "zooaudit":
        shape = {k: tuple(v) if isinstance(v, list) else v for k, v in about["shape"].items()}
        return build_architecture(about["architecture"], ModelShape(**shape))
    return NETS[about["architecture"]](*SIDES[about["dataset"]], classes)


def about_of(folder: Path, id_: str) -> dict[str, Any]:
    return json.loads((folder / id_ / "about.json").read_text())


def load(folder: Path | str, id_: str) -> nn.Module:
    """The network ``id_`` of ``folder`` (a data set's ``models``) with its weights: images
    in [0, 1] to logits.

    Raises:
        FileNotFoundError: it is not a torch model (scikit-learn's have answers only).
    """
    folder = Path(folder)
    about = about_of(folder, id_)
    if about["interface"]:
        return Interface(load(folder, about["parent"]), about["interface"]).eval()
    weights = load_file(folder / id_ / "weights.safetensors")
    model = blank(about)
    model.load_state_dict(weights)
    return model.eval()


@torch.no_grad()
def answers(model: nn.Module, images: Tensor) -> Tensor:
    """Probabilities float32 ``[n, 10]`` for uint8 images."""
    result = model.told if isinstance(model, Interface) else lambda x: model(x).float().softmax(1)
    return torch.cat([result(part.float() / 255) for part in images.split(BATCH)])


def commit(
    folder: Path,
    about: dict[str, Any],
    told: dict[str, Tensor],
    model: object,
    behind: dict[str, np.ndarray] | None = None,
) -> None:
    """Write a model's files beside their place and move them there whole."""
    scratch = folder / f".{about['id']}-{os.getpid()}"
    scratch.mkdir(parents=True, exist_ok=True)
    np.savez(scratch / "answers.npz", **{k: v.numpy().astype(np.float32) for k, v in told.items()})
    if isinstance(model, nn.Module) and not isinstance(model, Interface):
        save_file(
            {k: v.detach().contiguous().clone() for k, v in model.state_dict().items()},
            scratch / "weights.safetensors",
        )
    if behind:
        np.savez(scratch / "behind.npz", **behind)
    (scratch / "about.json").write_text(json.dumps(about, indent=1))
    target = folder / about["id"]
    if target.exists():
        shutil.rmtree(target)
    scratch.rename(target)
