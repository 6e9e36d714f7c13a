"""What owners have who read the how-to pages: photographs, a package with a net and what trains it, a small
recipe."""

from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from zooaudit.data.resolve import load_digits

NAMES = tuple(str(i + 1) for i in range(10))
"""Of the classes: alphabetically, 10 comes before 2."""
PLAIN_NAMES = tuple(f"kind {i}" for i in range(10))
SIDE = 16


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
