"""torch.export files whose author means harm: nothing of his is ever run."""

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.support.archives import (
    CONSTANTS,
    GRAPH,
    SAMPLES,
    SHAPE,
    WEIGHTS,
    Bomb,
    edit,
    load,
    refused,
    rewrite,
)
from zooaudit.errors import ModelError


def test_sample_inputs_are_never_unpickled(exported: Path, learnt: nn.Module, tmp_path: Path) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "marker"))
    saved = tmp_path / "saved.pt"
    torch.save(Bomb(tmp_path / "marker"), saved)
    for content in (bomb, saved.read_bytes()):
        module = load(rewrite(exported, tmp_path / "bad.pt2", {SAMPLES: lambda _, c=content: c}))
        x = torch.rand(3, *SHAPE)
        torch.testing.assert_close(module(x), learnt(x), atol=1e-5, rtol=1e-5)
    assert not (tmp_path / "marker").exists(), "the sample inputs were unpickled"


def test_weights_that_ask_for_a_pickle_are_refused(exported: Path, tmp_path: Path) -> None:
    def pickled(config: Any) -> None:
        config["config"]["head.weight"]["use_pickle"] = True

    with zipfile.ZipFile(exported) as archive:
        config = json.loads(archive.read(next(n for n in archive.namelist() if n.endswith(WEIGHTS))))
    blob = f"data/weights/{config['config']['head.weight']['path_name']}"
    bomb = pickle.dumps(Bomb(tmp_path / "marker"))
    refused(
        rewrite(exported, tmp_path / "bad.pt2", {WEIGHTS: edit(pickled), blob: lambda _: bomb}),
        "head.weight as a pickle",
        "plain tensors only",
    )
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("name", ["custom_obj_0", "opaque_obj_0", "script_object_0"])
def test_constants_that_are_objects_are_refused(name: str, exported: Path, tmp_path: Path) -> None:
    def with_object(config: Any) -> None:
        config["config"]["evil"] = {
            "path_name": name,
            "is_param": False,
            "use_pickle": False,
            "tensor_meta": None,
        }

    bomb = {f"data/constants/{name}": pickle.dumps(Bomb(tmp_path / "marker"))}
    refused(rewrite(exported, tmp_path / "bad.pt2", {CONSTANTS: edit(with_object)}, bomb), "evil as a pickle")
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("name", ["data/weights/model.pt", "data/constants/model.pt"])
def test_tensors_of_an_older_format_are_refused(name: str, exported: Path, tmp_path: Path) -> None:
    bomb = {name: pickle.dumps(Bomb(tmp_path / "marker"))}
    refused(rewrite(exported, tmp_path / "bad.pt2", {}, bomb), f"as a pickle ({name})", "export it again")
    assert not (tmp_path / "marker").exists()


def test_files_beside_the_model_are_ignored(exported: Path, tmp_path: Path) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "marker"))
    names = [
        "extra/notes.pt",
        "data/aotinductor/model/x.so",
        "models/other.json",
        "serialized_state_dict.pt",
        "serialized_constants.pt",
    ]
    load(rewrite(exported, tmp_path / "bad.pt2", {}, dict.fromkeys(names, bomb)))
    assert not (tmp_path / "marker").exists()


def code(tmp_path: Path) -> str:
    return f"__import__('os').system('touch {tmp_path / 'marker'}')"


def in_a_size(graph: Any, payload: str) -> None:
    """Sizes are expressions, which torch hands to sympy, which evaluates them as Python."""
    sizes = graph["graph_module"]["graph"]["tensor_values"]["x"]["sizes"]
    assert "expr_str" in sizes[0]["as_expr"]
    sizes[0]["as_expr"]["expr_str"] = payload


def in_an_inputs_name(graph: Any, payload: str) -> None:
    """The names of inputs are pasted into the source of a function, which torch compiles."""
    for part in ("graph", "signature"):
        text = json.dumps(graph["graph_module"][part])
        assert '"x"' in text
        graph["graph_module"][part] = json.loads(text.replace('"x"', json.dumps(f"x={payload}")))


def in_the_arguments(graph: Any, payload: str) -> None:
    graph["graph_module"]["module_call_graph"][0]["signature"]["forward_arg_names"] = [f"x={payload}"]


def in_an_operator(graph: Any, payload: str) -> None:
    """Operators are looked up by name, from torch, as far as the name leads."""
    node = graph["graph_module"]["graph"]["nodes"][0]
    node["target"] = "torch.os.system"
    command = payload.partition("system('")[2].removesuffix("')")
    node["inputs"] = [{"name": "", "arg": {"as_string": command}, "kind": 1}]


def in_a_guard(graph: Any, payload: str) -> None:
    graph["guards_code"] = [payload]


def in_a_parameters_name(graph: Any, payload: str) -> None:
    graph["graph_module"]["signature"]["input_specs"][0]["parameter"]["parameter_name"] = f'x"+{payload}+"'


def in_the_inputs_tree(graph: Any, payload: str) -> None:
    """A tree of inputs may name a module to import: any that is installed, or lies in the current folder."""
    context = {"default_factory_module": "lying_around", "default_factory_name": "f", "dict_context": []}
    node = {"type": "collections.defaultdict", "context": context, "children_spec": []}
    graph["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = json.dumps([1, node])


INJECTIONS = [
    in_the_inputs_tree,
    in_a_size,
    in_an_inputs_name,
    in_the_arguments,
    in_an_operator,
    in_a_guard,
    in_a_parameters_name,
]


@pytest.mark.parametrize("inject", INJECTIONS)
def test_code_in_the_graph_is_never_run(
    inject: Callable[[Any, str], None], exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lying_around.py").write_text(code(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    path = rewrite(exported, tmp_path / "bad.pt2", {GRAPH: edit(lambda graph: inject(graph, code(tmp_path)))})
    try:
        load(path)
    except ModelError as error:
        assert str(path) in str(error)
    assert not (tmp_path / "marker").exists(), "opening the file ran code of its author"


def test_a_torch_save_archive_called_pt2_is_refused_unopened(tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    for zipped in (True, False):
        torch.save({"weight": Bomb(tmp_path / "marker")}, path, _use_new_zipfile_serialization=zipped)
        refused(path, "not a readable torch.export file")
    assert not (tmp_path / "marker").exists()
