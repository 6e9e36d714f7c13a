"""An ONNX graph as a module that can be asked, through onnxruntime. It has no gradients, so it can be a
suspect but not a victim."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zooaudit.errors import ModelError, first_line
from zooaudit.extras import needs
from zooaudit.suspects.described_input import Described

TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
}


class OnnxModule(nn.Module):
    """A graph with one input, which returns its outputs by name. Custom operators are not loaded, since that
    would run their author's code.

    Args:
        path: of the ``.onnx`` file.
        input_name: the input that takes the images, if the graph has several.
        columns: names of the columns, for graphs that return an object of names and scores for each image.

    Raises:
        ModelError: no onnxruntime, not an ONNX graph, or unsuitable inputs.
    """

    def __init__(self, path: Path, input_name: str = "", columns: tuple[str, ...] = ()) -> None:
        super().__init__()
        with needs("onnx", str(path), ModelError):
            import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has many exception types
            raise ModelError(f"{path} is not a readable ONNX graph ({first_line(error)})") from error
        found = _input(self._session.get_inputs(), input_name, path)
        self._columns = columns
        shape = tuple(d if isinstance(d, int) and d > 0 else None for d in found.shape)
        self.described = Described(shape, TYPES.get(found.type, found.type), found.name)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Every output that is a tensor or a list of names with scores, by name."""
        outputs = self._session.run(None, {self.described.name: x.cpu().numpy()})
        names = [o.name for o in self._session.get_outputs()]
        found = {name: self._tensor(value) for name, value in zip(names, outputs, strict=True)}
        return {name: value for name, value in found.items() if value is not None}

    def _tensor(self, value: Any) -> Tensor | None:
        if isinstance(value, np.ndarray):
            return torch.from_numpy(np.ascontiguousarray(value)) if value.dtype.kind in "fiu" else None
        if isinstance(value, list) and value and all(isinstance(row, dict) and row for row in value):
            return self._scores(value)
        return None

    def _scores(self, rows: list[dict[Any, float]]) -> Tensor | None:
        """A list of names and scores, as from scikit-learn's converters, in the order of the names or of the
        classes' numbers."""
        keys = set(rows[0])
        if any(set(row) != keys for row in rows):
            return None
        if all(isinstance(key, int) for key in keys):
            order: list[Any] = sorted(keys)
        else:
            order = [name for name in self._columns if name in keys]
        return (
            torch.tensor([[float(row[key]) for key in order] for row in rows])
            if len(order) == len(keys)
            else None
        )


def _input(inputs: Any, name: str, path: Path) -> Any:
    text = ", ".join(f"{i.name}: {i.type} {list(i.shape)}" for i in inputs) or "none"
    if name and name not in [i.name for i in inputs]:
        raise ModelError(f"{path} takes {text}; expected an input named {name!r}, as input.name says")
    if len(inputs) != 1:
        why = "the others would have no value" if name else "it is unknown what the others take"
        raise ModelError(
            f"{path} takes {text}; expected one input, images ({why}): export it with constants in place of"
            " the others"
        )
    return inputs[0]
