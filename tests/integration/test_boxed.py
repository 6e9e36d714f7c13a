"""A stranger's model file is asked in a process of its own, which may take so much and no more."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file

from tests.support.makers import near
from tests.support.onnx_files import export_onnx
from zooaudit.errors import ModelError
from zooaudit.suspects import sandbox
from zooaudit.suspects.blackbox import TorchBlackBox
from zooaudit.suspects.named_nets import build_named
from zooaudit.suspects.sandbox import Limits, Sandbox

HOW = Sandbox((1, 4, 4), ("a", "b", "c", "d"))
IMAGES = torch.rand(70, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def hungry(path: Path, numbers: int) -> Path:
    """A small graph that asks for a lot of memory."""
    shape = numpy_helper.from_array(np.array([numbers], np.int64), "shape")
    nodes = [
        helper.make_node(
            "ConstantOfShape",
            ["shape"],
            ["many"],
            value=helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0]),
        ),
        helper.make_node("ReduceSum", ["many"], ["sum"], keepdims=0),
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("Mul", ["flat", "sum"], ["y"]),
    ]
    x, y = (
        helper.make_tensor_value_info(n, TensorProto.FLOAT, s)
        for n, s in (("x", ["n", 1, 4, 4]), ("y", ["n", 16]))
    )
    graph = helper.make_graph(nodes, "g", [x], [y], [shape])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.mark.processes
def test_it_answers_as_the_model_does(tmp_path: Path) -> None:
    path = export_onnx(near(0, 70), tmp_path / "m.onnx")
    assert torch.allclose(
        sandbox.ask(path, IMAGES, HOW), TorchBlackBox(near(0, 70), 4).ask(IMAGES), atol=1e-5
    )


@pytest.mark.processes
def test_weights_go_into_a_net_by_name(tmp_path: Path) -> None:
    net = build_named("torchvision:shufflenet_v2_x0_5", num_classes=4).eval()
    # An untrained head may answer near nought only: logits that read as probabilities badly rounded.
    torch.nn.init.constant_(net.fc.bias, -3.0)
    save_file(net.state_dict(), tmp_path / "m.safetensors")
    images, how = (
        torch.rand(3, 3, 32, 32),
        Sandbox((3, 32, 32), HOW.classes, "torchvision:shufflenet_v2_x0_5"),
    )
    found = sandbox.ask(tmp_path / "m.safetensors", images, how)
    assert torch.allclose(found, TorchBlackBox(net, 4).ask(images), atol=1e-4)


@pytest.mark.parametrize("factory", ["", "os:getcwd", "hf:/etc", "tests.support.makers:Affine"])
def test_no_code_is_taken_from_a_caller(factory: str, tmp_path: Path) -> None:
    save_file({"w": torch.zeros(1)}, tmp_path / "m.safetensors")
    with pytest.raises(ModelError, match="timm:NAME or torchvision:NAME"):
        sandbox.ask(tmp_path / "m.safetensors", IMAGES, Sandbox(HOW.image_shape, HOW.classes, factory))
    (tmp_path / "m.pt2").write_bytes(b"")
    with pytest.raises(ModelError, match=r"expected \.onnx or \.safetensors"):
        sandbox.ask(tmp_path / "m.pt2", IMAGES, HOW)


@pytest.mark.processes
def test_what_is_no_model_is_refused_without_our_paths(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"not a graph")
    with pytest.raises(ModelError, match="not a readable ONNX graph") as result:
        sandbox.ask(tmp_path / "m.onnx", IMAGES, HOW)
    assert str(tmp_path) not in str(result.value)


@pytest.mark.processes
def test_a_model_that_takes_too_much_memory_or_time_is_ended(tmp_path: Path) -> None:
    wide = Sandbox(HOW.image_shape, tuple(map(str, range(16))))
    (tmp_path / "a").mkdir()
    assert sandbox.ask(hungry(tmp_path / "a" / "m.onnx", 1000), IMAGES, wide).shape == (
        70,
        16,
    ), "a small one is answered"
    with pytest.raises(ModelError, match=r"(?i)alloc|memory|ended"):
        sandbox.ask(hungry(tmp_path / "m.onnx", 2**31), IMAGES, wide, Limits(memory_bytes=2**30))
    (tmp_path / "b").mkdir()
    slow = export_onnx(near(0, 70), tmp_path / "b" / "m.onnx")
    with pytest.raises(
        ModelError,
        match=r"ended before it had answered; expected a model that takes no more than 2048 MiB or 0\.2 s",
    ):
        sandbox.ask(slow, IMAGES, HOW, Limits(seconds=0.2))


def test_it_gives_up_the_network_before_a_second_thread_is_there() -> None:
    def printed(code: str) -> list[str]:
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()

    result = printed("import sys, zooaudit.suspects.sandbox as b; b._alone(); print('torch' in sys.modules)")
    assert result == ["False"], "torch starts threads"
    if sys.platform == "linux" and printed(
        f"import ctypes; print(ctypes.CDLL(None).unshare({sandbox.NEW_USER | sandbox.NEW_NET}))"
    ) == ["0"]:
        counted = (
            "import zooaudit.suspects.sandbox as b; b._alone();"
            " print(open('/proc/self/net/dev').read().count(':'))"
        )
        assert printed(counted) == ["1"], "there is nothing but a loopback of its own"


@pytest.mark.processes
def test_its_process_sees_nothing_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    seen: dict[str, str] = {}
    start = subprocess.Popen

    def noting(command: list[str], **more: object) -> "subprocess.Popen[bytes]":
        seen.update(more["env"])  # type: ignore[call-overload]
        assert command[:2] == [sys.executable, "-P"]
        return start(command, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", noting)
    sandbox.ask(export_onnx(near(0, 70), tmp_path / "m.onnx"), IMAGES, HOW)
    assert (
        seen.keys() == {"PATH", "PYTHONPATH", "TMPDIR", "HOME", "OMP_NUM_THREADS", "LANG"}
        and len(os.environ) > 6
    )


@pytest.mark.parametrize(
    "answers", [torch.zeros(69, 4), torch.zeros(70, 3), torch.full((70, 4), float("nan")), torch.zeros(280)]
)
def test_answers_of_a_process_that_was_taken_over_are_looked_at(
    answers: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken_over(folder: Path, _: Limits) -> None:
        save_file({"answers": answers}, folder / sandbox.ANSWERS)
        (folder / sandbox.RESULT).write_text('{"done": ""}')

    monkeypatch.setattr(sandbox, "_run", taken_over)
    (tmp_path / "m.onnx").write_bytes(b"")
    with pytest.raises(ModelError, match="expected \\(70, 4\\), all finite"):
        sandbox.ask(tmp_path / "m.onnx", IMAGES, HOW)
