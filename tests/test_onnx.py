"""ONNX graphs as suspects."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from tests.makers import Affine
from zooaudit.errors import ModelError
from zooaudit.storage.models import OwnModel
from zooaudit.suspects.load import load_model

SHAPE = (1, 4, 4)


def graph(path: Path, model: Affine, batch: int | None = None, kind: int = TensorProto.FLOAT, label: bool = False) -> Path:
    """``model`` as a graph: flatten, then one Gemm; with ``label`` the likeliest class comes first, as of scikit-learn's converters."""
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
    made = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", kind, [batch, *SHAPE])], outputs, weights)
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.mark.parametrize("label", [False, True])
def test_a_graph_answers_as_the_module_does(label: bool, tmp_path: Path) -> None:
    model = Affine()
    loaded = load_model(graph(tmp_path / "m.onnx", model, label=label), None, SHAPE, 4)
    images = torch.rand(7, *SHAPE)
    assert np.allclose(loaded(images), model(images).detach(), atol=1e-5)


def test_an_embedding_that_comes_first_is_not_taken_for_the_answers(tmp_path: Path) -> None:
    made = onnx.load(graph(tmp_path / "m.onnx", Affine()))
    made.graph.output.insert(0, helper.make_tensor_value_info("flat", TensorProto.FLOAT, [None, 16]))
    onnx.save(made, tmp_path / "two.onnx")
    images = torch.rand(3, *SHAPE)
    assert np.allclose(load_model(tmp_path / "two.onnx", None, SHAPE, 4)(images), Affine()(images).detach(), atol=1e-5)


def test_what_is_no_suspect_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(ModelError, match=r"text\.onnx is not a readable ONNX graph"):
        load_model(tmp_path / "text.onnx", None, SHAPE, 4)
    with pytest.raises(ModelError, match=r"takes x: tensor\(int32\); expected images as float32"):
        load_model(graph(tmp_path / "d.onnx", Affine(), kind=TensorProto.INT32), None, SHAPE, 4)
    with pytest.raises(ModelError, match=r"expected \(2, 9\)"):
        load_model(graph(tmp_path / "m.onnx", Affine()), None, SHAPE, 9)
    with pytest.raises(ModelError, match="has no gradients"):
        OwnModel(tmp_path / "m.onnx", None, SHAPE, 4).load()
