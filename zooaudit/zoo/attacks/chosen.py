"""Attacks that choose their questions from images that they have.

Distillation asks about all of them. Knockoff Nets (Orekondy et al., CVPR 2019) ask about images of another
domain, at random or by a policy that learns which kinds of images pay off; with labels alone that is Copycat
(Correia-Silva et al., IJCNN 2018). ActiveThief (Pal et al., AAAI 2020) asks a few, trains, and asks about
those that the substitute is least sure of.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zooaudit.compute import autocast
from zooaudit.data.batches import images_at_once
from zooaudit.data.images import to_unit
from zooaudit.paper.deepfool import deepfool
from zooaudit.seeds import derive
from zooaudit.zoo.attacks.asking import BATCH, Thief
from zooaudit.zoo.attacks.crafted import least_certain

KINDS = 20
"""How many kinds of images a knockoff thief chooses from."""
SIDE = 4
"""Images are clustered by their means on a grid with this many cells on a side."""
GAIN = 1.0
"""Learning rate of the policy."""
DEEPFOOL_STEPS = 3


def distilling(substitute: nn.Module, thief: Thief) -> None:
    """Ask about all images, once."""
    thief.retrain(thief.images, thief.ask(thief.images), thief.config.final_epochs, 0)


def knocking_off(substitute: nn.Module, thief: Thief) -> None:
    """Ask at random; with rounds, ask in each the images that the policy draws.

    The policy is a gradient bandit over kinds of images (section 4.1.2 of the paper). *Ours*: the kinds are
    clusters, since the images have no labels, and the policy learns once a round, from the mean of the
    paper's three rewards over the round's answers of each kind.
    """
    config, generator = thief.config, torch.Generator().manual_seed(derive(thief.seed, "knockoff"))
    kinds = (
        _kinds(thief.images, derive(thief.seed, "kinds"))
        if config.rounds
        else torch.zeros(len(thief.images), dtype=torch.int64)
    )
    wanted, left = torch.zeros(int(kinds.max()) + 1), torch.ones(len(thief.images), dtype=torch.bool)
    new = chosen = _drawn(wanted, kinds, left, config.seed_size, generator)
    result = targets = thief.ask(thief.images[new])
    for round_ in range(config.rounds):
        thief.retrain(thief.images[chosen], targets, config.round_epochs, round_)
        wanted = _learnt(wanted, kinds[new], _rewards(substitute, thief.images[new], result))
        left[new] = False
        new = _drawn(wanted, kinds, left, config.seed_size, generator)
        result = thief.ask(thief.images[new])
        chosen, targets = torch.cat([chosen, new]), torch.cat([targets, result])
    thief.retrain(thief.images[chosen], targets, config.final_epochs, config.rounds)


def stealing_actively(substitute: nn.Module, thief: Thief) -> None:
    """Ask in rounds the images that the substitute is least sure of, by one of the paper's rules."""
    config, generator = thief.config, torch.Generator().manual_seed(derive(thief.seed, "active"))
    order = torch.randperm(len(thief.images), generator=generator)
    chosen, rest = order[: config.seed_size], order[config.seed_size :]
    targets = thief.ask(thief.images[chosen])
    for round_ in range(config.rounds):
        thief.retrain(thief.images[chosen], targets, config.round_epochs, round_)
        new = rest[_least_known(substitute, thief, chosen, rest)]
        targets = torch.cat([targets, thief.ask(thief.images[new])])
        chosen, rest = torch.cat([chosen, new]), rest[~torch.isin(rest, new)]
    thief.retrain(thief.images[chosen], targets, config.final_epochs, config.rounds)


def _kinds(images: Tensor, seed: int) -> Tensor:
    """int64 ``[n]``: which cluster each image belongs to, by its means on a grid."""
    from sklearn.cluster import KMeans  # takes a second to import, and few commands need it

    means = F.adaptive_avg_pool2d(images.float(), SIDE).flatten(1).cpu().numpy()
    return torch.from_numpy(
        KMeans(min(KINDS, len(images)), n_init=1, random_state=seed % 2**32).fit(means).labels_
    ).long()


