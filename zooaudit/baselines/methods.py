"""Other methods as questions that are made from one candidate and a score of a suspect's answers: higher for
one more like that candidate.

Under a twin test every candidate is treated in the same way: its own questions, its own
score. What is simplified here:

- all ask about images of the victim's task and such as are made of them; what their papers
  choose by models that an owner has to train (SAC's surrogates, the paper's contrastive
  encoder) is left out: SAC-w asks about images that the candidate gets wrong, the paper's
  fingerprints are compared as they are, on natural images at random;
- adversarial examples are PGD's, of 20 steps; ModelDiff's pairs are an image and its PGD
  example, not the result of a search;
- IPGuard's points move for at most 100 steps, towards labels at random;
- IrisFP's fingerprints are not chosen by reference models that are known to be pirated, nor do they have a
  threshold each: samples that answer alike are counted. ADV-TRA's steps have fixed lengths;
- MetaFinger's copies are six, noisy, pruned or tuned in a second, and screen the images themselves; its
  independent models are half of the owner's references, the same for every candidate and made from none, and
  the other half tells what independent models score. Candidates do not serve: each would then be told from
  the others, whom the test has to treat as it treats the victim;
- Dataset Inference (``dataset_inference.py``) has fewer directions and images, and ends its walks by
  bisection. It asks who learnt certain images; twins learnt the victim's, so no rank tells the victim from
  them, by design. It is judged by its own p-value alone;
- NaturalFinger is left out: its questions come from a GAN that is trained for each data
  set, which does not fit here.

Papers that state their decision in numbers have it in ``rules.py``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from zooaudit.baselines.adversarial import pgd
from zooaudit.baselines.intersection import Iris
from zooaudit.baselines.ipguard import IpGuard
from zooaudit.baselines.meta import LEAST, LESSONS, MetaFinger, changed_copies
from zooaudit.baselines.mixed import cut_and_mixed
from zooaudit.baselines.rules import Rule, adv_tra, deepjudge
from zooaudit.baselines.scores import (
    decision_distance,
    jensen_shannon,
    matching_rate,
    raw_cosine,
    robustness_distance,
    sample_correlation,
)
from zooaudit.baselines.trajectory import LENGTH, trajectories
from zooaudit.config import UapConfig
from zooaudit.data.images import to_unit
from zooaudit.paper.uap import craft_uap

MADE = 60
"""Images of each kind that are made from one candidate, unless it is asked for more."""
AT_ONCE = 64
"""Images that are made at a time: gradients of many take much memory."""
WRONG = 500
"""Of the images that a candidate gets wrong, at most so many are asked."""
EVERYBODY = 2000
"""Natural images that are asked where all candidates have the same questions."""
PGD_BALL = 0.03
"""L-inf radius of public codes' adversarial examples."""
MARGIN, STEPS = 0.01, 100
"""IPGuard's."""
STARTED = 70
"""Images of which MetaFinger keeps ``MADE``."""
UAP = UapConfig(points=1000, max_steps=40, batch_size=64)


