"""The shell commands of the how-to pages, and what their readers have: a folder of photographs, a folder of
transformers', packages, other people's models."""

import contextlib
import io
import os
import re
import shlex
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flask import Flask
from PIL import Image
from torch import Tensor, nn
from werkzeug.serving import make_server

from tests.support.places import ROOT
from zooaudit.cli.main import main
from zooaudit.data.resolve import load_digits
from zooaudit.zoo import call_training, own_training

READERS = (
    "README.md",
    "docs/install.md",
    "docs/digits.md",
    "docs/your-model.md",
    "docs/score.md",
    "docs/evidence.md",
    "docs/serve.md",
    "docs/mlserver.md",
    "docs/s3.md",
    "docs/studies.md",
    "docs/results.md",
    "docs/costs.md",
    "docs/cluster.md",
    "docs/recipes.md",
)
"""Pages whose reader has a net of their own and images of one size."""
PAGES = (*READERS, "docs/models.md", "docs/data.md", "docs/apis.md")
NAMES = tuple(str(i + 1) for i in range(10))
"""Of the classes: alphabetically, 10 comes before 2."""
PLAIN_NAMES = tuple(f"kind {i}" for i in range(10))
SIDE = 16


@dataclass(frozen=True)
class Command:
    """One line of a page's shell blocks, without its comment."""

    page: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"


def commands(page: str) -> list[Command]:
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    bare = (re.sub(r"\s+", " ", re.sub(r"(^|\s)#.*", "", line)).strip() for line in lines)
    return [Command(page, line.removeprefix(".venv/bin/")) for line in bare if line]


