"""An ONNX graph as a module that can be asked, through onnxruntime. It has no gradients: it can be a suspect, not a victim."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from zooaudit.errors import ModelError, first_line


class OnnxModule(nn.Module):
    """A graph with one float input ``[n, c, h, w]`` and, among its outputs, one of float ``[n, K]``: the first of K columns counts.

    Args:
        num_classes: K.
        path: of the ``.onnx`` file. Operators of somebody's own are not loaded, since that would run his code.

    Raises:
        ModelError: no onnxruntime, no such graph, or other inputs.
    """

    def __init__(self, path: Path, num_classes: int) -> None:
        super().__init__()
        try:
            import onnxruntime
        except ImportError as error:
            raise ModelError(f"{path} needs onnxruntime: pip install 'zooaudit[onnx]'") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has an exception of its own for each kind of trouble
            raise ModelError(f"{path} is not a readable ONNX graph ({first_line(error)})") from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)":
            found = ", ".join(f"{i.name}: {i.type}" for i in inputs) or "none"
            raise ModelError(f"{path} takes {found}; expected one input, float images in [0, 1]")
        self._input, self._num_classes = inputs[0].name, num_classes

    def forward(self, x: Tensor) -> Tensor:
        outputs = self._session.run(None, {self._input: x.cpu().numpy()})
        floats = [o for o in outputs if isinstance(o, np.ndarray) and o.ndim == 2 and o.dtype.kind == "f"]
        if not floats:
            found = ", ".join(f"{o.dtype} {o.shape}" if isinstance(o, np.ndarray) else type(o).__name__ for o in outputs)
            raise ModelError(f"it gives {found}; expected float [images, classes]")
        fit = [o for o in floats if o.shape[1] == self._num_classes]  # an embedding may come first
        return torch.from_numpy((fit or floats)[0]).float()