def _drawn(wanted: Tensor, kinds: Tensor, left: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Indices of images that were not asked yet: first a kind by the policy's preferences, then an image of
    that kind."""
    weights = wanted.softmax(0)[kinds] / torch.bincount(kinds, minlength=len(wanted))[kinds]
    return torch.multinomial(weights * left, min(count, int(left.sum())), generator=generator)


def _rewards(substitute: nn.Module, images: Tensor, reduced: Tensor) -> Tensor:
    """float ``[n]``: how sure the victim is (margin), how much its answers differ from their mean, and how
    wrong the substitute is; each scaled to [0, 1] over the round."""
    substitute.eval()
    with torch.no_grad():
        logits = torch.cat(
            [substitute(to_unit(x)).float() for x in images.split(images_at_once(images.shape, BATCH))]
        )
    answers = F.one_hot(reduced, logits.shape[1]).float() if reduced.ndim == 1 else reduced
    top = answers.topk(2, 1).values
    margin = top[:, 0] - top[:, 1]
    unlike = (answers - answers.mean(0)).clamp(min=0).sum(1)
    loss = F.cross_entropy(logits, reduced, reduction="none")
    return torch.stack([_to_unit_range(r) for r in (margin, unlike, loss)]).mean(0).cpu()


def _to_unit_range(values: Tensor) -> Tensor:
    return (values - values.min()) / (values.max() - values.min()).clamp(min=1e-9)


def _learnt(wanted: Tensor, kinds: Tensor, rewards: Tensor) -> Tensor:
    """The preferences after a round: kinds with more reward than average gain."""
    counts = torch.bincount(kinds, minlength=len(wanted)).clamp(min=1)
    paid = torch.zeros(len(wanted)).index_add(0, kinds, rewards - rewards.mean()) / counts
    return wanted + GAIN * len(wanted) ** 0.5 * paid


def _least_known(substitute: nn.Module, thief: Thief, chosen: Tensor, rest: Tensor) -> Tensor:
    """Indices into ``rest``, ``seed_size`` of them."""
    count, rule = min(thief.config.seed_size, len(rest)), thief.config.choice
    if rule == "uncertainty":
        return least_certain(substitute, thief.images[rest], count, thief.precision).cpu()
    if rule == "deepfool":
        return _nearest_to_the_boundary(substitute, thief.images[rest]).topk(count, largest=False).indices
    answers = _answers(substitute, thief.images[torch.cat([chosen, rest])], thief.precision)
    return _centres(answers[: len(chosen)], answers[len(chosen) :], count)


@torch.no_grad()
def _answers(substitute: nn.Module, images: Tensor, precision: str) -> Tensor:
    substitute.eval()
    with autocast(precision, images.device):
        return torch.cat(
            [
                substitute(to_unit(x)).float().softmax(1)
                for x in images.split(images_at_once(images.shape, BATCH))
            ]
        )


def _nearest_to_the_boundary(substitute: nn.Module, images: Tensor) -> Tensor:
    """float ``[n]``: how far DeepFool moves each image until the substitute's label changes."""
    substitute.eval()
    parts = [to_unit(x) for x in images.split(images_at_once(images.shape, BATCH))]
    return torch.cat(
        [deepfool(substitute, x, "l2", DEEPFOOL_STEPS).flatten(1).norm(dim=1) for x in parts]
    ).cpu()


def _centres(held: Tensor, others: Tensor, count: int) -> Tensor:
    """Greedy k-centre: repeatedly the row of ``others`` that is farthest from all rows held."""
    far = torch.cdist(others, held).min(1).values
    found = []
    for _ in range(count):
        farthest = int(far.argmax())
        found.append(farthest)
        far = torch.minimum(far, (others - others[farthest]).norm(dim=1))
        far[farthest] = -1
    return torch.tensor(found)
