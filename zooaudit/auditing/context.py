"""The inputs that all steps of an audit share."""

from dataclasses import dataclass

from zooaudit.auditing.twin_questions import NO_SOURCES, Sources
from zooaudit.config import Recipe
from zooaudit.data.images import Dataset
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.models import OwnModel
from zooaudit.training.farm import Farm, Watch


@dataclass(frozen=True, eq=False)
class Context:
    """An audit's inputs, and what does its work.

    Attributes:
        dataset: the victim's domain.
        artifacts: the store.
        farm: trains the zoo.
        watch: called with the farm's progress.
        own: the user's own victim; without one, a victim is trained.
        sources: images of another task, and those that the victim was asked, for questions.
    """

    recipe: Recipe
    dataset: Dataset
    artifacts: Artifacts
    farm: Farm
    watch: Watch
    own: OwnModel | None = None
    sources: Sources = NO_SOURCES
