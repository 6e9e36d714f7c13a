"""One model that an owner's training makes."""

from tests.support.zoos import twins
from zooaudit.config import OwnTraining
from zooaudit.data.images import Dataset
from zooaudit.zoo.build import BuiltModel, build


def built(own: OwnTraining, dataset: Dataset, floor: float = 0.0) -> BuiltModel:
    return build(twins(own, dataset, floor=floor)[0], dataset, None)
