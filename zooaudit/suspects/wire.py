"""Images to request bodies, and response bodies to answers, for the prediction APIs that suspects have.

Pure: bytes in, bytes out. ``v2`` is the Open Inference Protocol (KServe, Triton, MLServer, OpenVINO),
``tensorflow`` TensorFlow Serving's REST API, ``torchserve`` TorchServe's, ``raw`` one image as the body,
``form`` a form with files, ``template`` anything else that takes and gives JSON.
"""

import json
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from jmespath.exceptions import JMESPathError
from torch import Tensor

from zooaudit.config import check
from zooaudit.errors import AnswersError, ConfigError
from zooaudit.suspects.paths import check_path, found_by
from zooaudit.suspects.pictures import (
    JPEG,
    LAYOUTS,
    MEDIA,
    NPY,
    NUMBERS,
    PNG,
    Layout,
    jpeg,
    npy,
    numbers,
    png,
)
from zooaudit.suspects.templates import MANY, MOST_CHARACTERS, SINGLE, check_template, filled, placeholders
from zooaudit.suspects.transport import Message

Protocol = Literal["v2", "tensorflow", "torchserve", "raw", "form", "template"]
PROTOCOLS: tuple[Protocol, ...] = ("v2", "tensorflow", "torchserve", "raw", "form", "template")
FILES = ("torchserve", "raw")
"""Protocols whose body is the image itself."""
JSON = "application/json"
USUAL_ANSWERS = {"tensorflow": "predictions || outputs", "template": "predictions"}
MOST_FIELDS = 64
"""Limits of a form."""
LATER = ("datatype", "offset", "tensors", "metadata", "media", "form_file", "form", "form_many")
"""Settings that are newer than ledgers: they are part of a ledger's name only if they are used."""


