"""Models as ONNX files."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from tests.support.makers import Affine
from zooaudit.suspects.contract_files import contract_of
from zooaudit.suspects.load import Asked, Loaded, load


def export_onnx(module: torch.nn.Module, path: Path) -> Path:
    """A net of the tests as an ONNX graph."""
    torch.onnx.export(
        module,
        (torch.zeros(1, 1, 4, 4),),
        str(path),
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": {0: "n"}, "y": {0: "n"}},
        dynamo=False,
    )
    return path


SHAPE = (1, 4, 4)


def graph(
    path: Path, model: Affine, batch: int | None = None, kind: int = TensorProto.FLOAT, label: bool = False
) -> Path:
    """``model`` as a graph: flatten, then one Gemm; with ``label`` the likeliest class comes first, as of
    scikit-learn's converters."""
    weights = [
        helper.make_tensor(name, TensorProto.FLOAT, list(values.shape), values.detach().numpy().ravel())
        for name, values in (("w", model.linear.weight), ("b", model.linear.bias))
    ]
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["f"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["y"], transB=1),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 4])]
    if label:
        nodes.append(helper.make_node("ArgMax", ["y"], ["label"], axis=1, keepdims=0))
        outputs.insert(0, helper.make_tensor_value_info("label", TensorProto.INT64, [batch]))
    made = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", kind, [batch, *SHAPE])], outputs, weights
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


W_ = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)


def rows(
    weights: np.ndarray, inputs: str = "x0", softmax: bool = True, out: str = "p"
) -> list[onnx.NodeProto]:
    nodes = [
        helper.make_node("Flatten", [inputs], ["flat"]),
        helper.make_node("MatMul", ["flat", "W"], ["logit" if softmax else out]),
    ]
    return nodes + ([helper.make_node("Softmax", ["logit"], [out], axis=1)] if softmax else [])


def stranger(
    path: Path,
    shape: list[int | str],
    kind: int = TensorProto.FLOAT,
    before: list[onnx.NodeProto] | None = None,
    nodes: list[onnx.NodeProto] | None = None,
    outputs: dict[str, list[int | str]] | None = None,
    more: dict[str, list[int | str]] | None = None,
    weights: np.ndarray = W_,
    constants: dict[str, np.ndarray] | None = None,
) -> Path:
    """A graph as another team exported it: one matrix, softmax, and whatever comes before."""
    inside = before or [helper.make_node("Identity", ["x"], ["x0"])]
    given = [helper.make_tensor_value_info("x", kind, shape)]
    given += [helper.make_tensor_value_info(name, TensorProto.FLOAT, of) for name, of in (more or {}).items()]
    entries = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, of)
        for name, of in (outputs or {"p": ["N", weights.shape[1]]}).items()
    ]
    held = [
        numpy_helper.from_array(value, name) for name, value in ({"W": weights} | (constants or {})).items()
    ]
    made = helper.make_graph([*inside, *(nodes or rows(weights))], "g", given, entries, held)
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def answers(images: torch.Tensor, weights: np.ndarray = W_) -> torch.Tensor:
    """What such a graph gives for images ``[n, 1, 4, 4]``."""
    return (images.flatten(1) @ torch.from_numpy(weights)).softmax(1)


def seen(path: Path, shape: tuple[int, int, int] = SHAPE, **tables: Any) -> Loaded:
    return load(path, None, Asked(shape, ("0", "1", "2", "3"), contract_of(tables)))


IMAGES = (torch.rand(7, *SHAPE, generator=torch.Generator().manual_seed(1)) * 255).round() / 255
