"""How requests are signed, checked at the server's side: AWS Signature Version 4 by botocore, OAuth2 by a
token server that counts."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.support.asking import CLASSES, asking, questions, truth
from tests.support.scripted import Asked, Reply, scripted
from tests.support.signing import answer
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