@dataclass(frozen=True)
class Wire:
    """How one suspect is asked.

    Attributes:
        layout: of an image's numbers: channels first, channels last, or one row.
        scale, offset: pixels are multiplied by the first, then the second is added: 1 and 0 give values in
            [0, 1], 255 and 0 in [0, 255].
        input, output: names of tensors (``v2``); "" is the only or first one.
        datatype: of the input (``v2``); "" is the type in its metadata, or FP32.
        tensors: ``json`` or ``binary`` (``v2`` over HTTP); "" is binary if the server announces it, or the
            type needs it.
        metadata: whether a ``v2`` model's description of itself is used.
        request: JSON with placeholders (``template``).
        answers: JMESPath to the list of answers, one for each image; unused by ``v2``.
        media: of an image (``raw``, ``torchserve``, ``form``): PNG, JPEG, or a batch of numbers as ``.npy``.
        form_file: the field of a form that takes the images.
        form: other fields of the form.
        form_many: whether a form takes many images, each in a field of that name.

    Raises:
        ConfigError: a value is out of range, or a template has no place for images.
    """

    protocol: Protocol = "v2"
    layout: Layout = "nchw"
    scale: float = 1.0
    input: str = ""
    output: str = ""
    request: Any = field(default_factory=lambda: {"instances": "$images"})
    answers: str = ""
    datatype: str = ""
    offset: float = 0.0
    tensors: str = ""
    metadata: bool = True
    media: str = PNG
    form_file: str = "file"
    form: Mapping[str, str] = field(default_factory=dict)
    form_many: bool = False

    def __post_init__(self) -> None:
        check(self.protocol in PROTOCOLS, self, "protocol", f"one of {', '.join(PROTOCOLS)}")
        check(self.layout in LAYOUTS, self, "layout", f"one of {', '.join(LAYOUTS)}")
        check(
            isinstance(self.scale, int | float) and math.isfinite(self.scale) and self.scale > 0,
            self,
            "scale",
            "a positive number",
        )
        check(isinstance(self.offset, int | float) and math.isfinite(self.offset), self, "offset", "a number")
        check(
            self.datatype in ("", *NUMBERS, "BYTES"), self, "datatype", f"one of {', '.join(NUMBERS)}, BYTES"
        )
        check(self.tensors in ("", "json", "binary"), self, "tensors", "json or binary")
        check(
            self.media in MEDIA and (self.media != NPY or self.protocol == "raw"),
            self,
            "media",
            f"{PNG}, {JPEG}, or for raw {NPY}",
        )
        check_template(self.request)
        if self.protocol == "template" and not placeholders(self.request):
            raise ConfigError(
                f"the request template has no place for images; expected one of {', '.join((*MANY, *SINGLE))}"
                " in it"
            )
        check_path(self.answers)
        if (
            len(self.form) > MOST_FIELDS
            or sum(len(n) + len(t) for n, t in self.form.items()) > MOST_CHARACTERS
        ):
            raise ConfigError(
                f"the form has {len(self.form)} fields; expected {MOST_FIELDS} and {MOST_CHARACTERS:,}"
                " characters at most"
            )
        if not all(
            n and (n + t).isprintable() and '"' not in n
            for n, t in ({self.form_file: ""} | dict(self.form)).items()
        ):
            raise ConfigError(
                "the form has a name or a text that a form cannot have; expected names without quotes, and"
                " printable texts"
            )

    @property
    def one_by_one(self) -> bool:
        """Whether a request holds a single image."""
        if self.protocol == "template":
            return bool(placeholders(self.request) & set(SINGLE))
        return (self.protocol in FILES and self.media != NPY) or (
            self.protocol == "form" and not self.form_many
        )

    def message(self, images: Tensor) -> Message:
        """The request for float images ``[n, c, h, w]`` in [0, 1]; for ``v2`` see ``tensors.py``."""
        if self.protocol in FILES:
            return Message(
                self.media, npy(self._numbers(images)) if self.media == NPY else self._file(images[0])
            )
        if self.protocol == "form":
            return self._form([self._file(image) for image in images])
        template = {"instances": "$images"} if self.protocol == "tensorflow" else self.request
        return Message(JSON, json.dumps(filled(template, images, self._numbers)).encode())

    def _numbers(self, images: Tensor) -> Any:
        return numbers(images, self.layout, self.scale, self.offset)

    def _file(self, image: Tensor) -> bytes:
        return jpeg(image) if self.media == JPEG else png(image)

    def _form(self, files: list[bytes]) -> Message:
        """Encode as ``multipart/form-data``, RFC 7578."""
        border = secrets.token_hex(16)
        ending = self.media.removeprefix("image/")
        parts = [f'"{name}"\r\n\r\n'.encode() + text.encode() for name, text in self.form.items()]
        for number, file in enumerate(files):
            named = f'"{self.form_file}"; filename="{number}.{ending}"\r\nContent-Type: {self.media}\r\n\r\n'
            parts.append(named.encode() + file)
        start = f"--{border}\r\nContent-Disposition: form-data; name=".encode()
        body = b"".join(start + part + b"\r\n" for part in parts) + f"--{border}--\r\n".encode()
        return Message(f"multipart/form-data; boundary={border}", body)

    def read(self, text: str, count: int) -> list[Any]:
        """The answers in a response, one for each image, in whatever form; for ``v2`` see ``tensors.py``.

        Raises:
            AnswersError: not JSON, or not ``count`` answers.
        """
        result = json_of(text)
        try:
            path = self.answers or USUAL_ANSWERS.get(self.protocol, "")
            found = found_by(path, result) if path else result
        except AnswersError:
            raise
        except (ValueError, TypeError, RecursionError, JMESPathError) as error:
            raise AnswersError.of(
                f"{text[:80]!r}, which cannot be read ({str(error)[:80]})", "a JSON response"
            ) from error
        if self.one_by_one and not (
            isinstance(found, list) and len(found) == 1 and isinstance(found[0], list | dict | str)
        ):
            found = [found]
        if not isinstance(found, list) or len(found) != count:
            what = f"{len(found)} answers" if isinstance(found, list) else "no list of answers"
            raise AnswersError.of(f"{what} in {str(result)[:120]}", f"{count}, one for each image")
        return found


def json_of(text: str) -> Any:
    """A response's JSON. NaN and infinite numbers are read here, and refused as answers.

    Raises:
        AnswersError: not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AnswersError.of(
            f"{text[:80]!r}, which cannot be read ({str(error)[:80]})", "a JSON response"
        ) from error
