"""How images become the body of a request, and the body of a response answers: the prediction APIs that suspects speak.

Pure: bytes in, bytes out. ``v2`` is the Open Inference Protocol (KServe, Triton, MLServer, OpenVINO), ``tensorflow`` TensorFlow Serving's
REST API, ``torchserve`` TorchServe's, ``template`` anything else that takes and gives JSON.
"""

import base64
import io
import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal

import jmespath
import numpy as np
from jmespath.exceptions import JMESPathError
from PIL import Image
from torch import Tensor

from zooaudit.config import check
from zooaudit.errors import AnswersError, ConfigError

Protocol = Literal["v2", "tensorflow", "torchserve", "template"]
Layout = Literal["nchw", "nhwc", "flat"]
PROTOCOLS: tuple[Protocol, ...] = ("v2", "tensorflow", "torchserve", "template")
LAYOUTS: tuple[Layout, ...] = ("nchw", "nhwc", "flat")
JSON, PNG = "application/json", "image/png"
SINGLE, MANY = ("$image", "$png"), ("$images", "$pngs")
"""Stand in a template for one image and for all of a request: numbers in the layout, or PNG as base64."""
USUAL_ANSWERS = {"tensorflow": "predictions || outputs", "template": "predictions"}


@dataclass(frozen=True)
class Wire:
    """One suspect's way of being asked.

    Attributes:
        layout: of an image's numbers: channels first, channels last, or one row.
        scale: pixels are multiplied by it: 1 gives values in [0, 1], 255 in [0, 255].
        input, output: names of tensors (``v2``); an empty one is the only or first there is.
        request: JSON with placeholders (``template``).
        answers: JMESPath to the list of answers, one an image (``tensorflow``, ``template``).

    Raises:
        ConfigError: a value out of range, or a template without images.
    """

    protocol: Protocol = "v2"
    layout: Layout = "nchw"
    scale: float = 1.0
    input: str = ""
    output: str = ""
    request: Any = field(default_factory=lambda: {"instances": "$images"})
    answers: str = ""

    def __post_init__(self) -> None:
        check(self.protocol in PROTOCOLS, self, "protocol", f"one of {', '.join(PROTOCOLS)}")
        check(self.layout in LAYOUTS, self, "layout", f"one of {', '.join(LAYOUTS)}")
        check(isinstance(self.scale, int | float) and math.isfinite(self.scale) and self.scale > 0, self, "scale", "a positive number")
        if self.protocol == "template" and not self._placeholders(self.request):
            raise ConfigError(f"the request template has no place for images; expected one of {', '.join((*MANY, *SINGLE))} in it")
        try:
            json.dumps(self.request, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"the request template is no JSON ({error})") from error
        try:
            jmespath.compile(self.answers or "@")
        except JMESPathError as error:
            raise ConfigError(f"answers is {self.answers!r}, which is no JMESPath: {str(error).splitlines()[0]}") from error

    @property
    def one_by_one(self) -> bool:
        """Whether a request holds a single image."""
        return self.protocol == "torchserve" or (self.protocol == "template" and bool(self._placeholders(self.request) & set(SINGLE)))

    def body(self, images: Tensor) -> tuple[str, bytes]:
        """Media type and body of a request for float images ``[n, c, h, w]`` in [0, 1]."""
        if self.protocol == "torchserve":
            return PNG, png(images[0])
        return JSON, json.dumps(self._json(images)).encode()

    def _json(self, images: Tensor) -> Any:
        if self.protocol == "v2":
            numbers = self._numbers(images)
            tensor = {"name": self.input or "input", "shape": list(numbers.shape), "datatype": "FP32", "data": numbers.ravel().tolist()}
            wanted = {"outputs": [{"name": self.output}]} if self.output else {}
            return {"inputs": [tensor], **wanted}
        return self._filled({"instances": "$images"} if self.protocol == "tensorflow" else self.request, images)

    def _numbers(self, images: Tensor) -> np.ndarray:
        scaled = (images * self.scale).cpu().numpy().astype(np.float32)
        if self.layout == "nhwc":
            return scaled.transpose(0, 2, 3, 1)
        return scaled.reshape(len(scaled), -1) if self.layout == "flat" else scaled

    def _filled(self, template: Any, images: Tensor) -> Any:
        if isinstance(template, dict):
            return {k: self._filled(v, images) for k, v in template.items()}
        if isinstance(template, list):
            return [self._filled(v, images) for v in template]
        if template in MANY or template in SINGLE:
            as_png = template in ("$png", "$pngs")
            all_ = [base64.b64encode(png(i)).decode() for i in images] if as_png else self._numbers(images).tolist()
            return all_[0] if template in SINGLE else all_
        return template

    def _placeholders(self, template: Any) -> set[str]:
        inner = template.values() if isinstance(template, dict) else template if isinstance(template, list) else ()
        found = {template} if isinstance(template, str) and template in (*MANY, *SINGLE) else set()
        return found.union(*(self._placeholders(v) for v in inner))

    def read(self, body: bytes, count: int) -> list[Any]:
        """The answers in a response, one an image, in whatever form.

        Raises:
            AnswersError: no JSON, or not ``count`` answers.
        """
        try:
            told = json.loads(body)
            found = self._v2(told, count) if self.protocol == "v2" else self._found(told)
        except AnswersError:
            raise
        except (ValueError, TypeError, RecursionError, OverflowError, JMESPathError) as error:
            raise AnswersError.of(f"{body[:80]!r}, which cannot be read ({str(error)[:80]})", "a JSON response") from error
        if self.one_by_one and not (isinstance(found, list) and len(found) == 1 and isinstance(found[0], list | dict | str)):
            found = [found]
        if not isinstance(found, list) or len(found) != count:
            what = f"{len(found)} answers" if isinstance(found, list) else "no list of answers"
            raise AnswersError.of(f"{what} in {str(told)[:120]}", f"{count}, one an image")
        return found

    def _found(self, told: Any) -> Any:
        path = self.answers or USUAL_ANSWERS.get(self.protocol, "")
        return jmespath.search(path, told) if path else told

    def _v2(self, told: Any, count: int) -> Any:
        outputs = told.get("outputs") if isinstance(told, dict) else None
        named = [
            o
            for o in (outputs if isinstance(outputs, list) else [])
            if isinstance(o, dict) and (not self.output or o.get("name") == self.output)
        ]
        if not named or not isinstance(named[0].get("data"), list):
            raise AnswersError.of(str(told)[:120], f"an output{f' named {self.output!r}' if self.output else ''} with its data")
        data = np.array(named[0]["data"], dtype=object).ravel()
        each = len(data) // count if count and len(data) % count == 0 else 0
        if each == 0:
            raise AnswersError.of(f"{len(data)} values for {count} images", "as many for each image")
        return data.tolist() if each == 1 else data.reshape(count, each).tolist()


def png(image: Tensor) -> bytes:
    """Float ``[c, h, w]`` in [0, 1] as a PNG of 8 bits a channel: what is no multiple of 1 / 255 is rounded."""
    pixels = (image * 255).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
    packed = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(packed, "PNG")
    return packed.getvalue()