def block(page: str, start: str) -> str:
    """The TOML block of a page that begins so."""
    (found,) = (
        b
        for b in re.findall(r"^```toml\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
        if b.startswith(start)
    )
    return found


@dataclass
class Done:
    """What a command came to."""

    code: int
    out: str
    err: str


@dataclass
class Town:
    """A folder in which the commands of some pages are run.

    Attributes:
        places: what stands in the place of something that a page names; the rest of a
            command is as it is on the page.
        known: of a place whose content is known only later.
        said: by commands that were run beforehand.
    """

    folder: Path
    places: dict[str, str]
    known: dict[str, Callable[["Town"], str]] = field(default_factory=dict)
    said: dict[str, Done] = field(default_factory=dict)

    def filled(self, text: str) -> str:
        for place, content in self.places.items():
            text = text.replace(place, content)
        for place, found in self.known.items():
            if place in text:
                text = text.replace(place, found(self))
        return text

    def run(self, text: str) -> Done:
        """In this process: a Python of its own for each would take most of the time."""
        words = shlex.split(self.filled(text))
        assert words[0] == "zooaudit", text
        trains = words[1] == "audit" or "--with-models" in words
        out, err = io.StringIO(), io.StringIO()
        with here(self.folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([*words[1:], *(["--farm", "serial"] if trains else [])])
        return Done(code, out.getvalue(), err.getvalue())

    def done(self, text: str) -> Done:
        """The same, once."""
        if text not in self.said:
            self.said[text] = self.run(text)
            assert self.said[text].code == 0, (text, self.said[text])
        return self.said[text]


@contextmanager
def here(folder: Path) -> Iterator[None]:
    """In that folder, with its packages and no other folder's; twins are trained in this process, by the
    program that trains them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        for name in [n for n in sys.modules if n.partition(".")[0] in ("my_package", "their_package")]:
            patch.delitem(sys.modules, name)
        patch.setattr(own_training, "run", at_once)
        yield
        for name in [n for n in sys.modules if n.partition(".")[0] in ("my_package", "their_package")]:
            del sys.modules[name]


def at_once(
    command: Sequence[str],
    folder: Path,
    log: Path,
    limits: object,
    environment: Mapping[str, str] | None = None,
) -> Any:
    """In place of a process of its own, which tests of own training start: nineteen times torch and
    transformers take a minute."""
    assert command[3] == "zooaudit.zoo.call_training"
    function, seed, threads, data, out = command[4:]
    log.write_bytes(b"")
    with torch.random.fork_rng([]), open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        return call_training.main(function, int(seed), int(threads), data, Path(out)), ""


# What is in the places that pages name


def digits() -> dict[str, tuple[Tensor, Tensor]]:
    """uint8 ``[n, 8, 8]`` and labels of two splits."""
    data = load_digits()
    return {
        name: (part.images[:n, 0], part.labels[:n])
        for name, part, n in (("train", data.train, 800), ("test", data.test, 300))
    }


def photographs(folder: Path, all_sizes: bool) -> None:
    """JPEGs of all sizes, in class folders called by numbers; or PNGs of one size, in
    folders whose order is plain."""
    dice = np.random.default_rng(0)
    for split, (images, labels) in digits().items():
        for i, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
            sides = tuple(map(int, dice.integers(SIDE, 40, 2))) if all_sizes else (SIDE, SIDE)
            place = folder / split / (NAMES if all_sizes else PLAIN_NAMES)[label]
            place.mkdir(parents=True, exist_ok=True)
            made = Image.fromarray(image.numpy()).resize(sides, Image.Resampling.BILINEAR)
            made.save(place / (f"{i}.jpg" if all_sizes else f"{i}.png"), quality=90)


READOUT = '''
import torch
from torch import nn

def read_out(model, head, images, labels, give):
    """Fit the last layer by least squares, in a moment."""
    seen = []
    hook = head.register_forward_hook(lambda module, given, out: seen.append(given[0].flatten(1)))
    with torch.no_grad():
        give(model.eval(), images.float() / 255)
    hook.remove()
    features = torch.cat([seen[0], torch.ones(len(images), 1)], 1)
    wanted = nn.functional.one_hot(labels, head.out_features).float() * 8 - 4
    gram = features.T @ features + 0.1 * torch.eye(features.shape[1])
    weights = torch.linalg.solve(gram, features.T @ wanted).T
    with torch.no_grad():
        head.weight.copy_(weights[:, :-1])
        head.bias.copy_(weights[:, -1])
    return model
'''
PLAIN = (
    READOUT
    + """
def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(256, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10))

def train(images, labels, seed):
    torch.manual_seed(seed)
    model = make()
    return read_out(model, model[3], images, labels, lambda model, images: model(images))
"""
)
VIT = (
    READOUT
    + """
from transformers import ViTConfig, ViTForImageClassification

NAMES = [str(i + 1) for i in range(10)]

def train(images, labels, seed):
    torch.manual_seed(seed)
    config = ViTConfig(
        hidden_size=64, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64,
        image_size=16, patch_size=4, num_channels=1,
        id2label=dict(enumerate(NAMES)), label2id={n: i for i, n in enumerate(NAMES)}, initializer_range=0.1,
    )
    model = ViTForImageClassification(config)
    return read_out(model, model.classifier, images, labels, lambda model, images: model(images * 2 - 1))
"""
)
SMALLER = """inherit = "fmnist-quick"
[zoo]
references = 5
suspects_per_cell = 3
architectures = ["C"]
optimisers = ["sgd"]
encoder_architectures = ["C"]
encoder_per_role = 2
other_victims = 1
look_alikes_per_victim = 1
widths = [4, 8]
hidden = 16
batch_sizes = [32]
second_attack = "none"
taken = []
accuracy_floor = 0.3
recovery_floor = 0.0
epochs = []
training = { epochs = 4, precision = "float32" }
extraction = { seed_size = 60, rounds = 1, round_epochs = 1, final_epochs = 3 }
[uap]
epsilon = 0.35
points = 100
max_steps = 4
batch_size = 32
[fingerprint]
points = 8
views = 4
[encoder]
steps = 20
[paper_encoder]
steps = 20
[verdict]
fingerprints = 4
repeats = 3
min_reference_models = 2
[twin_test]
control_questions = 40
looks = [50, 100]
"""
"""A recipe for seconds: in the place of one that trains for minutes."""


def package(folder: Path, name: str, **modules: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").touch()
    for module, text in modules.items():
        (folder / name / f"{module}.py").write_text(text)


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


@contextmanager
def listening(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
