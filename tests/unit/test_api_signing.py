"""How requests are signed, checked at the server's side: AWS Signature Version 4 by botocore, OAuth2 by a
token server that counts."""

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
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.support.asking import CLASSES, MODEL, asking, questions, truth
from tests.support.scripted import Asked, Reply, scripted
from tests.support.tritons import Triton, over_grpc, over_http
from zooaudit.errors import ConfigError, SuspectError
from zooaudit.suspects.aws import region_and_service
from zooaudit.suspects.opening import opened
from zooaudit.suspects.remote import remote_of

ID, KEY, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "a-session-token-of-some-length=="
INVOKE = "/endpoints/shirts/invocations"
AWS = {
    "protocol": "template",
    "sign": "aws",
    "aws_region": "eu-west-1",
    "aws_service": "sagemaker",
    "layout": "nhwc",
}


def answer(body: bytes) -> Reply:
    images = torch.tensor(json.loads(body)["instances"]).permute(0, 3, 1, 2)
    with torch.no_grad():
        return 200, {}, json.dumps({"predictions": MODEL(images).softmax(1).tolist()}).encode()


@dataclass
class Sagemaker:
    """Takes what is signed by these credentials, and no other."""

    key: str = KEY
    token: str = ""
    region: str = "eu-west-1"
    asked: list[Asked] = field(default_factory=list)

    def script(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        given = asked.headers.get("Authorization", "")
        names = next(
            (p.partition("=")[2] for p in given.split(", ") if p.startswith("SignedHeaders")), ""
        ).split(";")
        request = AWSRequest(
            asked.method,
            f"http://{asked.headers['Host']}{asked.path}",
            data=asked.body,
            headers={n: asked.headers[n] for n in names if n},
        )
        request.context["timestamp"] = asked.headers.get("X-Amz-Date", "")
        auth = SigV4Auth(Credentials(ID, self.key, self.token or None), "sagemaker", self.region)
        text = auth.string_to_sign(request, auth.canonical_request(request))
        right = (
            given.endswith(f"Signature={auth.signature(text, request)}")
            and f"/{self.region}/sagemaker/aws4_request" in given
        )
        same = asked.headers.get("X-Amz-Security-Token", "") == self.token and {"host", "x-amz-date"} <= set(
            names
        )
        if right and same:
            return answer(asked.body)
        echo = f"The Canonical String should have been {request.headers.items()} {self.token or TOKEN}"
        return 403, {}, json.dumps({"message": echo}).encode()


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)


@pytest.mark.parametrize("path", [INVOKE, INVOKE + "?variant=a%20b&x=1", "/endpoints/a%2Fb/invocations"])
def test_an_aws_signature_is_what_botocore_computes_at_the_other_end(
    path: str, credentials: None, tmp_path: Path
) -> None:
    server, images = Sagemaker(), questions()
    with scripted(server.script) as url, asking(tmp_path, {"url": url + path, **AWS}) as asked:
        assert torch.allclose(asked.black_box.ask(images), truth(images), atol=1e-6)
        assert server.asked and all(a.headers["Content-Type"] == "application/json" for a in server.asked)


def test_a_session_token_is_signed_and_sent(
    credentials: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    server = Sagemaker(token=TOKEN)
    with scripted(server.script) as url, asking(tmp_path, {"url": url + INVOKE, **AWS}) as asked:
        assert len(asked.black_box.ask(questions(4))) == 4


def test_credentials_of_a_profile(credentials: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / "keys").write_text(f"[audit]\naws_access_key_id = {ID}\naws_secret_access_key = {KEY}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "keys"))
    with scripted(Sagemaker().script) as url:
        with asking(tmp_path, {"url": url + INVOKE, **AWS, "aws_profile": "audit"}) as asked:
            assert len(asked.black_box.ask(questions(4))) == 4
        with pytest.raises(ConfigError, match=r"cannot be read \(ProfileNotFound\); is aws_profile right"):
            opened(remote_of({"url": url + INVOKE, **AWS, "aws_profile": "other"}, CLASSES))
        with (
            pytest.raises(ConfigError, match="there are no AWS credentials; set AWS_ACCESS_KEY_ID"),
            asking(tmp_path, {"url": url, **AWS}),
        ):
            pass


@pytest.mark.parametrize("wrong", [{"aws_region": "us-east-1"}, {"aws_service": "execute-api"}, {}])
def test_a_wrong_signature_is_said_and_no_secret_with_it(
    wrong: dict[str, str], credentials: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    server = Sagemaker(token=TOKEN, key=KEY if wrong else "another")
    with scripted(server.script) as url, asking(tmp_path, {"url": url + INVOKE, **AWS, **wrong}) as asked:
        with pytest.raises(
            SuspectError, match="answers 403; are the AWS credentials this account's"
        ) as error:
            asked.black_box.ask(questions(4))
        assert asked.ledger.spent == 0 and TOKEN not in str(error.value) and KEY not in str(error.value)
    assert not any(s.encode() in p.read_bytes() for p in tmp_path.iterdir() for s in (KEY, TOKEN))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            "https://runtime.sagemaker.eu-west-1.amazonaws.com/endpoints/m/invocations",
            ("eu-west-1", "sagemaker"),
        ),
        (
            "https://runtime.sagemaker.cn-north-1.amazonaws.com.cn/endpoints/m/invocations",
            ("cn-north-1", "sagemaker"),
        ),
        ("https://abc123.execute-api.us-east-1.amazonaws.com/prod/ask", ("us-east-1", "execute-api")),
        ("https://abc123.lambda-url.us-west-2.on.aws/", ("us-west-2", "lambda")),
        ("https://models.example/ask", ("", "")),
    ],
)
def test_an_address_shows_region_and_service(url: str, shown: tuple[str, str]) -> None:
    assert region_and_service(url) == shown


def test_what_is_missing_for_aws_is_said(credentials: None) -> None:
    settings = {"url": "https://models.example/ask", "protocol": "raw", "sign": "aws"}
    for more, says in (
        ({}, "does not show its region; give aws_region"),
        ({"aws_region": "eu-west-1"}, "its service; give aws_service"),
    ):
        with pytest.raises(ConfigError, match=says):
            opened(remote_of(settings | more, CLASSES))
    with pytest.raises(ConfigError, match="plain HTTP, and the session's token would be readable"):
        opened(remote_of(settings | {"url": "http://models.example/ask"}, CLASSES))
    with pytest.raises(ConfigError, match='key_env is K, but sign is "aws"'):
        remote_of(settings | {"key_env": "K"}, CLASSES)
    with pytest.raises(ConfigError, match="sign is 'basic'; expected one of key, oauth, aws"):
        remote_of(settings | {"sign": "basic"}, CLASSES)


# OAuth2


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
