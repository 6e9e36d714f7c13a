"""The kinds of suspects for ``/audits``, described for OpenAPI, and which settings each kind does not use.
The settings themselves are defined by :class:`~zooaudit.suspects.remote.Remote`; one parser reads them here
and in TOML files.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from zooaudit.errors import ConfigError
from zooaudit.suspects.addresses import without_keys
from zooaudit.suspects.pictures import NUMBERS
from zooaudit.suspects.remote import Remote

Texts = dict[str, str]
Datatype = Literal["", "BYTES", *NUMBERS]  # type: ignore[valid-type]


class Asked(BaseModel):
    """Settings of every kind."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    url: Annotated[str, Field(pattern="^https?://")]
    """Of its prediction route, on a host that the service may ask."""
    headers: Texts = Field(default_factory=dict)
    """For every request; the suspect's key goes here. Deleted when the audit has ended."""
    classes: list[str] = Field(default_factory=list)
    """Its names of the kit's classes, in the kit's order. By default the kit's."""
    columns: list[int] = Field(default_factory=list)
    """The column of each of the kit's classes in its lists."""
    label: str = "label"
    score: str = "score"
    """Keys of a class's name and of its score, if answers are objects."""
    batch: Annotated[int, Field(ge=1, le=256)] = 32
    """The most images in a request."""
    largest_request: Annotated[int, Field(ge=1_000, le=32_000_000)] = 4_000_000
    """Bytes."""
    concurrency: Annotated[int, Field(ge=1, le=16)] = 4
    rate: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    """The most images a second; 0 is no limit."""
    retries: Annotated[int, Field(ge=0, le=1_000)] = 8
    timeout_s: Annotated[float, Field(ge=0.01, le=120)] = 30.0
    """Of one request, from the look-up of the name to the last byte of the answer."""
    patience_s: Annotated[float, Field(ge=0.01, le=900)] = 300.0
    """How long one request is retried in all."""


class Pixels(Asked):
    """Settings of kinds that are sent numbers."""

    layout: Literal["nchw", "nhwc", "flat"] = "nchw"
    scale: Annotated[float, Field(gt=0)] = 1.0
    offset: float = 0.0
    """Pixels in [0, 1] are multiplied by ``scale``, then ``offset`` is added."""


class AddressSuspect(Pixels):
    """A suspect whose address implies how it is asked: ``.../infer``, ``...:predict``, ``/predictions/...``,
    or a host of Hugging Face."""


class V2Suspect(Pixels):
    """Open Inference Protocol: KServe, Triton, MLServer, OpenVINO."""

    protocol: Literal["v2"]
    input: str = ""
    output: str = ""
    datatype: Datatype = ""
    tensors: Literal["", "json", "binary"] = ""
    metadata: bool = True
    """Whether its description of itself is used."""


class TensorflowSuspect(Pixels):
    """TensorFlow Serving's REST API, and KServe v1."""

    protocol: Literal["tensorflow"]
    answers: str = ""
    """JMESPath to the list of answers."""


class TorchserveSuspect(Asked):
    """TorchServe: an image as the body."""

    protocol: Literal["torchserve"]
    media: Literal["image/png", "image/jpeg"] = "image/png"
    answers: str = ""


class RawSuspect(Pixels):
    """An image as the body, or a batch of numbers as ``.npy``."""

    protocol: Literal["raw"]
    media: Literal["image/png", "image/jpeg", "application/x-npy"] = "image/png"
    answers: str = ""


class FormSuspect(Asked):
    """A form with files."""

    protocol: Literal["form"]
    media: Literal["image/png", "image/jpeg"] = "image/png"
    form_file: str = "file"
    form: Texts = Field(default_factory=dict)
    """Other fields."""
    form_many: bool = False
    answers: str = ""


class TemplateSuspect(Pixels):
    """Any other API that takes and returns JSON: ``request`` has a placeholder for the images (``$images``,
    ``$pngs``, ``$each``, ...)."""

    protocol: Literal["template"]
    request: Any
    answers: str = ""


KINDS: dict[str, type[Asked]] = {
    "v2": V2Suspect,
    "tensorflow": TensorflowSuspect,
    "torchserve": TorchserveSuspect,
    "raw": RawSuspect,
    "form": FormSuspect,
    "template": TemplateSuspect,
}
Described = Annotated[
    V2Suspect | TensorflowSuspect | TorchserveSuspect | RawSuspect | FormSuspect | TemplateSuspect,
    Field(discriminator="protocol"),
]
Suspect: TypeAdapter[Any] = TypeAdapter(AddressSuspect | Described)


def schema() -> dict[str, Any]:
    """The JSON Schema of a suspect, with definitions under ``$defs``. It has no defaults, since generated
    clients would send them, and settings that are sent must agree with the suspect's description of
    itself."""
    found = Suspect.json_schema(ref_template="#/components/schemas/{model}")
    for kind in found["$defs"].values():
        for setting in kind["properties"].values():
            setting.pop("default", None)
    return found


def refuse_idle(remote: Remote, settings: Mapping[str, Any]) -> None:
    """Raises:
    ConfigError: there are settings that its kind would ignore.
    """
    kind = remote.wire.protocol
    if idle := sorted(set(settings) - set(KINDS[kind].model_fields)):
        raise ConfigError(
            f"{without_keys(remote.url)} is asked by the protocol {kind}, which does not use"
            f" {', '.join(idle)}; remove it"
        )
