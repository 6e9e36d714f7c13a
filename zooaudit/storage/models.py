"""Models as artifacts: weights, spec and record; trained by the zoo, or the user's own."""

import hashlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zooaudit.config import OwnTraining, canonical_json
from zooaudit.errors import DamagedArtifactError, ModelError
from zooaudit.storage.artifact import Artifact
from zooaudit.storage.artifacts import Artifacts
from zooaudit.storage.encoding import tensors_to_bytes
from zooaudit.suspects import files
from zooaudit.suspects.contract import Contract
from zooaudit.suspects.contract_files import contract_of
from zooaudit.suspects.factories import call_factory
from zooaudit.suspects.load import Asked, Loaded, fitted, gradients, load
from zooaudit.suspects.raw import Raw
from zooaudit.suspects.weights import put_weights, read_weights
from zooaudit.zoo.arch import build_architecture
from zooaudit.zoo.build import BuiltModel, ModelRecord
from zooaudit.zoo.int8 import int8_skeleton
from zooaudit.zoo.spec import ModelSpec
from zooaudit.zoo.start import unlearnt

KIND = "model"
WEIGHTS = "weights.safetensors"
EXPORTED = "module.pt2"
TRAINING_LOG = "training.log"
OF_VICTIMS = (".safetensors", ".pt2", ".safetensors.index.json")
"""Endings of victims' files that are stored unchanged."""


@dataclass(frozen=True)
class OwnModel:
    """The user's own victim: safetensors with the factory that builds the module, a .pt2 file, or a folder of
    transformers' or timm's."""

    path: Path
    factory: str | None
    image_shape: tuple[int, int, int]
    num_classes: int
    training: OwnTraining | None = None
    """What trained it, for its twins; not part of its id."""
    contract: Contract = field(default_factory=Contract)
    """Its contract as stated."""
    classes: tuple[str, ...] = ()
    """Names of the data's classes, which the contract may refer to."""

    def load(self) -> nn.Module:
        return self.loaded().module

    def loaded(self) -> Loaded:
        """The victim behind its contract, and what was inferred of that.

        Raises:
            ModelError: the victim cannot be loaded, or has no gradients.
        """
        if not self.path.is_dir() and not self.path.name.endswith(OF_VICTIMS):
            what = "an ONNX graph" if self.path.suffix == ".onnx" else "of another kind"
            raise ModelError(
                f"{self.path} is {what}, which has no gradients to craft a UAP with; expected .safetensors or"
                " .pt2, or a folder"
            )
        loaded = load(self.path, self.factory, self.asked)
        if -1 in self.contract.classes.columns or self.contract.classes.missing:
            raise ModelError(f"{self.path} lacks some of the data's classes; a victim has all of them")
        gradients(loaded.module, self.image_shape, str(self.path))
        return loaded

    @property
    def asked(self) -> Asked:
        """What the victim will be asked."""
        return _asked(self.image_shape, self.classes, self.num_classes, self.contract)

    @property
    def id(self) -> str:
        """Derived from the content of its files and the factory's name, and from its contract unless that is
        empty."""
        if not self.path.exists():
            raise ModelError(f"{self.path} does not exist; expected a .safetensors or .pt2 file, or a folder")
        parts = files.files_of(self.path)
        if parts == (self.path,) and self.contract == Contract():
            sha = hashlib.sha256(self.path.read_bytes() + str(self.factory).encode()).hexdigest()[:16]
        else:
            about = [files.digest(parts), self.factory, self.contract.to_json()]
            sha = hashlib.sha256(canonical_json(about).encode()).hexdigest()[:16]
        return f"victim-own-{sha}"

    def content(self) -> dict[str, bytes]:
        """Its files as they are stored; sharded weights become one file."""
        if self.path.is_dir():
            settings = {
                name: (self.path / name).read_bytes()
                for name in files.SETTINGS
                if (self.path / name).is_file()
            }
            return settings | {WEIGHTS: _one(files.weights_in(self.path)[0])}
        return (
            {EXPORTED: self.path.read_bytes()} if self.path.suffix == ".pt2" else {WEIGHTS: _one(self.path)}
        )

    def about(self) -> dict[str, Any]:
        """The contract's part of its metadata; empty without one."""
        if self.contract == Contract() and not self.path.is_dir():
            return {}
        return {
            "contract": self.contract.to_json(),
            "classes": list(self.classes),
            "seen": list(self.loaded().notes),
        }


def _one(weights: Path) -> bytes:
    return (
        tensors_to_bytes(read_weights(weights))
        if weights.name.endswith(files.INDEX)
        else weights.read_bytes()
    )


