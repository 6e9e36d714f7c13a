"""Open a torch.export .pt2 archive without ever unpickling.

``torch.export.load`` unpickles sample inputs, custom objects and some weights, which runs code of the file's author. Here the archive is
first copied in memory, member by member, keeping the graph (JSON) and plain tensors only: sample inputs are left empty, compiled code and
extra files dropped, and an archive whose weights or constants need a pickle is refused.
"""

import io
import json
import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn

from zooaudit.errors import ModelError

METADATA = ("archive_format", "archive_version", "byteorder", ".data/version", ".data/serialization_id", "models/model.json")
TENSOR_FOLDERS = ("data/weights/", "data/constants/")
SAMPLE_INPUTS = "data/sample_inputs/model.pt"


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
            elif name in METADATA:
                target.writestr(member, source.read(member))
            elif name.startswith(TENSOR_FOLDERS):
                content = source.read(member)
                _refuse_pickled(path, name, content)
                target.writestr(member, content)
    clean.seek(0)
    return clean


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
