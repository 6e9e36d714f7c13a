"""Which suspect is in the place that a command of a how-to page names, and how the verdict on it begins."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.support.howto import Command, Town
from tests.support.howto_services import described, normalised, of_the_page, triton, with_background
from tests.support.howto_suspects import (
    answers,
    folder_of_theirs,
    onnx_as_it_is,
    onnx_background,
    onnx_bytes,
    onnx_signed,
    theirs_package,
    timms,
)


@dataclass(frozen=True)
class Scene:
    """A command with something in the places that it names.

    Attributes:
        put: makes the suspect, stolen or not; what it gives, if anything, are places known only now.
        stolen, innocent: how the verdict on such a one begins; "" if there is none.
    """

    put: Callable[[Town, bool], Any]
    stolen: str = "stolen: p 0.05"
    innocent: str = "not shown: "


SCENES = {
    "README.md": {
        "theirs.safetensors --factory their_package.nets:make": Scene(theirs_package),
        "--suspect https://models.example/v2/models/shirts/infer": Scene(triton),
    },
    "docs/score.md": {
        "theirs.safetensors --factory their_package.nets:make": Scene(theirs_package),
        "--suspect https://models.example/v2/models/shirts/infer": Scene(triton),
        "--suspect theirs.toml": Scene(of_the_page),
        "--answers answers.csv": Scene(answers),
    },
    "docs/models.md": {
        "--suspect ./their-convnext": Scene(folder_of_theirs),
        "--factory timm:resnet18 --contract": Scene(timms, stolen=""),
        "--suspect theirs.onnx": Scene(onnx_as_it_is),
        "--contract input.range=[-1,1]": Scene(onnx_signed),
        "--contract input.range=[0,255]": Scene(onnx_bytes),
        "--contract output.name=probabilities": Scene(onnx_background),
    },
    "docs/data.md": {
        "--suspect ./theirs": Scene(lambda town, stolen: folder_of_theirs(town, stolen, "theirs"))
    },
    "docs/apis.md": {
        "--suspect https://models.example/v2/models/shirts/infer": Scene(triton),
        "--access label": Scene(described),
        "--contract input.mean=": Scene(normalised),
        "--contract 'classes.names=": Scene(with_background),
    },
}
"""By the page and by words of the command; the longest words that a command has are its own."""


def scene_of(command: Command) -> Scene | None:
    scenes = SCENES.get(command.page, {})
    found = [words for words in scenes if words in command.text]
    return scenes[max(found, key=len)] if found else None
