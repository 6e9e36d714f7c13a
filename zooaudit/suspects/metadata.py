"""Apply a v2 model's metadata before it is asked: datatype, shape, names, largest batch. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from zooaudit.errors import ConfigError
from zooaudit.suspects.metadata_reply import Model, TensorInfo, record
from zooaudit.suspects.pictures import LAYOUTS, NUMBERS, Layout, is_whole
from zooaudit.suspects.tensors import USUAL, Shaped
from zooaudit.suspects.transport import Takes
from zooaudit.suspects.wire import Wire

BINARY = ("FP16", "BF16")
"""Types that some servers accept only in the binary form."""


@dataclass(frozen=True)
class Fitted:
    """How a suspect is asked, by its description and its metadata; ``binary``: with tensors in the binary
    form, over HTTP."""

    wire: Wire
    shaped: Shaped
    takes: Takes
    binary: bool


def fitted(
    wire: Wire, stated: frozenset[str], model: Model, image: tuple[int, int, int], columns: int
) -> Fitted:
    """Combine the user's description with the model's metadata.

    Args:
        stated: settings that the description contains.
        image: (channels, height, width) of the questions.
        columns: how many numbers an answer should have.

    Raises:
        ConfigError: the two contradict each other; the message names the setting that resolves it.
    """
    chosen = _input(wire, model.inputs, image)
    shaped, batch = _shaped(wire, stated, chosen, image, model.most == 0)
    output = _output(wire, model.outputs, columns)
    exact = batch if batch > 1 else 0
    most = 1 if not shaped.batched or batch == 1 else exact or (model.most or 0)
    whole = output.shape[1:] if output and output.shape and shaped.batched else ()
    count = (
        math.prod(whole)
        if whole and all(d > 0 for d in whole) and output and output.datatype in NUMBERS
        else 0
    )
    notes = tuple(_notes(wire, shaped, model, chosen, output, most))
    named = replace(wire, input=chosen.name, output=output.name if output else wire.output)
    seen = record(shaped, model, chosen, output) if model.inputs else ()
    return Fitted(
        named,
        shaped,
        Takes(most, exact, count if count > 1 else 0, notes, seen),
        _binary(wire, model, shaped),
    )


def _input(wire: Wire, inputs: Sequence[TensorInfo], image: tuple[int, int, int]) -> TensorInfo:
    if not inputs:
        return TensorInfo(wire.input or "input")
    there = ", ".join(map(str, inputs))
    if wire.input:
        found = [t for t in inputs if t.name == wire.input]
        if not found:
            raise ConfigError(
                f"input is {wire.input!r}, but the model has the inputs {there}; give one of them: input ="
                f" {inputs[0].name!r}"
            )
        return found[0]
    fitting = (
        inputs
        if len(inputs) == 1
        else [t for t in inputs if t.shape is None or _fits(t.shape, image) or t.datatype == "BYTES"]
    )
    if len(fitting) != 1:
        raise ConfigError(
            f"the model has the inputs {there}; state which takes the images: input ="
            f" {(fitting or inputs)[0].name!r}"
        )
    return fitting[0]


def _output(wire: Wire, outputs: Sequence[TensorInfo], columns: int) -> TensorInfo | None:
    if not outputs:
        return None
    there = ", ".join(map(str, outputs))
    if wire.output:
        found = [t for t in outputs if t.name == wire.output]
        if not found:
            raise ConfigError(
                f"output is {wire.output!r}, but the model has the outputs {there}; give one: output ="
                f" {outputs[0].name!r}"
            )
        return found[0]
    fitting = (
        outputs
        if len(outputs) == 1
        else [t for t in outputs if t.shape and t.shape[-1] == columns and t.datatype in NUMBERS]
    )
    if len(fitting) != 1:
        raise ConfigError(
            f"the model has the outputs {there}; state which gives the classes: output ="
            f" {(fitting or outputs)[0].name!r}"
        )
    return fitting[0]


def _dims(image: tuple[int, int, int]) -> list[tuple[Layout, tuple[int, ...]]]:
    c, h, w = image
    grey: list[tuple[Layout, tuple[int, ...]]] = [("nchw", (h, w))] if c == 1 else []
    return [("nchw", (c, h, w)), ("nhwc", (h, w, c)), ("flat", (c * h * w,)), *grey]


def _same(shape: Sequence[int], dims: Sequence[int]) -> bool:
    return len(shape) == len(dims) and all(s in (-1, d) for s, d in zip(shape, dims, strict=True))


def _fits(shape: tuple[int, ...], image: tuple[int, int, int]) -> bool:
    return any(_same(shape[1:], dims) or _same(shape, dims) for _, dims in _dims(image))


def _shaped(
    wire: Wire, stated: frozenset[str], reduced: TensorInfo, image: tuple[int, int, int], bare: bool
) -> tuple[Shaped, int]:
    """The shape of images as input, and the batch if it is fixed (else -1)."""
    datatype = _datatype(wire, reduced)
    if datatype == "BYTES":
        rank = len(reduced.shape or (0,))
        batch = reduced.shape[0] if reduced.shape and rank > 1 else -1
        return Shaped(datatype=datatype, column=rank > 1), batch
    plain = Shaped(wire.layout, _scale(wire, stated, datatype), wire.offset, datatype)
    if reduced.shape is None:
        return plain, -1
    asked = [
        (layout, dims) for layout, dims in _dims(image) if layout == wire.layout or "layout" not in stated
    ]
    asked.sort(key=lambda one: one[0] != wire.layout)
    for layout, dims in asked:
        if _same(reduced.shape[1:], dims):
            return replace(plain, layout=layout, dims=dims), reduced.shape[0]
    for layout, dims in asked:
        if _same(reduced.shape, dims) and (bare or reduced.shape[0] > 0):
            return replace(plain, layout=layout, dims=dims, batched=False), -1
    raise ConfigError(_unfit(wire, stated, reduced, image))


def _unfit(wire: Wire, stated: frozenset[str], reduced: TensorInfo, image: tuple[int, int, int]) -> str:
    found = (
        f"the model's input {reduced} does not take images of {' x '.join(map(str, image))} (channels,"
        " height,"
        " width)"
    )
    other = [
        layout
        for layout, dims in _dims(image)
        if reduced.shape and (_same(reduced.shape[1:], dims) or _same(reduced.shape, dims))
    ]
    if "layout" in stated and other:
        return f"{found} in the layout {wire.layout}; give layout = {other[0]!r}, or leave it out"
    return (
        f"{found} in any of the layouts {', '.join(LAYOUTS)}; resize them to its shape, or give metadata ="
        " false if its metadata is wrong"
    )


def _datatype(wire: Wire, reduced: TensorInfo) -> str:
    if wire.datatype and reduced.datatype and wire.datatype != reduced.datatype:
        raise ConfigError(
            f"datatype is {wire.datatype!r}, but the model's input is {reduced}; give datatype ="
            f" {reduced.datatype!r}, or leave it out"
        )
    datatype = wire.datatype or reduced.datatype or USUAL
    if datatype not in (*NUMBERS, "BYTES"):
        raise ConfigError(
            f"the model's input {reduced} does not take images; state which does: input = ..., or give"
            " datatype ="
            f" {USUAL!r}"
        )
    return datatype


def _scale(wire: Wire, stated: frozenset[str], datatype: str) -> float:
    if not is_whole(datatype) or "scale" in stated:
        if is_whole(datatype) and wire.scale <= 1:
            raise ConfigError(
                f"scale is {wire.scale:g}, but the model takes {datatype}, in which pixels would be 0 or 1;"
                " give scale = 255"
            )
        return wire.scale
    if datatype == "INT8":
        raise ConfigError(
            "the model takes INT8, and its metadata does not say how pixels map to it; give scale and offset,"
            " for example 255 and -128"
        )
    return 255.0


def _binary(wire: Wire, model: Model, shaped: Shaped) -> bool:
    return wire.tensors == "binary" or (not wire.tensors and (model.binary or shaped.datatype in BINARY))


def _notes(
    wire: Wire, shaped: Shaped, model: Model, chosen: TensorInfo, output: TensorInfo | None, most: int
) -> list[str]:
    notes = []
    if shaped.datatype == "BYTES":
        notes.append("images are sent as PNG files (BYTES), over HTTP without the binary form as base64")
    elif shaped.datatype != USUAL:
        notes.append(
            f"pixels are sent as {shaped.datatype}"
            + (f", times {shaped.scale:g}" if shaped.scale != wire.scale else "")
        )
    if shaped.layout != wire.layout:
        notes.append(f"the layout is {shaped.layout}")
    if len(model.inputs) > 1 and not wire.input:
        notes.append(f"the input is {chosen.name!r}")
    if output and len(model.outputs) > 1 and not wire.output:
        notes.append(f"the output is {output.name!r}")
    if most:
        notes.append(f"a request has {most} image{'s' if most > 1 else ''} at most")
    return notes
