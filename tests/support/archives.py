"""Take a .pt2 archive apart and put it together again, as an attacker or a broken disk would."""

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from zooaudit.errors import ModelError
from zooaudit.suspects.load import load_model

SHAPE = (1, 8, 8)
GRAPH = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
SAMPLES = "data/sample_inputs/model.pt"


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.marker}",)


def rewrite(
    source: Path,
    target: Path,
    changes: dict[str, Callable[[bytes], bytes] | None],
    extra: dict[str, bytes] | None = None,
) -> Path:
    """Copy an archive with some members changed (None: left out) and ``extra`` ones added,
    as an attacker would."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        top = old.namelist()[0].split("/")[0]
        names = {n.partition("/")[2] for n in old.namelist()}
        assert changes.keys() <= names, (
            f"{changes.keys() - names} is not in a .pt2 file of this torch: change the test"
        )
        for member in old.namelist():
            change = changes.get(member.partition("/")[2], lambda content: content)
            if change is not None:
                new.writestr(member, change(old.read(member)))
        for name, content in (extra or {}).items():
            new.writestr(f"{top}/{name}", content)
    return target


def edit(change: Callable[[Any], None]) -> Callable[[bytes], bytes]:
    """A change of a member's JSON."""

    def apply(content: bytes) -> bytes:
        value = json.loads(content)
        change(value)
        return json.dumps(value).encode()

    return apply


def load(path: Path) -> nn.Module:
    return load_model(path, None, SHAPE, 10)


def refused(path: Path, *expected: str) -> None:
    with pytest.raises(ModelError) as caught:
        load(path)
    for text in (str(path), *expected):
        assert text in str(caught.value), str(caught.value)
