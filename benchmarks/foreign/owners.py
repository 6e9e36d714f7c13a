"""Nine owners' training procedures, each with a loop of its own:
``train(images, labels, seed)`` gives a network.

The seed decides the initial weights, the order of the batches and the augmentation.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.foreign.augment import batches, holed, mirrored, pasted, shifted, unit
from benchmarks.foreign.nets import begin_with, build


def colour(images: Tensor) -> bool:
    return images.shape[1] == 3


def autocast() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16)


def batchnorm_gelu(images: Tensor, labels: Tensor, seed: int) -> nn.Module:
    """P1: BatchNorm and GELU, AdamW on one cycle, label smoothing, random shifts."""
    torch.manual_seed(seed)
    model = build("gelu", images).to(memory_format=torch.channels_last)
    epochs, size = (5 if colour(images) else 4), 100
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=0.02)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=epochs * (len(images) // size))
    for _ in range(epochs):
        for batch in batches(len(images), size):
            with autocast():
                logits = model(unit(shifted(images[batch], 2)))
            loss = F.cross_entropy(logits.float(), labels[batch], label_smoothing=0.1)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            cycle.step()
    return model.eval()


def plain_relu(images: Tensor, labels: Tensor, seed: int) -> nn.Module:
    """P2: no normalisation, SGD with momentum, learning rate along a cosine, mirrored images."""
    torch.manual_seed(seed)
    model = build("plain", images)
    epochs, size = (6 if colour(images) else 4), 64
    steps = epochs * (len(images) // size)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    step = 0
    for _ in range(epochs):
        for batch in batches(len(images), size):
            for part in optimiser.param_groups:
                part["lr"] = 0.05 * min(1.0, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / steps))
            with autocast():
                logits = model(unit(mirrored(images[batch])))
            optimiser.zero_grad()
            F.cross_entropy(logits.float(), labels[batch]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 3.0)
            optimiser.step()
            step += 1
    return model.eval()


def groupnorm_mixup(images: Tensor, labels: Tensor, seed: int) -> nn.Module:
    """P3: GroupNorm and SiLU, NAdam, mixed pairs of images, the learning rate in three steps down."""
    torch.manual_seed(seed)
    model = build("group", images)
    epochs, size = 5, 80
    optimiser = torch.optim.NAdam(model.parameters(), lr=3e-3)
    decay = torch.optim.lr_scheduler.MultiStepLR(optimiser, [epochs // 2, epochs - 2, epochs - 1], gamma=0.3)
    blend = torch.distributions.Beta(0.3, 0.3)
    for _ in range(epochs):
        for batch in batches(len(images), size):
            share, other = float(blend.sample()), batch[torch.randperm(len(batch))]
            x = unit(mirrored(images[batch]) if colour(images) else images[batch])
            with autocast():
                logits = model(share * x + (1 - share) * unit(images[other])).float()
            loss = share * F.cross_entropy(logits, labels[batch]) + (1 - share) * F.cross_entropy(
                logits, labels[other]
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        decay.step()
    return model.eval()


def from_checkpoint(images: Tensor, labels: Tensor, seed: int, start: nn.Module) -> nn.Module:
    """P4: the public checkpoint ``start`` with a new last layer; the rest learns at a tenth of its rate."""
    torch.manual_seed(seed)
    model = begin_with(build("resid", images), start)
    model.to(memory_format=torch.channels_last)
    epochs, size = (5 if colour(images) else 4), 100
    groups = [{"params": model[:-1].parameters(), "lr": 2e-3}, {"params": model[-1].parameters(), "lr": 6e-3}]
    optimiser = torch.optim.Adam(groups)
    fall = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.02, epochs * (len(images) // size))
    for _ in range(epochs):
        for batch in batches(len(images), size):
            x = mirrored(shifted(images[batch], 2)) if colour(images) else shifted(images[batch], 1)
            with autocast():
                logits = model(unit(x))
            optimiser.zero_grad()
            F.cross_entropy(logits.float(), labels[batch]).backward()
            optimiser.step()
            fall.step()
    return model.eval()


def patch_mixer(images: Tensor, labels: Tensor, seed: int) -> nn.Module:
    """P5: an MLP-Mixer by AdamW with warm-up, the average of the weights along the last third kept."""
    torch.manual_seed(seed)
    model = build("mixer", images)
    epochs, size = (8 if colour(images) else 6), 100
    steps = epochs * (len(images) // size)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.05)
    warm = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda s: min((s + 1) / 60, max(0.05, (steps - s) / steps))
    )
    kept = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.98)
    )
    for epoch in range(epochs):
        for batch in batches(len(images), size):
            with autocast():
                logits = model(unit(shifted(mirrored(images[batch]) if colour(images) else images[batch], 1)))
            optimiser.zero_grad()
            F.cross_entropy(logits.float(), labels[batch], label_smoothing=0.05).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            warm.step()
            if epoch >= epochs * 2 // 3:
                kept.update_parameters(model)
    return kept.module.eval()


def separable_erased(images: Tensor, labels: Tensor, seed: int) -> nn.Module:
    """P6: depthwise-separable convolutions, RMSprop with momentum whose rate decays by the
    step, a grey square in each image."""
    torch.manual_seed(seed)
    model = build("separable", images).to(memory_format=torch.channels_last)
    epochs, size = (6 if colour(images) else 5), 90
    optimiser = torch.optim.RMSprop(model.parameters(), lr=2e-3, alpha=0.95, momentum=0.6, weight_decay=1e-4)
    decay = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.05 ** (1 / (epochs * (len(images) // size))))
    for _ in range(epochs):
        for batch in batches(len(images), size):
            x = mirrored(images[batch]) if colour(images) else images[batch]
            with autocast():
                logits = model(unit(holed(x, images.shape[2] // 5)))
            optimiser.zero_grad()
            F.cross_entropy(logits.float(), labels[batch]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimiser.step()
            decay.step()
    return model.eval()


def dropout_adamax(images: Tensor, labels: Tensor, seed: int) -> nn.Module:
    """P7: dropout, Adamax, brightness and contrast of each image changed, batches that grow
    from 50 to 200."""
    torch.manual_seed(seed)
    model = build("drop", images)
    epochs = 7 if colour(images) else 5
    optimiser = torch.optim.Adamax(model.parameters(), lr=5e-3)
    for epoch in range(epochs):
        for batch in batches(len(images), (50, 100, 200)[3 * epoch // epochs]):
            x = unit(shifted(images[batch], 1))
            light = torch.rand(2, len(batch), 1, 1, 1) * 0.4 - 0.2
            with autocast():
                logits = model((x * (1 + light[0]) + light[1]).clamp(0, 1))
            optimiser.zero_grad()
            F.cross_entropy(logits.float(), labels[batch]).backward()
            optimiser.step()
    return model.eval()


def attention_cutmix(images: Tensor, labels: Tensor, seed: int) -> nn.Module:
    """P8: convolutions and attention, AdamW with a warm-up and a cosine, patches of other
    images pasted into half of the batches."""
    torch.manual_seed(seed)
    model = build("hybrid", images)
    epochs, size = (7 if colour(images) else 5), 64
    steps = epochs * (len(images) // size)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.1)
    wave = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda s: min((s + 1) / 80, 0.5 + 0.5 * math.cos(math.pi * s / steps))
    )
    for _ in range(epochs):
        for batch in batches(len(images), size):
            x, other = mirrored(images[batch]), batch[torch.randperm(len(batch))]
            x, share = pasted(x, images[other]) if float(torch.rand(())) < 0.5 else (x, 0.0)
            with autocast():
                logits = model(unit(x)).float()
            loss = (1 - share) * F.cross_entropy(logits, labels[batch]) + share * F.cross_entropy(
                logits, labels[other]
            )
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            wave.step()
    return model.eval()


def frozen_checkpoint(images: Tensor, labels: Tensor, seed: int, start: nn.Module) -> nn.Module:
    """P9: the public checkpoint ``start`` with a new last layer, which learns alone for an epoch; then all
    but the first block, by SGD."""
    torch.manual_seed(seed)
    model = begin_with(build("resid", images), start)
    epochs, size = 5, 50
    for epoch in range(epochs):
        learning = [*(model[-1:] if epoch == 0 else model[4:]).parameters()]
        optimiser = torch.optim.SGD(
            learning, lr=(0.05, 0.03, 0.03, 0.01, 0.003)[epoch], momentum=0.9, weight_decay=1e-3
        )
        for batch in batches(len(images), size):
            with autocast():
                logits = model(unit(mirrored(shifted(images[batch], 1))))
            model.zero_grad()
            F.cross_entropy(logits.float(), labels[batch], label_smoothing=0.02).backward()
            optimiser.step()
    return model.eval()


OWNERS = {
    "P1": batchnorm_gelu,
    "P2": plain_relu,
    "P3": groupnorm_mixup,
    "P5": patch_mixer,
    "P6": separable_erased,
    "P7": dropout_adamax,
    "P8": attention_cutmix,
}
FROM_START = {"P4": from_checkpoint, "P9": frozen_checkpoint}
"""Those that begin with the public checkpoint."""
ARCHITECTURE = {
    "P1": "gelu",
    "P2": "plain",
    "P3": "group",
    "P4": "resid",
    "P5": "mixer",
    "P6": "separable",
    "P7": "drop",
    "P8": "hybrid",
    "P9": "resid",
}


def train(
    procedure: str, images: Tensor, labels: Tensor, seed: int, start: nn.Module | None = None
) -> nn.Module:
    """The owner's network by ``procedure``; ``start`` is the public checkpoint, for ``FROM_START``."""
    if procedure in FROM_START:
        assert start is not None
        return FROM_START[procedure](images, labels, seed, start)
    return OWNERS[procedure](images, labels, seed)
