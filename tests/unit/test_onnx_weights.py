"""Weights of ONNX graphs that lie in files of their own."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from tests.support.onnx_files import IMAGES, SHAPE, W_, answers, seen, stranger
from zooaudit.errors import ModelError
from zooaudit.suspects import files
from zooaudit.suspects.how import How
from zooaudit.suspects.opened import OpenSuspect


def outside(path: Path, location: str = "m.onnx.data") -> Path:
    onnx.save(onnx.load(path), path, save_as_external_data=True, location=location, size_threshold=0)
    return path


def test_every_file_that_decides_answers_is_in_the_digest(tmp_path: Path) -> None:
    path = outside(stranger(tmp_path / "m.onnx", ["N", *SHAPE]))
    torch.testing.assert_close(seen(path).module(IMAGES), answers(IMAGES))
    before = files.digest(files.files_of(path))
    how = How("k", SHAPE, tuple("abcd"))
    assert OpenSuspect.to(str(path), how).sha256 == before != files.sha256(path)
    data = tmp_path / "m.onnx.data"
    data.write_bytes((-np.frombuffer(data.read_bytes(), np.float32)).tobytes())
    assert files.digest(files.files_of(path)) != before, "the weights were negated"
    torch.testing.assert_close(seen(path).module(IMAGES), answers(IMAGES, -W_))
    alone = stranger(tmp_path / "alone.onnx", ["N", *SHAPE])
    assert OpenSuspect.to(str(alone), how).sha256 == hashlib.sha256(alone.read_bytes()).hexdigest(), (
        "as before"
    )


@pytest.mark.parametrize("place", ["initializer", "attribute", "function", "branch", "training"])
def test_weights_elsewhere_are_found_wherever_the_graph_holds_them(place: str, tmp_path: Path) -> None:
    tensor = TensorProto(name="W", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="w.bin")
    (tmp_path / "w.bin").write_bytes(b"1234")
    constant = helper.make_node("Constant", [], ["y"])
    constant.attribute.append(onnx.AttributeProto(name="value", type=onnx.AttributeProto.TENSOR, t=tensor))
    graph_ = helper.make_graph(
        [constant] if place == "attribute" else [], "g", [], [], [tensor] if place == "initializer" else []
    )
    if place == "branch":
        inner = helper.make_graph([constant], "then", [], [])
        graph_.node.append(helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner))
    model = helper.make_model(graph_)
    if place == "function":
        model.functions.append(
            helper.make_function("d", "f", [], ["y"], [constant], [helper.make_opsetid("", 17)])
        )
    if place == "training":
        model.training_info.add().algorithm.CopyFrom(helper.make_graph([constant], "a", [], []))
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    assert files.files_of(path) == (path, tmp_path / "w.bin")


@pytest.mark.parametrize("location", ["../w.bin", "/etc/hostname", "sub/../../w.bin", "link.bin"])
def test_weights_outside_the_folder_are_refused(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(b"0" * 4000)
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    path = outside(stranger(folder / "m.onnx", ["N", *SHAPE]))
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].external_data[0].value = location
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"lies outside its folder; put it beside m.onnx"):
        seen(path)
    (folder / "m.onnx.data").unlink()
    model.graph.initializer[0].external_data[0].value = "m.onnx.data"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"m.onnx needs .*m.onnx.data, which is not there"):
        seen(path)
