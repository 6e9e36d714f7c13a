"""Read an API's description of its model."""

from dataclasses import dataclass
from typing import Any

from zooaudit.suspects.tensors import Shaped

LONGEST = 64
"""How many tensors are read, and how many dimensions of one."""
RECORDED = 500
"""How many characters of the description are kept."""


@dataclass(frozen=True)
class TensorInfo:
    """A tensor as the model describes it; "" and None for what is left out."""

    name: str
    datatype: str = ""
    shape: tuple[int, ...] | None = None

    def __str__(self) -> str:
        return f"{self.name!r} {self.datatype} {list(self.shape or ())}"


@dataclass(frozen=True)
class Model:
    """A model as it describes itself.

    Attributes:
        most: largest batch; None if unknown, 0 if the model does not batch.
        binary: whether it takes the binary form over HTTP.
    """

    inputs: tuple[TensorInfo, ...] = ()
    outputs: tuple[TensorInfo, ...] = ()
    most: int | None = None
    binary: bool = False


def model_of(metadata: Any, config: Any = None, server: Any = None) -> Model:
    """Read a model from arbitrary JSON: its metadata, its configuration (Triton), its server's metadata."""
    metadata, config, server = (v if isinstance(v, dict) else {} for v in (metadata, config, server))
    most, extensions = config.get("max_batch_size"), server.get("extensions")
    return Model(
        _tensors(metadata.get("inputs")),
        _tensors(metadata.get("outputs")),
        most if isinstance(most, int) and not isinstance(most, bool) and most >= 0 else None,
        isinstance(extensions, list) and "binary_tensor_data" in extensions,
    )


def _tensors(found: Any) -> tuple[TensorInfo, ...]:
    return (
        tuple(_tensor(t) for t in found[:LONGEST] if isinstance(t, dict) and isinstance(t.get("name"), str))
        if isinstance(found, list)
        else ()
    )


def _tensor(tensor: dict[str, Any]) -> TensorInfo:
    kind, shape = tensor.get("datatype"), tensor.get("shape")
    whole = (
        isinstance(shape, list)
        and 0 < len(shape) <= LONGEST
        and all(isinstance(s, int) and not isinstance(s, bool) for s in shape)
    )
    return TensorInfo(
        tensor["name"], kind if isinstance(kind, str) else "", tuple(shape) if whole and shape else None
    )


def record(shaped: Shaped, model: Model, chosen: TensorInfo, output: TensorInfo | None) -> tuple[str, ...]:
    """The tensors in use as described, and how pixels are sent: the settings that the answers depend on."""
    rows = [
        f"input {chosen}",
        f"output {output}" if output else "",
        f"max_batch_size {model.most}" if model.most is not None else "",
    ]
    pixels = (
        f"pixels go as {shaped.datatype}, times {shaped.scale:g}, plus {shaped.offset:g}, layout"
        f" {shaped.layout}"
    )
    files = "images go as PNG files (BYTES)"
    return (
        "metadata: " + _printable("; ".join(filter(None, rows))),
        files if shaped.datatype == "BYTES" else pixels,
    )


def _printable(text: str) -> str:
    """A stranger's text on one line, cut to the length that a record needs."""
    return "".join(c if c.isprintable() else "?" for c in text)[:RECORDED]
