"""Open a torch.export .pt2 archive without ever unpickling.

``torch.export.load`` unpickles sample inputs, custom objects and some weights, evaluates sizes as Python and
pastes names into source: any of these runs code of the file's author. So the archive is first copied in
memory, member by member, keeping only the graph (JSON) and plain tensors: sample inputs are left empty, and
compiled code and extra files dropped. Refused are an archive whose tensors need a pickle, one that unpacks to
far more than its size, and a graph with any text that is not a name, a plain operator or a size. The tree of
its outputs, which may name types to import, is not copied but rebuilt from tuples and dicts.
"""

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zooaudit.data.zip_limits import check_listing, check_members
from zooaudit.errors import ModelError
from zooaudit.suspects.described_input import Described

MOST_MEMBERS = 50_000
MOST_BYTES, MOST_JSON_BYTES = 64 * 2**30, 2**28
"""Limits for all members together, and for the graph: GPT-sized graphs have some ten MiB."""
METADATA = ("archive_format", "archive_version", "byteorder", ".data/version", ".data/serialization_id")
TENSOR_FOLDERS = ("data/weights/", "data/constants/")
SAMPLE_INPUTS = "data/sample_inputs/model.pt"
GRAPH = "models/model.json"
WORD = re.compile(r"[A-Za-z0-9_.+]*")
LAYER = re.compile(r"[A-Za-z0-9_.+-]*")
"""Names of layers and weights may have a hyphen: torch looks them up between quotes, and never pastes them
elsewhere."""
SYMBOL = r"Symbol\('[A-Za-z0-9_]+'(?:, (?:positive|nonnegative|integer)=True)*\)"
OPERATOR = (
    r"torch\.ops\.aten\.\w+\.\w+|torch\.sym_(?:max|min|not|int|float)"
    # no_grad and autocast blocks; their graphs are checked too
    r"|torch\.ops\.higher_order\.wrap_with_(?:set_grad_enabled|autocast)"
    r"|_operator\.(?:getitem|add|sub|mul|floordiv|mod|neg|eq|ne|ge|le|gt|lt)"
)
TREE = (
    r'(?:"type"|"context"|"children_spec"|"builtins\.(?:tuple|list|dict)"|"null"|"\[\]"|null|\d+'
    r"|[\[\]{}:, ])*"
)
ALLOWED = {
    "expr_str": re.compile(
        rf"(?:{SYMBOL}|Integer|Add|Mul|Pow|Max|Min|Mod|PythonMod|FloorDiv|CleanDiv|\d+|[ ,()+*-])*"
    ),
    "target": re.compile(OPERATOR),
    "in_spec": re.compile(TREE),
    "guards_code": re.compile(""),
    "parameter_name": LAYER,
    "buffer_name": LAYER,
    "tensor_constant_name": LAYER,
    "fqn": LAYER,
}
EXPECTED = {
    "expr_str": "a size",
    "target": "an operator of torch.ops.aten, or a no_grad or autocast block",
    "in_spec": "plain arguments: one tensor",
    "out_spec": "tensors, or tuples and dicts of tensors with plain names",
}


class ExportedModule(nn.Module):
    """An exported graph that accepts ``eval()`` like any module; a graph is frozen in one mode, and itself
    refuses the call."""

    def __init__(self, graph: nn.Module, described: Described = Described()) -> None:  # noqa: B008  frozen
        super().__init__()
        self.graph, self.described = graph, described

    def forward(self, x: Tensor) -> Any:
        """A tensor, or a tuple or dict of tensors."""
        return self.graph(x)

    def train(self, mode: bool = True) -> "ExportedModule":
        """There is no mode to switch."""
        self.training = mode
        return self


def load_exported(path: Path) -> nn.Module:
    """Load the model named ``model`` (torch.export.save's default) of a .pt2 archive, or raise ModelError."""
    try:
        clean = _without_pickles(path)
        program = torch.export.load(clean)
        return ExportedModule(program.module(), _described(program))
    except ModelError:
        raise
    except Exception as error:  # torch.export raises many kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"{path} is not a readable torch.export file ({reason}); write it with torch.export.save"
        ) from error


def _described(program: Any) -> Described:
    """The shape and type of a program's only input."""
    names = set(program.graph_signature.user_inputs)
    given = [n.meta["val"] for n in program.graph.nodes if n.op == "placeholder" and n.name in names]
    if len(given) != 1 or not isinstance(given[0], Tensor):
        return Described()
    shape = tuple(d if isinstance(d, int) else None for d in given[0].shape)
    return Described(shape, str(given[0].dtype).removeprefix("torch."), "x")


