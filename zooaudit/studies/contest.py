"""Other methods on one owner's models: what each candidate's questions are, and what
suspects and references answer to them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from zooaudit.baselines.methods import METHODS, Crafted, Method
from zooaudit.errors import ModelError, first_line
from zooaudit.studies.collected_about import About
from zooaudit.studies.owners import Owner
from zooaudit.suspects.blackbox import TorchBlackBox

Load = Callable[[Path, str], nn.Module]
"""Of the folder of a data set's models and an id, a module in evaluation mode that gives logits;
FileNotFoundError where there is none."""
BATCH = 500


@dataclass(eq=False)
class Contest:
    """What candidates' questions are, and what suspects and references answer to them."""

    owner: Owner
    load: Load
    _to_victims: dict[str, dict[str, Tensor] | None] = field(default_factory=dict, init=False)

    @cached_property
    def crafted(self) -> list[Crafted]:
        """Of each candidate."""
        pool, labels = self.owner.collection.pools["natural"], self.owner.collection.labels
        found = (self.module(a) for a in self.owner.references if a.id in self.lent)
        strangers = tuple(m for m in found if m is not None)
        return [
            Crafted(self._loaded(a), pool, labels, self.natural(a), strangers=strangers)
            for a in self.owner.candidates
        ]

    @cached_property
    def lent(self) -> set[str]:
        """References that methods may learn from, about half; a reference is on the same
        side as what was made of it."""
        origin = {a.id: self.owner.collection.origin(a.id) for a in self.owner.references}
        chosen = set(sorted(set(origin.values()))[::2])
        return {id_ for id_, first in origin.items() if first in chosen}

    @property
    def methods(self) -> list[Method]:
        """Those whose questions can be made."""
        return [m for m in METHODS if not m.made or m.made in self.crafted[0].names]

    @cached_property
    def made(self) -> list[dict[str, Tensor]]:
        """Images float ``[n, c, h, w]`` that are made from each candidate, by what they are."""
        return [c.made() for c in self.crafted]

    @property
    def classes(self) -> int:
        return self.natural(self.owner.candidates[0]).shape[1]

    def natural(self, model: About) -> Tensor:
        return self.owner.collection.answers(model.id)["natural"]

    def module(self, model: About) -> nn.Module | None:
        """None of one without weights."""
        return load_one(self.load, self.owner.collection.folder / "models", model.id)

    def _loaded(self, model: About) -> nn.Module:
        found = self.module(model)
        if found is None:
            raise ModelError(
                f"the candidate {model.id} has no weights; questions are made from every candidate"
            )
        return found

    def own(self, index: int) -> dict[str, Tensor]:
        """A candidate's answers to its own images."""
        return {
            name: asked_all(self.crafted[index].module, images, self.classes)
            for name, images in self.made[index].items()
        }

    def answers_to_victims(self, model: About) -> dict[str, Tensor] | None:
        """A model's answers to the images that are made from the victim; None of one without weights."""
        if model.id not in self._to_victims:
            module = self.module(model)
            answers = (
                None
                if module is None
                else {n: asked_all(module, images, self.classes) for n, images in self.made[0].items()}
            )
            self._to_victims[model.id] = answers
        return self._to_victims[model.id]

    def answers(self, suspect: About) -> list[dict[str, Tensor]] | None:
        """A suspect's answers to all candidates' images; None of one without weights."""
        module = self.module(suspect)
        if module is None:
            return None
        return [
            {name: asked_all(module, images, self.classes) for name, images in made.items()}
            for made in self.made
        ]

    def score(
        self, method: Method, index: int, own: dict[str, Tensor], given: dict[str, Tensor], natural: Tensor
    ) -> float:
        """Of one suspect, by what it answers, against one candidate."""
        crafted = self.crafted[index]
        asked = method.rows(crafted)
        mine, theirs = crafted.answers[asked], natural[asked]
        if method.made:
            mine, theirs = (
                torch.cat([part, of[method.made][: method.count]])
                for part, of in ((mine, own), (theirs, given))
            )
        return method.score(mine, theirs, crafted.labels[crafted.surest])

    def of_references(self, method: Method, own: dict[str, Tensor]) -> np.ndarray:
        """The scores against the victim ``[n]`` of references that can be asked and took no
        part in making the questions.

        Args:
            own: the victim's answers to its own images.
        """
        scores = []
        for reference in self.owner.references:
            if method.learns and reference.id in self.lent:
                continue
            given = self.answers_to_victims(reference) if method.made else {}
            if given is not None:
                scores.append(self.score(method, 0, own, given, self.natural(reference)))
        return np.array(scores)

    def asked(self, method: Method) -> int:
        """Images in all, those of all candidates."""
        natural = {int(i) for c in self.crafted for i in method.rows(c)}
        return len(natural) + sum(len(made[method.made][: method.count]) for made in self.made if method.made)


def load_one(load: Load, folder: Path, id_: str) -> nn.Module | None:
    """A model by the user's function; None where that says there is none.

    Raises:
        ModelError: the function fails, or gives no module.
    """
    try:
        found = load(folder, id_)
    except FileNotFoundError:
        return None
    except Exception as error:  # the user's code may raise anything
        raise ModelError(
            f"loading {id_} of {folder} failed: {type(error).__name__}: {first_line(error)}"
        ) from error
    if not isinstance(found, nn.Module):
        raise ModelError(
            f"loading {id_} of {folder} gave a {type(found).__name__}; expected a torch.nn.Module"
        )
    return found.eval().requires_grad_(False)


def asked_all(module: nn.Module, images: Tensor, classes: int) -> Tensor:
    """A model's answers float32 ``[n, classes]`` to float images, some at a time."""
    black_box = TorchBlackBox(module, classes)
    return torch.cat([black_box.ask(part) for part in images.split(BATCH)])
