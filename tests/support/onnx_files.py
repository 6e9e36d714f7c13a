"""Models as ONNX files."""

from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper

from tests.support.makers import Affine


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