def _asked(
    image_shape: tuple[int, int, int], classes: tuple[str, ...], num_classes: int, contract: Contract
) -> Asked:
    return Asked(image_shape, classes or tuple(map(str, range(num_classes))), contract)


def save_built(artifacts: Artifacts, built: BuiltModel, absent: bool = False) -> None:
    """Store a finished model of the zoo, with the log of the owner's own training procedure if that trained
    it.

    ``absent``: see :meth:`~zooaudit.storage.artifacts.Artifacts.save`.
    """
    meta = {"spec": built.spec.to_json(), "record": built.record.to_json()}
    log = {TRAINING_LOG: built.log} if built.log else {}
    artifacts.save(KIND, built.spec.id, {WEIGHTS: tensors_to_bytes(built.weights)} | log, meta, absent)


def save_own(artifacts: Artifacts, own: OwnModel, record: ModelRecord) -> None:
    """Store the user's own victim, so that workers anywhere can ask it."""
    meta = {
        "factory": own.factory,
        "image_shape": list(own.image_shape),
        "num_classes": own.num_classes,
        "record": record.to_json(),
    } | own.about()
    artifacts.save(KIND, own.id, own.content(), meta)


def load_record(artifacts: Artifacts, id_: str) -> ModelRecord:
    """The record of a stored model."""
    return record_of(artifacts.load(KIND, id_))


def load_module(artifacts: Artifacts, id_: str) -> nn.Module:
    """A stored model: see :func:`module_of`."""
    return module_of(artifacts.load(KIND, id_))


def record_of(artifact: Artifact) -> ModelRecord:
    """The record of a model."""
    return ModelRecord.from_json(artifact.meta["record"])


def module_of(artifact: Artifact) -> nn.Module:
    """A model on the CPU, in evaluation mode, with its weights checked by name, shape, type and digest.

    Raises:
        MissingArtifactError, DamagedArtifactError: see :class:`~zooaudit.storage.artifacts.Artifacts`.
        ModelError: the user's factory no longer builds the module that the weights belong to.
    """
    id_ = artifact.id
    if "spec" not in artifact.meta:
        return _load_own(artifact)
    spec = ModelSpec.from_json(artifact.meta["spec"])
    if spec.version != ModelSpec.version:
        raise ModelError(
            f"{id_} was built by version {spec.version} of the networks; this is version {ModelSpec.version}:"
            " audit again"
        )
    weights = artifact.tensors(WEIGHTS)
    module = skeleton(spec, weights)
    try:
        put_weights(module, weights, f"{KIND} {id_}")
    except ModelError as error:
        raise DamagedArtifactError(str(error)) from error
    if spec.own_training is not None:
        return behind(module, spec.own_training, spec.shape.image, spec.shape.num_classes, id_)
    return module.eval().requires_grad_(False)


def behind(
    module: nn.Module, own: OwnTraining, image_shape: tuple[int, int, int], num_classes: int, name: str
) -> nn.Module:
    """A twin of the owner's own procedure behind its victim's contract."""
    return fitted(Raw(module), _asked(image_shape, (), num_classes, contract_of(own.given)), name).module


def skeleton(spec: ModelSpec, weights: dict[str, Tensor]) -> nn.Module:
    """A module of the kind in ``spec`` for these weights; for the owner's own procedure, the owner's code
    builds it."""
    if spec.own_training is not None:
        return call_factory(spec.own_training.factory, weights)
    module = (
        unlearnt(spec.start, spec.shape.num_classes)
        if spec.start
        else build_architecture(spec.architecture, spec.shape)
    )
    if spec.modification is not None and spec.modification.kind == "int8":
        return int8_skeleton(module)
    return module.to(memory_format=torch.channels_last)  # answers in a quarter of the time


def _load_own(artifact: Artifact) -> nn.Module:
    name = next((n for n in (WEIGHTS, EXPORTED) if n in artifact.files), None)
    if name is None:  # a name from a stranger's manifest must never become a path here
        raise DamagedArtifactError(f"{KIND} {artifact.id} holds neither {WEIGHTS} nor {EXPORTED}")
    settings = [n for n in files.SETTINGS if n in artifact.files]
    meta = artifact.meta
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / ("model.safetensors" if settings else name)
        path.write_bytes(artifact.read(name))
        for setting in settings:
            (path.parent / setting).write_bytes(artifact.read(setting))
        contract = contract_of(meta.get("contract", {}), f"{KIND} {artifact.id}")
        asked = _asked(
            tuple(meta["image_shape"]), tuple(meta.get("classes", ())), meta["num_classes"], contract
        )
        return load(path.parent if settings else path, meta["factory"], asked).module
