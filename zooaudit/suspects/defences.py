"""What a thief may do to questions and answers to be less recognisable; the model itself stays as it is."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from zooaudit.seeds import derive

BLURRED = 16
"""Images blurred at a time: the convolution unfolds them to 25 times their size."""
Change = Callable[[Tensor], Tensor]
Disguise = Callable[[Tensor, int], Tensor]


def _same(x: Tensor) -> Tensor:
    return x


def _as_they_are(answers: Tensor, seed: int) -> Tensor:
    return answers


@dataclass(frozen=True)
class Defence:
    """Attributes: questions: changes images float ``[n, c, h, w]`` in [0, 1] before the model sees them.
    answers: changes its probabilities ``[n, K]`` before they are returned; the number seeds randomness, one
    seed for each model.
    """

    name: str
    questions: Change = _same
    answers: Disguise = _as_they_are

    @property
    def changes_questions(self) -> bool:
        return self.questions is not _same


def tempered(answers: Tensor, temperature: float) -> Tensor:
    """Softmax at another temperature: over 1 softens, under 1 sharpens; labels stay."""
    logits = answers.clamp(min=1e-12).log() / temperature
    return logits.softmax(-1)


def noisy(answers: Tensor, deviation: float, seed: int) -> Tensor:
    """Normal noise on every probability, cut at 0 and normalised again; the same for the
    same answers and seed."""
    generator = torch.Generator().manual_seed(derive(seed, "noise"))
    changed = (answers + deviation * torch.randn(answers.shape, generator=generator)).clamp(min=1e-6)
    return changed / changed.sum(-1, keepdim=True)


def blurred(images: Tensor, deviation: float) -> Tensor:
    """Gaussian blur with this standard deviation, in pixels."""
    from torchvision.transforms.functional import gaussian_blur  # takes seconds, which few commands need

    return torch.cat([gaussian_blur(part, [5, 5], [deviation, deviation]) for part in images.split(BLURRED)])


def grainy(images: Tensor, deviation: float) -> Tensor:
    """Normal noise on every pixel, cut to [0, 1]; the same for the same images."""
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return (images + deviation * noise.to(images.device)).clamp(0, 1)


def halved(images: Tensor) -> Tensor:
    """Halve the size and double it again, as a service does that works at one size."""
    height, width = images.shape[-2:]
    small = interpolate(
        images, size=(-(-height // 2), -(-width // 2)), mode="bilinear", antialias=True, align_corners=False
    )
    return interpolate(small, size=(height, width), mode="bilinear", align_corners=False)


def jpeg(images: Tensor, quality: int) -> Tensor:
    """Pass each image through JPEG; grey images stay grey."""
    return (
        torch.stack(
            [_through_jpeg(image, quality) for image in (images * 255).round().to(torch.uint8)]
        ).float()
        / 255
    )


def _through_jpeg(image: Tensor, quality: int) -> Tensor:
    """One uint8 ``[c, h, w]`` image, compressed and decoded."""
    rows = image.permute(1, 2, 0).numpy()
    packed = io.BytesIO()
    Image.fromarray(rows[..., 0] if rows.shape[-1] == 1 else rows).save(packed, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(packed))).view(*rows.shape).permute(2, 0, 1)


DEFENCES = (
    Defence("none"),
    Defence("temperature 0.5", answers=lambda a, _: tempered(a, 0.5)),
    Defence("temperature 3", answers=lambda a, _: tempered(a, 3.0)),
    Defence("noise 0.05", answers=lambda a, seed: noisy(a, 0.05, seed)),
    Defence("noise 0.2", answers=lambda a, seed: noisy(a, 0.2, seed)),
    Defence("blur 0.7", questions=lambda x: blurred(x, 0.7)),
    Defence("blur 1.2", questions=lambda x: blurred(x, 1.2)),
    Defence("half size", questions=halved),
    Defence("grain 0.1", questions=lambda x: grainy(x, 0.1)),
    Defence("JPEG 50", questions=lambda x: jpeg(x, 50)),
    Defence("JPEG 10", questions=lambda x: jpeg(x, 10)),
)
"""In the order of the table; the first is not a defence."""
TREATMENTS = tuple(d for d in DEFENCES if d.name in ("blur 0.7", "blur 1.2", "grain 0.1"))
"""The models that teach a score, copies and innocent ones alike, are also asked behind these. What an
interface does to images moves every model's answers, and an innocent model behind it must not look like a
copy (docs/log.md)."""
