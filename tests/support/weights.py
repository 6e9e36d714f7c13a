"""Weights in the files that models come in."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

SHAPE = (1, 4, 4)


def sharded(folder: Path, model: nn.Module, **changes: Any) -> Path:
    state = model.state_dict()
    for i, (name, tensor) in enumerate(state.items()):
        save_file({name: tensor}, folder / f"model-{i}.safetensors")
    index = {
        "metadata": {},
        "weight_map": {name: f"model-{i}.safetensors" for i, name in enumerate(state)},
    } | changes
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps(index))
    return path


def exported(model: nn.Module, path: Path, shape: tuple[int, ...] = SHAPE) -> Path:
    program = torch.export.export(
        model, (torch.zeros(2, *shape),), dynamic_shapes=({0: torch.export.Dim("n")},)
    )
    torch.export.save(program, path)
    return path
