"""Which addresses the service asks, and which never."""

import ipaddress
import socket
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.support.makers import near
from tests.support.scripted import looked_up_for_ever
from tests.support.strangers import Stranger, serving
from zooaudit.errors import ConfigError, StoppedError, SuspectError
from zooaudit.serving import allowed_hosts
from zooaudit.serving.allowed_hosts import Pinned, refuse_unless_named, resolved
from zooaudit.suspects.deadlines import heeding

NAMED = ("models.example", "10.0.0.7:8080", "[::1]:9000")


@pytest.mark.parametrize(
    "url",
    [
        "https://models.example/infer",
        "http://MODELS.example:9/x",
        "http://10.0.0.7:8080/x",
        "http://[::1]:9000/x",
    ],
)
def test_named_hosts_may_be_asked(url: str) -> None:
    refuse_unless_named(url, NAMED)


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example/",
        "https://models.example.evil/",
        "http://10.0.0.7/",
        "http://10.0.0.7:8081/",
        "https://evil/?models.example",
        "http://[::1]/",
        "http://models.example@evil/",
        "http://a:99999999/",
    ],
)
def test_others_may_not(url: str) -> None:
    with pytest.raises(ConfigError, match=r"may not ask|no valid port"):
        refuse_unless_named(url, NAMED)
    with pytest.raises(ConfigError, match=r"asks no suspects|no valid port"):
        refuse_unless_named(url, ())


@pytest.mark.parametrize(
    "url",
    [
        "grpc://models.example:8001/m",
        "grpcs://models.example/m",
        "ftp://models.example/",
        "file:///etc/passwd",
    ],
)
def test_what_cannot_be_held_to_one_address_is_not_asked_though_its_host_is_named(url: str) -> None:
    for named in (NAMED, ()):
        with pytest.raises(ConfigError, match="by http and https only"):
            refuse_unless_named(url, named)


Look = Callable[..., list[Any]]


def leads_to(*addresses: str) -> Look:
    return lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, 0)) for a in addresses]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.1",
        "172.16.9.9",
        "169.254.169.254",
        "0.0.0.0",
        "100.64.0.1",
        "::1",
        "fe80::1",
        "fd00::1",
        "::ffff:10.0.0.1",
        "::ffff:0:10.0.0.1",
        "::10.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::1",
        "64:ff9b:1:a00:0:100::",
        "2002:a00:1::",
        "2002:a9fe:a9fe::1",
        "2001:0:a00:1::",
        "2001:db8::5efe:10.0.0.1",
        "2600::5efe:10.0.0.1",
        "2600::200:5efe:192.168.0.1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_a_name_must_not_lead_to_what_only_this_machine_reaches(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", leads_to("93.184.216.34", address))
    with pytest.raises(ConfigError, match="an address that is not public"):
        resolved("https://models.example/infer")


def test_a_public_name_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", leads_to("93.184.216.34"))
    assert resolved("https://models.example/infer") == "93.184.216.34"

    def fails(*_: Any, **__: Any) -> None:
        raise socket.gaierror("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    with pytest.raises(SuspectError, match=r"models\.example is not known"):
        resolved("https://models.example/infer")


def test_a_name_that_is_looked_up_for_ever_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", looked_up_for_ever)
    monkeypatch.setattr(allowed_hosts, "LOOK_UP_S", 0.3)
    begun = time.monotonic()
    with pytest.raises(SuspectError, match=r"models\.example could not be looked up within 0\.3 s"):
        resolved("https://models.example/infer")
    with pytest.raises(StoppedError), heeding(lambda: True):
        resolved("https://models.example/infer")
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize(
    "address", ["64:ff9b::8.8.8.8", "2002:808:808::1", "2606:4700::1111", "::ffff:8.8.8.8"]
)
def test_a_public_address_within_another_is_one(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", leads_to(address))
    assert resolved("https://models.example/infer") == str(ipaddress.ip_address(address))


PREFIXES = ("https://models.example/team/v2", "http://10.0.0.7:8080/v2/models/m/")


@pytest.mark.parametrize(
    "url",
    [
        "https://models.example/team/v2",
        "https://MODELS.example:443/team/v2/models/m/infer?a=b",
        "http://10.0.0.7:8080/v2/models/m/infer",
    ],
)
def test_addresses_below_a_named_one_may_be_asked(url: str) -> None:
    refuse_unless_named(url, PREFIXES)


@pytest.mark.parametrize(
    "url",
    [
        "http://models.example/team/v2/infer",
        "https://models.example:444/team/v2/infer",
        "https://models.example/team/v2x/infer",
        "https://models.example/Team/v2/infer",
        "https://models.example/other",
        "https://models.example/team/v2/../../admin",
        "https://models.example/team/v2/%2e%2E/admin",
        "https://models.example/team/v2/..%2fadmin",
        "https://models.example/team/v2/..;/admin",
        "https://models.example//team/v2/infer",
        "https://models.example/team/v2/..%5cadmin",
        "https://models.example/team/v2/%252e%252e/admin",
        "https://models.example.evil/team/v2/infer",
        "http://10.0.0.7:8080/v2",
    ],
)
def test_addresses_beside_it_may_not(url: str) -> None:
    with pytest.raises(ConfigError, match="may not ask"):
        refuse_unless_named(url, PREFIXES)


def test_an_address_that_the_operator_wrote_out_may_be_private_but_not_link_local() -> None:
    assert resolved("http://10.0.0.7:8080/x") == "10.0.0.7" and resolved("http://[::1]:9000/x") == "::1"
    for url in (
        "http://169.254.169.254/latest",
        "http://[fe80::1]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[::ffff:169.254.169.254]/",
        "http://0.0.0.0/",
    ):
        with pytest.raises(ConfigError, match="not public"):
            resolved(url)


def test_a_pinned_client_goes_to_its_address_under_the_hosts_name() -> None:
    with serving(Stranger(near(seed=1, copy=1), ("a", "b", "c", "d"))) as stranger:
        port = stranger.url.rpartition(":")[2]
        transport = Pinned("models.example", "127.0.0.1", True, httpx.Limits())
        with httpx.Client(transport=transport) as client:
            reply = client.get(f"http://models.example:{port}/v2/models/m")
            assert reply.status_code == 200 and reply.json()["name"] == "m"
            assert stranger.hosts == {f"models.example:{port}"}
            with pytest.raises(SuspectError, match=r"only models\.example is asked"):
                client.get(f"http://127.0.0.1:{port}/v2/models/m")