def _without_pickles(path: Path) -> io.BytesIO:
    clean = io.BytesIO()
    check_listing(path, MOST_MEMBERS)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(clean, "w", zipfile.ZIP_STORED) as target:
        check_members(path, source.infolist(), MOST_MEMBERS, MOST_BYTES)
        for info in source.infolist():
            member = info.filename
            if info.filename.endswith(".json") and info.file_size > MOST_JSON_BYTES:
                raise ModelError(
                    f"{path}: {member} has {info.file_size:,} bytes; expected {MOST_JSON_BYTES:,} at most"
                )
            _, _, name = member.partition("/")
            if name == SAMPLE_INPUTS:
                target.writestr(member, b"")
            elif name == GRAPH:
                target.writestr(member, json.dumps(_without_code(path, json.loads(source.read(member)))))
            elif name in METADATA:
                target.writestr(member, source.read(member))
            elif name.startswith(TENSOR_FOLDERS):
                content = source.read(member)
                _refuse_pickled(path, name, content)
                target.writestr(member, content)
    clean.seek(0)
    return clean


def _without_code(path: Path, value: Any, within: str = "") -> Any:
    """The graph without its free texts (stack traces). Raises ModelError if any other text in it is more than
    a name, an operator or a size: torch pastes names into source, evaluates sizes as Python, and looks
    operators up by name.
    """
    if isinstance(value, dict):
        return {
            _word(path, k): {} if k == "metadata" else _without_code(path, v, k) for k, v in value.items()
        }
    if isinstance(value, list):
        return [_without_code(path, v, within) for v in value]
    return _word(path, value, within) if isinstance(value, str) else value


def _word(path: Path, text: str, within: str = "") -> str:
    if within == "out_spec" and text:
        return _tree_anew(path, text)
    if not ALLOWED.get(within, WORD).fullmatch(text):
        raise _unknown(path, text, within)
    return text


def _unknown(path: Path, text: str, within: str) -> ModelError:
    """Refuse a text that torch might execute; most such texts are harmless, but none is accepted."""
    expected = EXPECTED.get(
        within, "letters, digits, '_', '.' and '+'" + (", '-'" if ALLOWED.get(within) is LAYER else "")
    )
    hint = "rename it" if within not in EXPECTED else "leave out what is not needed to answer"
    return ModelError(
        f"{path}: {within or 'a name'} is {text[:80]!r}, which is not accepted; expected {expected}: {hint},"
        " and export it again"
    )


def _tree_anew(path: Path, text: str) -> str:
    """The tree of a program's outputs, rebuilt from tuples and dicts, whatever types it names: torch would
    import these."""
    try:
        protocol, tree = json.loads(text)
        return json.dumps([int(protocol), _branch(tree)])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _unknown(path, text, "out_spec") from error


def _branch(tree: dict[str, Any]) -> dict[str, Any]:
    children = [_branch(child) for child in tree["children_spec"]]
    if tree["type"] is None:
        if children:
            raise ValueError
        return {"type": None, "context": None, "children_spec": []}
    try:
        names = json.loads(tree["context"])
    except (ValueError, TypeError):
        names = None
    named = (
        isinstance(names, list)
        and len(names) == len(children)
        and len(set(map(str, names))) == len(names) > 0
    )
    if named and all(isinstance(n, str) and LAYER.fullmatch(n) for n in names):
        return {"type": "builtins.dict", "context": json.dumps(names), "children_spec": children}
    if tree["type"] == "builtins.dict":
        raise ValueError  # names are not plain
    return {"type": "builtins.tuple", "context": "null", "children_spec": children}


def _refuse_pickled(path: Path, name: str, content: bytes) -> None:
    if name.endswith(".pt"):
        raise ModelError(
            f"{path} holds its tensors as a pickle ({name}); export it again with a current torch.export.save"
        )
    if not name.endswith(".json"):
        return
    for tensor, payload in json.loads(content)["config"].items():
        plain = payload["path_name"].rpartition("/")[2].startswith(("weight_", "tensor_"))
        if payload["use_pickle"] or not plain:
            raise ModelError(
                f"{path} holds {tensor} as a pickle, which can run code; expected plain tensors only: export"
                " without custom objects"
            )
