"""The plain way to build a zoo: torchvision's dataset, a DataLoader, float32, one model
after another on all cores.

Same specs, splits, epochs, optimisers and schedules as zooaudit's; textbook layers (activation before
pooling, ``nn.ELU``, ``nn.PReLU``) and a textbook extraction loop. Only for benchmarks/zoo_build.py.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset
from torchvision import transforms
from torchvision.datasets import FashionMNIST

from zooaudit.data.splits import random_part, seed_set
from zooaudit.seeds import derive
from zooaudit.zoo.arch import ARCHITECTURES, channels_after
from zooaudit.zoo.build import training_half
from zooaudit.zoo.fit import make_optimiser
from zooaudit.zoo.spec import ModelSpec

BATCH = 256
BOUNDARY_STEPS = 3


class Plain:
    """Builds models the plain way from a torchvision folder; ``loaders`` worker processes feed each batch."""

    def __init__(self, root: str, loaders: int) -> None:
        self._loaders = loaders
        self._train = FashionMNIST(root, train=True, transform=transforms.ToTensor())
        flip = transforms.Compose([transforms.RandomHorizontalFlip(), transforms.ToTensor()])
        self._mirrored = FashionMNIST(root, train=True, transform=flip)
        self._test = FashionMNIST(root, train=False, transform=transforms.ToTensor())

    def build(self, spec: ModelSpec, parent: nn.Module | None) -> tuple[nn.Module, float]:
        """Train or extract the model of ``spec``; returns it and its test accuracy."""
        torch.manual_seed(spec.seed % 2**31)
        model = network(spec)
        if spec.extraction is None:
            source = self._mirrored if spec.training.mirror else self._train
            self._fit(model, spec, Subset(source, self._half(spec).tolist()), spec.training.epochs)
        else:
            assert parent is not None
            self._extract(model, spec, parent)
        return model, self._accuracy(model)

    def _half(self, spec: ModelSpec) -> Tensor:
        return training_half(spec, self._train)

    def _fit(self, model: nn.Module, spec: ModelSpec, data: Dataset[object], epochs: int) -> None:
        loader = DataLoader(data, spec.batch_size, shuffle=True, num_workers=self._loaders, drop_last=True)
        assert spec.optimiser != "own"
        optimiser, schedule = make_optimiser(
            model, spec.optimiser, spec.batch_size, spec.training, epochs * len(loader)
        )
        model.train()
        for _ in range(epochs):
            for x, y in loader:
                optimiser.zero_grad()
                F.cross_entropy(model(x), y).backward()
                nn.utils.clip_grad_norm_(model.parameters(), spec.training.clip_norm)
                optimiser.step()
                schedule.step()

    @torch.no_grad()
    def _accuracy(self, model: nn.Module) -> float:
        model.eval()
        loader = DataLoader(self._test, BATCH, num_workers=self._loaders)
        return sum(int((model(x).argmax(1) == y).sum()) for x, y in loader) / len(self._test)

    def _extract(self, model: nn.Module, spec: ModelSpec, parent: nn.Module) -> None:
        config = spec.extraction
        assert config is not None and spec.parent_split_seed is not None
        taken = random_part(len(self._train), spec.data_fraction, derive(spec.parent_split_seed, "split"))
        chosen = seed_set(len(self._train), taken, config.seed_size, derive(spec.seed, "seed-set"))
        images = torch.stack([self._train[int(i)][0] for i in chosen])
        targets = ask(parent, images)
        for _ in range(config.rounds):
            self._fit(model, spec, TensorDataset(images, targets), config.round_epochs)
            model.eval()
            crafted = (
                jbda(model, images, targets, config.step_linf)
                if config.attack == "jbda"
                else cloudleak(model, images, spec)
            )
            images, targets = torch.cat([images, crafted]), torch.cat([targets, ask(parent, crafted)])
        self._fit(model, spec, TensorDataset(images, targets), config.final_epochs)


def network(spec: ModelSpec) -> nn.Module:
    """The architecture with PyTorch's own layers in the textbook order."""
    arch, shape = ARCHITECTURES[spec.architecture], spec.shape
    activation = {"relu": nn.ReLU, "elu": nn.ELU, "prelu": nn.PReLU}[arch.activation]
    channels, height, width = shape.image
    layers: list[nn.Module] = [transforms.Normalize(shape.mean, shape.std)]
    for i in range(arch.convolutions):
        out = channels_after(i, arch, shape)
        layers += [nn.Conv2d(channels, out, arch.kernel, padding=arch.kernel // 2), activation()]
        channels = out
        if i in arch.pool_after:
            layers.append(nn.MaxPool2d(2))
            height, width = height // 2, width // 2
    layers += [
        nn.Flatten(),
        nn.Dropout(arch.dropout),
        nn.Linear(channels * height * width, shape.hidden),
        activation(),
    ]
    model = nn.Sequential(*layers, nn.Dropout(arch.dropout), nn.Linear(shape.hidden, shape.num_classes))
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, std=math.sqrt(2 / module.weight[0].numel()))
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    return model


@torch.no_grad()
def ask(victim: nn.Module, images: Tensor) -> Tensor:
    """The victim's probabilities."""
    return torch.cat([victim(x).softmax(1) for x in images.split(BATCH)])


def cloudleak(model: nn.Module, images: Tensor, spec: ModelSpec) -> Tensor:
    """The least certain images, moved to the boundary between their two likeliest classes."""
    config = spec.extraction
    assert config is not None
    with torch.no_grad():
        top = torch.cat([model(x).softmax(1) for x in images.split(BATCH)]).topk(2, 1).values
    start = images[(top[:, 0] - top[:, 1]).topk(config.seed_size, largest=False).indices]
    moved = []
    for first in start.split(BATCH):
        x = first
        for _ in range(BOUNDARY_STEPS):
            x = x.detach().requires_grad_()
            two = model(x).topk(2, 1).values
            margin = two[:, 0] - two[:, 1]
            (g,) = torch.autograd.grad(margin.sum(), x)
            step = (margin.detach() / g.flatten(1).square().sum(1).clamp(min=1e-8)).view(-1, 1, 1, 1) * g
            x = x.detach() - step.clamp(-config.step_linf, config.step_linf)
            x = (first + (x - first).clamp(-config.epsilon_linf, config.epsilon_linf)).clamp(0, 1)
        moved.append(x)
    return torch.cat(moved)


def jbda(model: nn.Module, images: Tensor, targets: Tensor, step_linf: float) -> Tensor:
    """One signed step along the gradient of the victim's label."""
    moved = []
    for x, t in zip(images.split(BATCH), targets.split(BATCH), strict=True):
        x = x.clone().requires_grad_()
        score = model(x).softmax(1).gather(1, t.argmax(1, keepdim=True)).sum()
        (g,) = torch.autograd.grad(score, x)
        moved.append((x.detach() + step_linf * g.sign()).clamp(0, 1))
    return torch.cat(moved)
