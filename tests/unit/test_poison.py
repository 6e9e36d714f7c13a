"""Descriptions of suspects that would take the auditor's memory: refused before anything is built of them."""

import resource
import time
from typing import Any

import pytest
import torch

from zooaudit.errors import AnswersError, ConfigError
from zooaudit.suspects.paths import LONGEST, found_by
from zooaudit.suspects.remote import remote_of
from zooaudit.suspects.wire import Wire

CLASSES = ("a", "b")


def deep(levels: int) -> Any:
    inner: Any = "$images"
    for _ in range(levels):
        inner = [inner]
    return inner


TEMPLATES: dict[str, tuple[Any, str]] = {
    "6,533 images": ({"a": ["$images"] * 6533}, "more than 4 places for images"),
    "images for each image": ({"$each": ["$png"] * 9}, "more than 4 places for images"),
    "values": ({"a": "$images", "b": [0] * 20_000}, "more than 10,000 values"),
    "text": ({"a": "$images", "b": "b" * 200_000}, "more than 100,000 characters"),
    "names": ({"a": "$images", "b" * 200_000: 0}, "more than 100,000 characters"),
    "levels": (deep(500), "more than 32 levels"),
    "very many levels": (deep(50_000), "more than 32 levels"),
    "a number": ({"a": "$images", "b": 10**4000}, "more than 64 bits"),
    "no JSON": ({"a": "$images", "b": float("inf")}, "not JSON"),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_that_makes_far_more_than_its_images_is_refused(name: str) -> None:
    request, says = TEMPLATES[name]
    with pytest.raises(ConfigError, match=says):
        remote_of({"url": "http://a/x", "protocol": "template", "request": request}, CLASSES)


def test_a_template_that_repeats_a_little_is_none_the_worse() -> None:
    wire = Wire(
        protocol="template", request={"$each": {"image": "$image", "again": "$png", "deep": deep(20)}}
    )
    assert wire.message(torch.rand(3, 1, 2, 2)).body.count(b'"again"') == 3


PATHS = {
    "doubles forty times": "|".join(["[@,@]"] * 40),
    "doubles and flattens": "|".join(["[@,@][]"] * 40),
    "doubles a text": "|".join(["join('',[@,@])"] * 40).replace("join('',[@,@])", "to_string([@,@])", 20),
    "joins by a long text": "join(a, b)",
    "names again and again": "|".join(["{a:@,b:@}"] * 40),
    "maps": "|".join(["map(&[@,@],[@,@])"] * 30),
}


@pytest.mark.parametrize("name", PATHS)
def test_a_path_that_makes_far_more_than_the_answer_is_refused_in_no_time(name: str) -> None:
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(AnswersError, match="selects and repeats nothing"):
        found_by(PATHS[name], {"a": "x" * 100_000, "b": ["y"] * 100_000})
    assert (
        time.monotonic() - begun < 10
        and resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 400_000
    ), "kB"


@pytest.mark.parametrize(
    "path", ["a" * (LONGEST + 1), "(" * 900 + "a" + ")" * 99, "[" * 999, "!" * 999 + "a"]
)
def test_a_path_that_cannot_be_read_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match=r"JMESPath"):
        remote_of({"url": "http://a/x", "protocol": "template", "answers": path}, CLASSES)


def test_honest_paths_find_what_jmespath_finds() -> None:
    import jmespath

    data = {
        "results": [
            {"scores": [{"label": f"c{k}", "score": k / 10} for k in range(10)], "x": {"y": i}}
            for i in range(300)
        ]
    }
    for path in (
        "results[*].scores",
        "results[].scores[].score",
        "results[*].scores[*].{label: label, score: score}",
        "results[?x.y > `3`].x",
        "map(&scores, results)",
        "results[*].join(',', scores[*].label)",
        "length(results)",
        "predictions || results[:5]",
        "sort_by(results, &x.y)[-1].x",
        "results[*].x.y | [0]",
        "results[*].to_string(x)",
        "values(results[0].x)",
    ):
        assert found_by(path, data) == jmespath.search(path, data), path


def test_a_form_has_so_many_fields() -> None:
    with pytest.raises(ConfigError, match="expected 64 and"):
        Wire(protocol="form", form={str(i): "" for i in range(100)})
