"""Keys that are fetched by OAuth2."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest
import torch

from tests.support.asking import CLASSES, MODEL, asking, questions, truth
from tests.support.scripted import Asked, Reply, scripted
from tests.support.signing import answer
from tests.support.tritons import Triton, over_grpc, over_http
from zooaudit.errors import ConfigError, SuspectError
from zooaudit.suspects.opening import opened
from zooaudit.suspects.remote import remote_of


@dataclass
class Tokens:
    """A token server.

    Attributes:
        life_s: of a token; None is not told.
        trouble: replies that come first.
    """

    life_s: Any = 3600
    trouble: list[Reply] = field(default_factory=list)
    given: list[str] = field(default_factory=list)
    valid: set[str] = field(default_factory=set)
    asked: list[dict[str, list[str]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def script(self, asked: Asked) -> Reply:
        with self.lock:
            form = parse_qs(asked.body.decode())
            self.asked.append(form)
            if self.trouble:
                return self.trouble.pop(0)
            basic = asked.headers.get("Authorization", "")
            pair = base64.b64decode(basic.removeprefix("Basic ")).decode().split(":") if basic else []
            who = [unquote(p) for p in pair] or [form["client_id"][0], form["client_secret"][0]]
            if who != ["me:1", "s3cret/of+mine"] or form["grant_type"] != ["client_credentials"]:
                return (
                    401,
                    {},
                    json.dumps({"error": "invalid_client", "error_description": f"not {who}"}).encode(),
                )
            token = f"token-number-{len(self.given)}"
            self.given.append(token)
            self.valid = {token}
            life = {} if self.life_s is None else {"expires_in": self.life_s}
            return 200, {}, json.dumps({"access_token": token, "token_type": "bearer", **life}).encode()

    def suspect(self, asked: Asked) -> Reply:
        given = asked.headers.get("Authorization", "").removeprefix("Bearer ")
        return answer(asked.body) if given in self.valid else (401, {}, f"no: {given}".encode())


@contextmanager
def places(tokens: Tokens, monkeypatch: pytest.MonkeyPatch, **more: Any) -> Iterator[dict[str, Any]]:
    """Settings of a suspect that asks for tokens."""
    monkeypatch.setenv("CLIENT_ID", "me:1")
    monkeypatch.setenv("CLIENT_SECRET", "s3cret/of+mine")
    with scripted(tokens.script) as server, scripted(tokens.suspect) as url:
        ids = {"oauth_id_env": "CLIENT_ID", "oauth_secret_env": "CLIENT_SECRET"}
        yield {
            "url": url + "/v1/models/m:predict",
            "sign": "oauth",
            "oauth_url": server + "/token",
            "batch": 4,
            **ids,
            **more,
        }


@pytest.mark.parametrize("in_body", [False, True])
def test_a_token_is_fetched_once_for_all_threads(
    in_body: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, images = Tokens(), questions()
    more = {"oauth_scope": "ask more", "oauth_audience": "https://api", "oauth_body": in_body}
    with places(tokens, monkeypatch, **more) as settings, asking(tmp_path, settings) as asked:
        assert (
            torch.allclose(asked.black_box.ask(images), truth(images), atol=1e-6) and asked.ledger.spent == 24
        )
    (form,) = tokens.asked
    assert (
        form["scope"] == ["ask more"]
        and form["audience"] == ["https://api"]
        and ("client_secret" in form) == in_body
    )
    assert not any(s in p.read_bytes() for p in tmp_path.iterdir() for s in (b"token-number", b"s3cret"))


def test_a_token_is_renewed_before_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = Tokens(life_s="0.5")
    with places(tokens, monkeypatch) as settings, asking(tmp_path, settings) as asked:
        asked.black_box.ask(questions(4))
        time.sleep(0.46)  # in the last tenth of its life
        asked.black_box.ask(questions(8)[4:])
        assert len(tokens.given) == 2 and asked.ledger.spent == 8


def test_a_token_that_is_taken_back_is_renewed_once_and_nothing_charged_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = Tokens(life_s=None)
    with places(tokens, monkeypatch) as settings, asking(tmp_path, settings) as asked:
        asked.black_box.ask(questions(4))
        tokens.valid.clear()
        asked.black_box.ask(questions(8)[4:])
        assert len(tokens.given) == 2 and asked.ledger.spent == 8
    tokens = Tokens()
    monkeypatch.setattr(
        Tokens, "suspect", lambda self, asked: (401, {}, asked.headers["Authorization"].encode())
    )
    with places(tokens, monkeypatch) as settings, asking(tmp_path, settings, name="2.sqlite") as asked:
        with pytest.raises(SuspectError, match=r"answers 401; may this client ask it, .*: Bearer \*\*\*$"):
            asked.black_box.ask(questions(4))
        assert len(tokens.given) == 2, "once"


def test_trouble_with_the_token_server_is_said_or_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = Tokens(trouble=[(503, {}, b""), (429, {"Retry-After": "0.2"}, b"")])
    with places(tokens, monkeypatch) as settings, asking(tmp_path, settings, budget=4) as asked:
        assert len(asked.black_box.ask(questions(4))) == 4 and len(tokens.asked) == 3
    with places(tokens, monkeypatch, oauth_url="http://127.0.0.1:9/token", retries=1) as settings:
        away = pytest.raises(
            SuspectError,
            match=r"is not asked: the token server http://127.0.0.1:9/token does not answer .*, 2 times",
        )
        with asking(tmp_path, settings, name="away.sqlite") as asked, away:
            asked.black_box.ask(questions(4))
    for number, (reply, says) in enumerate(
        (
            (
                (400, {}, b'{"error": "invalid_scope"}'),
                r"gives no token: it answers 400 \(invalid_scope\); are .* CLIENT_ID and CLIENT_SECRET",
            ),
            ((302, {"Location": "/login"}, b""), "gives no token: it answers 302"),
            ((200, {}, b"<html>"), "expected JSON with access_token"),
            ((200, {}, b'{"access_token": "a\\nb"}'), "expected JSON with access_token"),
            ((200, {}, b'{"access_token": "t", "token_type": "mac"}'), "of the type bearer"),
        )
    ):
        tokens.trouble = [reply]
        with (
            places(tokens, monkeypatch) as settings,
            asking(tmp_path, settings, name=f"{number}.sqlite") as asked,
        ):
            with pytest.raises(SuspectError, match=says):
                asked.black_box.ask(questions(4))
            assert asked.ledger.spent == 0
    monkeypatch.setattr(Tokens, "script", lambda self, asked: (401, {}, b'{"error": "invalid_client"}'))
    with places(tokens, monkeypatch) as settings, asking(tmp_path, settings, name="w.sqlite") as asked:
        monkeypatch.setenv("CLIENT_SECRET", "wrong-secret")
        with pytest.raises(SuspectError, match="invalid_client") as error:
            asked.black_box.ask(questions(4))
        assert "secret/of" not in str(error.value) and "wrong" not in str(error.value)


def test_a_clients_secret_does_not_go_over_plain_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with places(Tokens(), monkeypatch) as settings:
        for name, says in (("oauth_url", "the client's secret"), ("url", "the token")):
            with pytest.raises(ConfigError, match=f"plain HTTP, and {says} would be readable"):
                opened(remote_of(settings | {name: "http://models.example/v1/models/m:predict"}, CLASSES))
        monkeypatch.delenv("CLIENT_SECRET")
        with pytest.raises(
            ConfigError,
            match=r"oauth_secret_env is CLIENT_SECRET, which is not set; export the client's secret in it",
        ):
            opened(remote_of(settings, CLASSES))
        with pytest.raises(ConfigError, match="oauth_url is ''; expected the token server's"):
            remote_of(settings | {"oauth_url": ""}, CLASSES)
        with pytest.raises(
            ConfigError, match="oauth_id_env is ''; expected the name of an environment variable"
        ):
            remote_of(settings | {"oauth_id_env": ""}, CLASSES)


def test_tokens_go_over_grpc_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, triton = Tokens(), Triton(MODEL, key="token-number-1")
    with places(tokens, monkeypatch) as settings, over_grpc(triton) as url:
        tokens.given.append("token-number-0")
        with asking(tmp_path, settings | {"url": url}) as asked:
            assert len(asked.black_box.ask(questions(4))) == 4
        triton.key = "token-number-3"  # the second that it is given from here on
        with asking(
            tmp_path, settings | {"url": url, "metadata": False, "input": "pixels"}, name="2.sqlite"
        ) as asked:
            assert len(asked.black_box.ask(questions(4))) == 4 and asked.ledger.spent == 4


def test_a_key_signs_metadata_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUSPECT_KEY", "right-key")
    triton, seen = Triton(MODEL), set()
    plain = triton.script

    def script(asked: Asked) -> Reply:
        seen.add((asked.method, asked.headers.get("X-Api-Key")))
        return plain(asked)

    triton.script = script  # type: ignore[method-assign]
    key = {"key_env": "SUSPECT_KEY", "key_header": "X-Api-Key", "key_prefix": ""}
    with over_http(triton) as url, asking(tmp_path, {"url": url, **key}) as asked:
        asked.black_box.ask(questions(4))
    assert seen == {("GET", "right-key"), ("POST", "right-key")}