@dataclass(eq=False)
class Crafted:
    """What is made from one candidate.

    Attributes:
        module: gives logits; in evaluation mode.
        images: natural, uint8 ``[n, c, h, w]``, in random order; ``labels`` int64 ``[n]``.
        answers: the candidate's, float32 ``[n, K]``.
        seed: the same for all candidates.
        strangers: independent models that give logits; the same for all candidates, and
            made from none of them.
        many: images of each kind that are made.
    """

    module: nn.Module
    images: Tensor
    labels: Tensor
    answers: Tensor
    seed: int = 0
    strangers: Sequence[nn.Module] = ()
    many: int = MADE

    @property
    def right(self) -> Tensor:
        return self.answers.argmax(1) == self.labels

    @property
    def wrong(self) -> Tensor:
        """Rows of natural images that the candidate gets wrong, ``WRONG`` at most."""
        return (~self.right).nonzero().flatten()[:WRONG]

    @property
    def surest(self) -> Tensor:
        """Rows of the images that it gets right with the largest sum of squared
        probabilities: DeepJudge's seeds."""
        certainty = self.answers.square().sum(1).masked_fill(~self.right, -1.0)
        return certainty.argsort(descending=True, stable=True)[: min(self.many, int(self.right.sum()))]

    @cached_property
    def adversarial(self) -> Tensor:
        """Of the surest images: float ``[many, c, h, w]``."""
        parts = self.surest.split(AT_ONCE)
        return torch.cat(
            [pgd(self.module, to_unit(self.images[rows]), self.labels[rows], PGD_BALL) for rows in parts]
        )

    @cached_property
    def border(self) -> Tensor:
        """Of the first natural images."""
        return self._in_parts(self.many, IpGuard(MARGIN, STEPS).points)

    @cached_property
    def perturbed(self) -> Tensor:
        """The first natural images, half as many, with the candidate's own UAP added."""
        uap = craft_uap(self.module, self.images, self.images[: self.many], UAP, self.seed)
        return (to_unit(self.images[: self.many // 2]) + uap.v).clamp(0, 1)

    @cached_property
    def mixed(self) -> Tensor:
        """Of the first natural images and the next: the same for all candidates."""
        count = min(self.many, len(self.images) // 2)
        return cut_and_mixed(to_unit(self.images[:count]), to_unit(self.images[count : 2 * count]), self.seed)

    @cached_property
    def trajectory(self) -> Tensor:
        """Of the first natural images, as many as give ``many`` points."""
        return self._in_parts(self.many // LENGTH, trajectories)

    @cached_property
    def intersection(self) -> Tensor:
        """Of the first natural images, as many as give ``many`` points."""
        iris = Iris()
        return self._in_parts(self.many // iris.samples, iris.points)

    def _in_parts(self, count: int, make: Callable[[nn.Module, Tensor, int], Tensor]) -> Tensor:
        """What is made of the first ``count`` natural images, some at a time."""
        return torch.cat(
            [make(self.module, to_unit(part), self.seed) for part in self.images[:count].split(AT_ONCE)]
        )

    @cached_property
    def meta(self) -> Tensor:
        """Of the first natural images; copies are tuned on the last."""
        copies = changed_copies(self.module, self.images[-LESSONS:], self.labels[-LESSONS:], self.seed)
        return MetaFinger().points(copies, self.strangers, to_unit(self.images[:STARTED]), MADE, self.seed)

    @property
    def names(self) -> list[str]:
        """Of ``MADE_BY``, what can be made: nothing that takes strangers where there are too few."""
        return [name for name in MADE_BY if name != "meta" or len(self.strangers) >= LEAST]

    def made(self) -> dict[str, Tensor]:
        """Everything, by name."""
        return {name: getattr(self, name) for name in self.names}


MADE_BY = ("adversarial", "border", "perturbed", "trajectory", "intersection", "mixed", "meta")


@dataclass(frozen=True)
class Method:
    """Attributes: rows: which natural images are asked. made: which of the images made from the candidate,
    one of ``MADE_BY``; "" of a method that asks natural images only. count: how many of these, at most.
    score: of the candidate's and a suspect's answers, natural images first, and the classes of the
    candidate's surest images. rule: the paper's own decision, where it states one in numbers. learns: whether
    ``Crafted.strangers`` took part in making the images, so that they are not a yardstick of its scores.
    """

    name: str
    access: str
    rows: Callable[[Crafted], Tensor]
    made: str
    score: Callable[[Tensor, Tensor, Tensor], float]
    count: int = MADE
    rule: Rule | None = None
    learns: bool = False


def _none(crafted: Crafted) -> Tensor:
    return torch.empty(0, dtype=torch.int64)


def _plain(score: Callable[[Tensor, Tensor], float]) -> Callable[[Tensor, Tensor, Tensor], float]:
    return lambda own, suspect, labels: score(own, suspect)


METHODS = (
    Method(
        "label agreement",
        "label",
        lambda c: torch.arange(min(EVERYBODY, len(c.images))),
        "",
        _plain(matching_rate),
    ),
    Method("AKH", "label", lambda c: c.wrong, "", _plain(matching_rate)),
    Method("SAC-w", "probabilities", lambda c: c.wrong, "", _plain(sample_correlation)),
    Method("SAC-m", "probabilities", _none, "mixed", _plain(sample_correlation)),
    Method("IPGuard", "label", _none, "border", _plain(matching_rate)),
    Method("DeepJudge JSD", "probabilities", _none, "adversarial", _plain(jensen_shannon), rule=deepjudge),
    Method("DeepJudge RobD", "label", _none, "adversarial", robustness_distance, rule=deepjudge),
    Method(
        "ModelDiff DDV",
        "probabilities",
        lambda c: c.surest[: c.many // 2],
        "adversarial",
        _plain(decision_distance),
        MADE // 2,
    ),
    Method("ADV-TRA", "label", _none, "trajectory", _plain(matching_rate), rule=adv_tra),
    Method("IrisFP", "label", _none, "intersection", _plain(matching_rate)),
    Method("MetaFinger", "label", _none, "meta", _plain(matching_rate), learns=True),
    Method(
        "UAP fingerprints",
        "probabilities",
        lambda c: torch.arange(min(c.many // 2, len(c.images))),
        "perturbed",
        _plain(raw_cosine),
        MADE // 2,
    ),
)
