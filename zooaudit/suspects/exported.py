"""Open a torch.export .pt2 archive without ever unpickling.

``torch.export.load`` unpickles sample inputs, custom objects and some weights, evaluates sizes as Python and pastes names into source:
any of these runs code of the file's author. Here the archive is first copied in memory, member by member, keeping the graph (JSON) and
plain tensors only: sample inputs are left empty, compiled code and extra files dropped. An archive whose tensors need a pickle is refused,
and so is a graph with any text that is not a name, a plain operator or a size.
"""

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zooaudit.errors import ModelError

METADATA = ("archive_format", "archive_version", "byteorder", ".data/version", ".data/serialization_id")
TENSOR_FOLDERS = ("data/weights/", "data/constants/")
SAMPLE_INPUTS = "data/sample_inputs/model.pt"
GRAPH = "models/model.json"
WORD = re.compile(r"[A-Za-z0-9_.+]*")
SYMBOL = r"Symbol\('[A-Za-z0-9_]+'(?:, (?:positive|nonnegative|integer)=True)*\)"
OPERATOR = (
    r"torch\.ops\.aten\.\w+\.\w+|torch\.sym_(?:max|min|not|int|float)"
    r"|_operator\.(?:getitem|add|sub|mul|floordiv|mod|neg|eq|ne|ge|le|gt|lt)"
)
TREE = r'(?:"type"|"context"|"children_spec"|"builtins\.(?:tuple|list|dict)"|"null"|"\[\]"|null|\d+|[\[\]{}:, ])*'
ALLOWED = {
    "expr_str": re.compile(rf"(?:{SYMBOL}|Integer|Add|Mul|Pow|Max|Min|Mod|PythonMod|FloorDiv|CleanDiv|\d+|[ ,()+*-])*"),
    "target": re.compile(OPERATOR),
    "in_spec": re.compile(TREE),
    "out_spec": re.compile(TREE),
    "guards_code": re.compile(""),
}


class ExportedModule(nn.Module):
    """An exported graph that can be told ``eval()`` like any module; a graph was frozen in one mode, and itself refuses."""

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, x: Tensor) -> Tensor:
        return self.graph(x)

    def train(self, mode: bool = True) -> "ExportedModule":
        """Nothing to switch."""
        self.training = mode
        return self


def load_exported(path: Path) -> nn.Module:
    """Load the model named ``model`` (torch.export.save's default) of a .pt2 archive, or raise ModelError."""
    try:
        clean = _without_pickles(path)
        return ExportedModule(torch.export.load(clean).module())
    except ModelError:
        raise
    except Exception as error:  # torch.export raises many kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"{path} is not a readable torch.export file ({reason}); write it with torch.export.save") from error


def _without_pickles(path: Path) -> io.BytesIO:
    clean = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(clean, "w", zipfile.ZIP_STORED) as target:
        for member in source.namelist():
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
    """The graph without its free texts (stack traces), or ModelError if any other text in it is more than a name, an operator
    or a size: torch pastes names into source, has sizes evaluated as Python, and looks operators up by name."""
    if isinstance(value, dict):
        return {_word(path, k): {} if k == "metadata" else _without_code(path, v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_code(path, v, within) for v in value]
    return _word(path, value, within) if isinstance(value, str) else value


def _word(path: Path, text: str, within: str = "") -> str:
    if not ALLOWED.get(within, WORD).fullmatch(text):
        raise ModelError(
            f"{path}: {within or 'a name'} is {text[:80]!r}, which could run code; expected a plain graph of torch.ops.aten operators"
        )
    return text


def _refuse_pickled(path: Path, name: str, content: bytes) -> None:
    if name.endswith(".pt"):
        raise ModelError(f"{path} holds its tensors as a pickle ({name}); export it again with a current torch.export.save")
    if not name.endswith(".json"):
        return
    for tensor, payload in json.loads(content)["config"].items():
        plain = payload["path_name"].rpartition("/")[2].startswith(("weight_", "tensor_"))
        if payload["use_pickle"] or not plain:
            raise ModelError(
                f"{path} holds {tensor} as a pickle, which can run code; expected plain tensors only: export without custom objects"
            )
