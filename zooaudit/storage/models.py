"""Models as artifacts: weights, spec and record; trained by the zoo, or the user's own."""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from zooaudit.config import OwnTraining
from zooaudit.errors import DamagedArtifactError, ModelError
from zooaudit.storage.artifact import Artifact
from zooaudit.storage.artifacts import Artifacts, tensors_to_bytes
from zooaudit.suspects.load import call_factory, load_model, put_weights
from zooaudit.zoo.arch import build_architecture
from zooaudit.zoo.build import BuiltModel, ModelRecord
from zooaudit.zoo.int8 import int8_skeleton
from zooaudit.zoo.spec import ModelSpec
from zooaudit.zoo.start import begun

KIND = "model"
WEIGHTS = "weights.safetensors"
EXPORTED = "module.pt2"
TRAINING_LOG = "training.log"


@dataclass(frozen=True)
class OwnModel:
    """The user's own victim as a file: safetensors with the factory that builds the module, or .pt2 without one."""

    path: Path
    factory: str | None
    image_shape: tuple[int, int, int]
    num_classes: int
    training: OwnTraining | None = None
    """What it was trained by, for its twins; no part of its id."""

    def load(self) -> nn.Module:
        if self.path.suffix == ".onnx":
            raise ModelError(f"{self.path} is an ONNX graph, which has no gradients to craft a UAP with; expected .safetensors or .pt2")
        return load_model(self.path, self.factory, self.image_shape, self.num_classes)

    @property
    def id(self) -> str:
        """Derived from the file's content and the factory's name."""
        if not self.path.is_file():
            raise ModelError(f"{self.path} does not exist; expected a .safetensors or .pt2 file")
        sha = hashlib.sha256(self.path.read_bytes() + str(self.factory).encode()).hexdigest()[:16]
        return f"victim-own-{sha}"


def save_built(artifacts: Artifacts, built: BuiltModel) -> None:
    """Commit a finished model of the zoo; with the log of the owner's own training procedure, if that trained it."""
    meta = {"spec": built.spec.to_json(), "record": built.record.to_json()}
    log = {TRAINING_LOG: built.log} if built.log else {}
    artifacts.save(KIND, built.spec.id, {WEIGHTS: tensors_to_bytes(built.weights)} | log, meta)


def save_own(artifacts: Artifacts, own: OwnModel, record: ModelRecord) -> None:
    """Commit the user's own victim, so that workers anywhere can ask it."""
    name = EXPORTED if own.path.suffix == ".pt2" else WEIGHTS
    meta = {
        "factory": own.factory,
        "image_shape": list(own.image_shape),
        "num_classes": own.num_classes,
        "record": record.to_json(),
    }
    artifacts.save(KIND, own.id, {name: own.path.read_bytes()}, meta)


def load_record(artifacts: Artifacts, id_: str) -> ModelRecord:
    """What is known of a stored model."""
    return ModelRecord.from_json(artifacts.load(KIND, id_).meta["record"])


def load_module(artifacts: Artifacts, id_: str) -> nn.Module:
    """A stored model on the CPU, in evaluation mode, its weights checked by name, shape, type and digest.

    Raises:
        MissingArtifactError, DamagedArtifactError: see :class:`~zooaudit.storage.artifacts.Artifacts`.
        ModelError: the user's factory no longer builds the model that the weights belong to.
    """
    artifact = artifacts.load(KIND, id_)
    if "spec" not in artifact.meta:
        return _load_own(artifact)
    spec = ModelSpec.from_json(artifact.meta["spec"])
    if spec.version != ModelSpec.version:
        raise ModelError(f"{id_} was built by version {spec.version} of the networks; this is version {ModelSpec.version}: audit again")
    module = skeleton(spec)
    try:
        put_weights(module, artifact.tensors(WEIGHTS), f"{KIND} {id_}")
    except ModelError as error:
        raise DamagedArtifactError(str(error)) from error
    return module.eval().requires_grad_(False)


def skeleton(spec: ModelSpec) -> nn.Module:
    """A module of the kind that ``spec`` names, with any weights; the owner's own code builds that of his own procedure."""
    if spec.own_training is not None:
        return call_factory(spec.own_training.factory)
    module = begun(spec.start.factory, spec.shape.num_classes) if spec.start else build_architecture(spec.architecture, spec.shape)
    if spec.modification is not None and spec.modification.kind == "int8":
        return int8_skeleton(module)
    return module.to(memory_format=torch.channels_last)  # answers in a quarter of the time


def _load_own(artifact: Artifact) -> nn.Module:
    name = next((n for n in (WEIGHTS, EXPORTED) if n in artifact.files), None)
    if name is None:  # a name out of somebody else's manifest must never become a path here
        raise DamagedArtifactError(f"{KIND} {artifact.id} holds neither {WEIGHTS} nor {EXPORTED}")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / name
        path.write_bytes(artifact.read(name))
        meta = artifact.meta
        return load_model(path, meta["factory"], tuple(meta["image_shape"]), meta["num_classes"])
