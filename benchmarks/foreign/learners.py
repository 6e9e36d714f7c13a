"""Training loops of those who are not owners: independent trainers, an adversarial one, and
thieves who learn from answers."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.foreign.augment import batches, holed, mirrored, pasted, shifted, unit
from benchmarks.foreign.owners import autocast, colour


def one_optimiser(model: nn.Module, name: str) -> tuple[torch.optim.Optimizer, float]:
    """The optimiser by name and its highest learning rate."""
    if name == "sgd":
        return torch.optim.SGD(model.parameters(), lr=0.04, momentum=0.9, weight_decay=1e-4), 0.04
    if name == "rmsprop":
        return torch.optim.RMSprop(model.parameters(), lr=1e-3), 1e-3
    if name == "adamax":
        return torch.optim.Adamax(model.parameters(), lr=4e-3), 4e-3
    if name == "adamw":
        return torch.optim.AdamW(model.parameters(), lr=2.5e-3, weight_decay=0.05), 2.5e-3
    return torch.optim.Adam(model.parameters(), lr=2.5e-3), 2.5e-3


def smooth(model: nn.Module, images: Tensor, labels: Tensor, optimiser: str, epochs: int) -> nn.Module:
    """Smoothed labels, shifted images with a hole, the learning rate up and down in a triangle."""
    stepper, top = one_optimiser(model, optimiser)
    size = 96
    steps, step = epochs * (len(images) // size), 0
    for _ in range(epochs):
        for batch in batches(len(images), size):
            stepper.param_groups[0]["lr"] = top * min(
                (step + 1) / (0.3 * steps), (steps - step) / (0.7 * steps)
            )
            x = shifted(images[batch], 1)
            with autocast():
                logits = model(unit(holed(mirrored(x) if colour(x) else x, images.shape[2] // 4)))
            stepper.zero_grad()
            F.cross_entropy(logits.float(), labels[batch], label_smoothing=0.08).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            stepper.step()
            step += 1
    return model.eval()


def noisy(model: nn.Module, images: Tensor, labels: Tensor, optimiser: str, epochs: int) -> nn.Module:
    """Noise on the pixels, other contrast, batches of 48, the learning rate cut to a fifth near the end."""
    stepper, top = one_optimiser(model, optimiser)
    for epoch in range(epochs):
        stepper.param_groups[0]["lr"] = top * (0.7 if epoch < max(1, round(epochs * 0.7)) else 0.14)
        for batch in batches(len(images), 48):
            x = unit(mirrored(images[batch]) if colour(images) else images[batch])
            contrast = 0.8 + 0.4 * torch.rand(len(batch), 1, 1, 1)
            with autocast():
                logits = model((x * contrast + 0.04 * torch.randn_like(x)).clamp(0, 1))
            stepper.zero_grad()
            F.cross_entropy(logits.float(), labels[batch]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            stepper.step()
    return model.eval()


def cropped(model: nn.Module, images: Tensor, labels: Tensor, optimiser: str, epochs: int) -> nn.Module:
    """Images moved far and pasted into each other, easy ones counted for less (focal loss), the learning rate
    falls in a straight line."""
    stepper, top = one_optimiser(model, optimiser)
    size = 72
    steps, step = epochs * (len(images) // size), 0
    for _ in range(epochs):
        for batch in batches(len(images), size):
            stepper.param_groups[0]["lr"] = top * (1.02 - step / steps)
            other = batch[torch.randperm(len(batch))]
            x, share = (
                pasted(shifted(images[batch], 3), images[other])
                if step % 3 == 0
                else (shifted(images[batch], 3), 0.0)
            )
            with autocast():
                logits = model(unit(x)).float()
            each = [F.cross_entropy(logits, y, reduction="none") for y in (labels[batch], labels[other])]
            loss = sum(
                w * ((1 - (-e.detach()).exp()).clamp_min(0.05).sqrt() * e).mean()
                for w, e in zip((1 - share, share), each, strict=True)
            )
            stepper.zero_grad()
            torch.as_tensor(loss).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            stepper.step()
            step += 1
    return model.eval()


LOOPS = {"smooth": smooth, "noisy": noisy, "cropped": cropped}


def hardened(model: nn.Module, images: Tensor, labels: Tensor, strength: float, epochs: int) -> nn.Module:
    """Adversarial training: half of each batch is moved by ``strength`` along the sign of
    the gradient (FGSM, from a random start)."""
    stepper = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(epochs):
        stepper.param_groups[0]["lr"] = 2e-3 * (1 - epoch / epochs)
        for batch in batches(len(images), 100):
            x, y, half = unit(images[batch]), labels[batch], len(batch) // 2
            moved = x[:half] + strength * (2 * torch.rand_like(x[:half]) - 1)
            with autocast():
                loss = F.cross_entropy(model(moved.requires_grad_()).float(), y[:half])
            (gradient,) = torch.autograd.grad(loss, moved)
            moved = (
                (moved.detach() + strength * gradient.sign())
                .clamp(x[:half] - strength, x[:half] + strength)
                .clamp(0, 1)
            )
            with autocast():
                logits = model(torch.cat([moved, x[half:]]))
            stepper.zero_grad()
            F.cross_entropy(logits.float(), y).backward()
            stepper.step()
    return model.eval()


def imitate(
    model: nn.Module, images: Tensor, targets: Tensor, epochs: int, loop: str = "adam", augment: bool = True
) -> nn.Module:
    """A thief's loop: cross-entropy to the answers (probabilities or labels), kept for
    shifted and mirrored images.

    ``loop`` is ``adam`` (cosine) or ``sgd`` (Nesterov, straight down), so that not all thieves learn alike.
    """
    if loop == "sgd":
        stepper: torch.optim.Optimizer = torch.optim.SGD(
            model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-4
        )
    else:
        stepper = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    top, size = stepper.param_groups[0]["lr"], 80 if loop == "sgd" else 100
    steps, step = epochs * max(1, len(images) // size), 0
    model.train()
    for _ in range(epochs):
        for batch in batches(len(images), size):
            left = 1 - step / steps
            stepper.param_groups[0]["lr"] = top * min(
                (step + 1) / 40, left if loop == "sgd" else 0.5 - 0.5 * math.cos(math.pi * left)
            )
            x = images[batch]
            if augment:
                x = mirrored(shifted(x, 2)) if colour(x) else shifted(x, 1)
            with autocast():
                logits = model(unit(x))
            stepper.zero_grad()
            F.cross_entropy(logits.float(), targets[batch]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            stepper.step()
            step += 1
    return model.eval()
