"""Settings of a suspect over HTTP, and what is said of wrong ones."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.asking import CLASSES
from zooaudit.errors import AnswersError, ConfigError, InputError
from zooaudit.suspects.naming import Naming
from zooaudit.suspects.opening import opened
from zooaudit.suspects.remote import Remote, read_remote, remote_of


def test_a_key_does_not_go_over_plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUSPECT_KEY", "k1")
    remote = remote_of({"url": "http://models.example/v2/models/m/infer", "key_env": "SUSPECT_KEY"}, CLASSES)
    with pytest.raises(ConfigError, match="plain HTTP, and the key would be readable"):
        opened(remote)
    monkeypatch.delenv("SUSPECT_KEY")
    with pytest.raises(ConfigError, match="SUSPECT_KEY, which is not set"):
        opened(remote)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "has no url"),
        ({"url": "ftp://a/infer"}, "expected http"),
        ({"url": "http://user:pass@a/infer"}, "expected http"),
        ({"url": "http://a/\ud800/infer"}, "plain ASCII"),
        ({"url": "http://[::1/infer"}, "expected http"),
        ({"url": "http://a/infer", "headers": {"X": 5}}, "headers are X; expected texts"),
        ({"url": "http://a/infer", "headers": {"X": "a\nb"}}, "headers are X; expected texts"),
        ({"url": "http://a/infer", "headers": [1]}, "expected a table of names"),
        ({"url": "http://a/infer", "columns": [1, "a", 2, 3]}, "expected a list of numbers"),
        ({"url": "http://a/infer", "classes": [["a"], "b", "c", "d"]}, "expected a list of names"),
        ({"url": "http://a/infer", "timeout_s": 1e12}, "timeout_s is 1000000000000"),
        ({"url": "http://a/infer", "rate": 1e-6}, "rate is 1e-06"),
        (
            {"url": "http://a/x", "protocol": "template", "request": {"a": "$image", "b": float("nan")}},
            "not JSON",
        ),
        ({"url": "http://a/ask"}, "does not show its protocol"),
        (
            {"url": "http://a/infer", "colour": 1},
            "'colour' is unknown; expected some of answers, aws_profile",
        ),
        ({"url": "http://a/infer", "time_out": 1}, "'time_out' is unknown; did you mean timeout_s"),
        ({"url": "http://a/infer", "batch": "many"}, "batch is 'many'; expected a whole number"),
        ({"url": "http://a/infer", "batch": 0}, "batch is 0"),
        ({"url": "http://a/infer", "rate": -1}, "rate is -1"),
        ({"url": "http://a/infer", "timeout_s": 0}, "timeout_s is 0"),
        ({"url": "http://a/infer", "classes": ["a"]}, "classes names 1; the kit has 4"),
        ({"url": "http://a/infer", "classes": ["a", "a", "b", "c"]}, "4 distinct names"),
        ({"url": "http://a/infer", "columns": [0, 1, 2, 2]}, "expected 0 to 3, each once"),
        (
            {"url": "http://a/x", "protocol": "template", "request": {"a": "b"}},
            r"no place for images; expected one of \$images",
        ),
        ({"url": "http://a/x", "protocol": "template", "answers": "a[["}, "not a JMESPath"),
        ({"url": "http://a/x", "protocol": "grpc"}, "protocol is 'grpc'; expected one of v2"),
    ],
)
def test_wrong_settings_say_what_is_right(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        remote_of(settings, CLASSES)


def test_a_description_is_read_from_toml(tmp_path: Path) -> None:
    path = tmp_path / "theirs.toml"
    lines = (
        'url = "https://m.example/ask"',
        'protocol = "template"',
        'answers = "r"',
        "rate = 20",
        "[request]",
        'images = "$images"',
    )
    path.write_text("\n".join([*lines, "[headers]", 'X-Team = "a"']))
    remote = read_remote(path, CLASSES)
    assert (
        isinstance(remote, Remote)
        and remote.rate == 20
        and remote.wire.request == {"images": "$images"}
        and remote.headers == {"X-Team": "a"}
    )
    path.write_text("url = ")
    with pytest.raises(InputError, match=r"theirs\.toml cannot be read .* expected TOML such as"):
        read_remote(path, CLASSES)


def test_numbers_are_the_suspects_columns_and_names_the_kits() -> None:
    naming = Naming(("0", "1", "2"), (2, 1, 0))
    assert naming.rows([0, 0.0])[0].argmax(1).tolist() == [2, 2] and naming.rows(["0"])[0].argmax(
        1
    ).tolist() == [0]
    for wrong in (1.7, True, -1, 3):
        with pytest.raises(AnswersError):
            naming.rows([wrong])
    with pytest.raises(AnswersError, match="answers of the forms label, scores; expected all of one form"):
        naming.rows([{"0": 0.6, "1": 0.4}, "0"])
    with pytest.raises(AnswersError, match="give the key's name: score"):
        naming.rows([{"label": "0", "confidence": 0.6}])
