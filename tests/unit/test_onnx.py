"""ONNX graphs as suspects."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from tests.support.makers import Affine
from tests.support.onnx_files import IMAGES, SHAPE, W_, answers, graph, rows, seen, stranger
from zooaudit.errors import ColumnsError, ConfigError, ModelError
from zooaudit.storage.models import OwnModel
from zooaudit.suspects.load import Asked, load, load_model


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
    assert np.allclose(
        load_model(tmp_path / "two.onnx", None, SHAPE, 4)(images), Affine()(images).detach(), atol=1e-5
    )


def test_what_is_no_suspect_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(ModelError, match=r"text\.onnx is not a readable ONNX graph"):
        load_model(tmp_path / "text.onnx", None, SHAPE, 4)
    with pytest.raises(ModelError, match=r"takes x: tensor\(int32\); expected images as float32"):
        load_model(graph(tmp_path / "d.onnx", Affine(), kind=TensorProto.INT32), None, SHAPE, 4)
    with pytest.raises(ModelError, match=r"expected \(2, 9\)"):
        load_model(graph(tmp_path / "m.onnx", Affine()), None, SHAPE, 9)
    with pytest.raises(ModelError, match=r"has no gradients"):
        OwnModel(tmp_path / "m.onnx", None, SHAPE, 4).load()


CAST = [helper.make_node("Cast", ["x"], ["x0"], to=TensorProto.FLOAT)]


@pytest.mark.parametrize("batch", [1, 3])
def test_a_fixed_batch_is_asked_in_such_batches(batch: int, tmp_path: Path) -> None:
    loaded = seen(stranger(tmp_path / "m.onnx", [batch, *SHAPE], outputs={"p": [batch, 4]}))
    torch.testing.assert_close(loaded.module(IMAGES), answers(IMAGES))
    assert f"takes {batch} image" in loaded.notes[0]


def test_channels_last_are_seen(tmp_path: Path) -> None:
    loaded = seen(stranger(tmp_path / "m.onnx", ["N", 4, 4, 1]))
    torch.testing.assert_close(loaded.module(IMAGES), answers(IMAGES))
    assert loaded.notes == ("takes [n, 4, 4, 1]: layout nhwc",)
    colours = torch.rand(2, 3, 4, 4)
    last = stranger(tmp_path / "c.onnx", ["N", 4, 4, 3], weights=np.tile(W_, (3, 1)))
    expected = (colours.permute(0, 2, 3, 1).flatten(1) @ torch.from_numpy(np.tile(W_, (3, 1)))).softmax(1)
    torch.testing.assert_close(seen(last, (3, 4, 4)).module(colours), expected)
    with pytest.raises(ModelError, match=r"--contract input.layout=nchw, or nhwc"):
        seen(
            stranger(tmp_path / "both.onnx", ["N", 3, 3, 3], weights=np.ones((27, 4), np.float32)), (3, 3, 3)
        )


def test_one_row_an_image_is_seen(tmp_path: Path) -> None:
    torch.testing.assert_close(seen(stranger(tmp_path / "m.onnx", ["N", 16])).module(IMAGES), answers(IMAGES))
    with pytest.raises(ModelError, match=r"takes 25 numbers for each image, and these have 16"):
        seen(stranger(tmp_path / "m.onnx", ["N", 25], weights=np.ones((25, 4), np.float32)))


@pytest.mark.parametrize(
    ("kind", "scale"),
    [(TensorProto.FLOAT16, 1.0), (TensorProto.DOUBLE, 1.0), (TensorProto.UINT8, 255.0)],
)
def test_types_are_cast_to(kind: int, scale: float, tmp_path: Path) -> None:
    loaded = seen(
        stranger(tmp_path / "m.onnx", ["N", *SHAPE], kind, CAST, weights=(W_ / scale).astype(np.float32))
    )
    torch.testing.assert_close(loaded.module(IMAGES), answers(IMAGES), atol=2e-3, rtol=0)
    assert loaded.notes and loaded.notes[0].startswith("takes ")


def test_int8_is_asked_for_its_scale(tmp_path: Path) -> None:
    scale = [helper.make_node("DequantizeLinear", ["x", "s", "z"], ["x0"])]
    constants = {"s": np.array(1 / 255, np.float32), "z": np.array(-128, np.int8)}
    path = stranger(tmp_path / "m.onnx", ["N", *SHAPE], TensorProto.INT8, scale, constants=constants)
    with pytest.raises(
        ModelError, match=r"--contract input.dtype=int8 input.scale=0.00392 input.zero_point=-128"
    ):
        seen(path)
    loaded = seen(path, input={"dtype": "int8", "scale": 1 / 255, "zero_point": -128})
    torch.testing.assert_close(loaded.module(IMAGES), answers(IMAGES))


def test_colours_and_another_size_are_adapted_to_and_said(tmp_path: Path) -> None:
    mean = [helper.make_node("ReduceMean", ["x"], ["x0"], axes=[1], keepdims=1)]
    loaded = seen(stranger(tmp_path / "rgb.onnx", ["N", 3, 4, 4], before=mean))
    torch.testing.assert_close(loaded.module(IMAGES), answers(IMAGES))
    assert loaded.notes == ("takes 3 channels: grey images are repeated",)
    pooled = [helper.make_node("AveragePool", ["x"], ["x0"], kernel_shape=[2, 2], strides=[2, 2])]
    loaded = seen(stranger(tmp_path / "big.onnx", ["N", 1, 8, 8], before=pooled))
    larger = torch.nn.functional.interpolate(IMAGES, (8, 8), mode="bilinear", antialias=True)
    torch.testing.assert_close(
        loaded.module(IMAGES), answers(torch.nn.functional.avg_pool2d(larger, 2)), atol=1e-5, rtol=0
    )
    assert loaded.notes == ("takes images of 8 x 8: those of 4 x 4 are resized by a bilinear filter",)
    with pytest.raises(ConfigError, match=r"input.resize=squash or input.resize=shorter"):
        seen(tmp_path / "big.onnx", (1, 6, 4))
    with pytest.raises(ModelError, match=r"takes images of 8 x 8, but input.size is 4 x 4"):
        seen(tmp_path / "big.onnx", input={"size": [4, 4]})
    with pytest.raises(ModelError, match=r"takes 5 channels, and is given 1"):
        seen(stranger(tmp_path / "five.onnx", ["N", 5, 4, 4], weights=np.ones((80, 4), np.float32)))


def test_what_is_not_baked_in_is_said(tmp_path: Path) -> None:
    loaded = seen(
        stranger(tmp_path / "m.onnx", ["N", *SHAPE]), input={"range": [-1, 1], "mean": [0.25], "std": [0.5]}
    )
    torch.testing.assert_close(loaded.module(IMAGES), answers((IMAGES * 2 - 1 - 0.25) / 0.5))


def test_a_dynamic_graph_is_asked_as_is_said(tmp_path: Path) -> None:
    path = stranger(tmp_path / "m.onnx", ["N", "H", "W", "C"])
    torch.testing.assert_close(seen(path).module(IMAGES), answers(IMAGES))
    loaded = seen(path, (1, 8, 8), input={"size": [4, 4], "filter": "box", "layout": "nhwc"})
    larger = IMAGES.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(loaded.module(larger), answers(IMAGES))


@pytest.mark.parametrize("columns", [11, 1001])
def test_more_classes_than_the_kits(columns: int, tmp_path: Path) -> None:
    wide = np.random.default_rng(0).normal(size=(16, columns)).astype(np.float32)
    path = stranger(tmp_path / "m.onnx", ["N", *SHAPE], weights=wide)
    with pytest.raises(
        ColumnsError, match=rf"gave a tensor of shape \(2, {columns}\) for 2 images; expected \(2, 4\)"
    ):
        seen(path)
    some = answers(IMAGES, wide)[:, [1, 2, 3, 4]]
    background = seen(path, classes={"columns": [1, 2, 3, 4]}).module(IMAGES)
    torch.testing.assert_close(background, some / some.sum(1, keepdim=True))
    names = ["background", *map(str, range(4)), *(f"c{i}" for i in range(columns - 5))]
    torch.testing.assert_close(seen(path, classes={"names": names}).module(IMAGES), background)
    with pytest.raises(ColumnsError, match=f"expected column {columns}"):
        seen(path, classes={"columns": [1, 2, 3, columns]})


def test_one_of_several_outputs(tmp_path: Path) -> None:
    both = [*rows(W_), helper.make_node("Neg", ["logit"], ["other"])]
    path = stranger(
        tmp_path / "m.onnx", ["N", *SHAPE], nodes=both, outputs={"other": ["N", 4], "p": ["N", 4]}
    )
    with pytest.raises(
        ModelError, match=r"other, p could each be the answers; state which: --contract output.name=other"
    ):
        seen(path)
    torch.testing.assert_close(seen(path, output={"name": "p"}).module(IMAGES), answers(IMAGES))
    torch.testing.assert_close(seen(path, output={"index": 1}).module(IMAGES), answers(IMAGES))
    torch.testing.assert_close(
        seen(path, output={"name": "other"}).module(IMAGES).neg().softmax(1), answers(IMAGES)
    )


def test_outputs_of_four_dimensions_percentages_and_logs(tmp_path: Path) -> None:
    shaped = [*rows(W_), helper.make_node("Reshape", ["p", "s"], ["q"])]
    path = stranger(
        tmp_path / "m.onnx",
        ["N", *SHAPE],
        nodes=shaped,
        outputs={"q": ["N", 4, 1, 1]},
        constants={"s": np.array([-1, 4, 1, 1])},
    )
    torch.testing.assert_close(seen(path).module(IMAGES), answers(IMAGES))
    percent = [*rows(W_), helper.make_node("Mul", ["p", "hundred"], ["q"])]
    path = stranger(
        tmp_path / "%.onnx",
        ["N", *SHAPE],
        nodes=percent,
        outputs={"q": ["N", 4]},
        constants={"hundred": np.array(100, np.float32)},
    )
    torch.testing.assert_close(seen(path, output={"values": "percentages"}).module(IMAGES), answers(IMAGES))
    logs = [*rows(W_), helper.make_node("Log", ["p"], ["q"])]
    path = stranger(tmp_path / "l.onnx", ["N", *SHAPE], nodes=logs, outputs={"q": ["N", 4]})
    torch.testing.assert_close(
        seen(path, output={"values": "log-probabilities"}).module(IMAGES).softmax(1), answers(IMAGES)
    )


def test_names_with_scores(tmp_path: Path) -> None:
    """As scikit-learn's converters write: a list of objects."""
    domain = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    zipped = [
        *rows(W_),
        helper.make_node(
            "ZipMap", ["p"], ["told"], domain="ai.onnx.ml", classlabels_strings=["owl", "cat", "emu", "dog"]
        ),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *SHAPE])
    result = helper.make_value_info(
        "told",
        helper.make_sequence_type_proto(
            helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(1, []))
        ),
    )
    before = [helper.make_node("Identity", ["x"], ["x0"])]
    made = helper.make_graph([*before, *zipped], "g", [given], [result], [numpy_helper.from_array(W_, "W")])
    onnx.save(helper.make_model(made, opset_imports=domain, ir_version=9), tmp_path / "m.onnx")
    loaded = load(tmp_path / "m.onnx", None, Asked(SHAPE, ("cat", "dog", "emu", "owl")))
    torch.testing.assert_close(loaded.module(IMAGES), answers(IMAGES)[:, [1, 3, 2, 0]])


def test_several_inputs_are_refused_by_name(tmp_path: Path) -> None:
    path = stranger(tmp_path / "m.onnx", ["N", *SHAPE], more={"mask": ["N", 1]})
    with pytest.raises(
        ModelError, match=r"takes x: tensor\(float\) .*, mask: .*; expected one input, images"
    ):
        seen(path)
    with pytest.raises(ModelError, match=r"expected an input named 'pixels', as input.name says"):
        seen(path, input={"name": "pixels"})
