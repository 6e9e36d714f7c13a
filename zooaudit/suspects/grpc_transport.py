"""Questions to a suspect over gRPC, by the Open Inference Protocol (KServe, Triton, MLServer)."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from torch import Tensor

from zooaudit.errors import AnswersError, ConfigError, StoppedError, SuspectError
from zooaudit.extras import needs
from zooaudit.suspects.addresses import keys_of
from zooaudit.suspects.batches import most_of
from zooaudit.suspects.deadlines import SLICE_S, refuse_if_halted
from zooaudit.suspects.ledger import LOST
from zooaudit.suspects.metadata import Fitted, fitted
from zooaudit.suspects.metadata_reply import model_of
from zooaudit.suspects.oauth import Fetch
from zooaudit.suspects.protobuf import (
    CONFIG,
    INFER,
    METADATA,
    config_of,
    infer_request,
    metadata_of,
    metadata_request,
    outputs_of,
)
from zooaudit.suspects.remote import Remote
from zooaudit.suspects.retry_after import is_loading, wait_of
from zooaudit.suspects.signers import signer_of
from zooaudit.suspects.signing import Headers, hidden
from zooaudit.suspects.statuses import SHOWN
from zooaudit.suspects.tensors import answers, raw
from zooaudit.suspects.transport import Message, Refusal, Takes

BYTES_A_RESPONSE, BYTES_AN_IMAGE = 2**20, 2**16
"""The longest response that is read."""
PROTOBUF = "application/grpc"
UNREACHED = ("failed to connect", "connections to all backends failing", "name resolution", "dns resolution")
"""gRPC's own messages about a request that never left this machine."""
PASSING = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN", "ABORTED", "CANCELLED", "DATA_LOSS")
TOO_LONG = "CLIENT: Received message larger than max"


class GrpcTransport:
    """Args:
    remote: with an address ``grpc[s]://host:port/model[/version]``.
    fetch: asks a token server.

    Raises:
        ConfigError: grpcio is not installed, the address names no model, certificates or secrets for signing
            are missing, or a secret would be readable in transit.
    """

    def __init__(self, remote: Remote, fetch: Fetch) -> None:
        self._grpc = _library()
        self._remote, parts = remote, urlsplit(remote.url)
        self._model, _, self._version = parts.path.strip("/").partition("/")
        if not self._model or "/" in self._version or parts.query:
            raise ConfigError(
                f"url is {remote.shown}; expected grpc(s)://host:port/model, or .../model/version"
            )
        self._signer = signer_of(remote.signing, remote.url, fetch)
        self._channel = self._opened(parts.netloc, parts.scheme == "grpcs")
        self._fitted: Fitted | None = None

    def close(self) -> None:
        self._channel.close()

    def _opened(self, address: str, encrypted: bool) -> Any:
        most = BYTES_A_RESPONSE + max(self._remote.batch, 1) * BYTES_AN_IMAGE
        options = [
            ("grpc.max_receive_message_length", most),
            ("grpc.max_send_message_length", -1),
            ("grpc.enable_retries", 0),
        ]
        if not encrypted:
            return self._grpc.insecure_channel(address, options)
        try:
            trusted = Path(self._remote.ca).read_bytes() if self._remote.ca else None
        except OSError as error:
            raise ConfigError(
                f"ca is {self._remote.ca!r}, which cannot be read ({error}); expected a PEM file of"
                " certificates"
            ) from error
        return self._grpc.secure_channel(address, self._grpc.ssl_channel_credentials(trusted), options)

    def learn(self, shape: tuple[int, int, int]) -> Takes | Refusal:
        remote, wire = self._remote, self._remote.wire
        asked: bytes = metadata_request(self._model, self._version)
        config: dict[str, Any] | Refusal = {}
        metadata = self._described(METADATA, asked, metadata_of) if wire.metadata else {}
        if isinstance(metadata, Refusal):
            return metadata
        if metadata:
            config = self._described(CONFIG, asked, config_of)  # only Triton has one
        self._fitted = fitted(
            wire, remote.stated, model_of(metadata, config), shape, len(remote.naming.columns)
        )
        return self._fitted.takes

    def message(self, images: Tensor) -> Message:
        assert self._fitted is not None, "learn comes first"
        shape, values = self._fitted.shaped.input(images)
        wire = self._fitted.wire
        body = infer_request(
            self._model,
            self._version,
            wire.input,
            self._fitted.shaped.datatype,
            shape,
            raw(values),
            wire.output,
        )
        return Message(PROTOBUF, body)

    def send(self, message: Message, count: int) -> list[Any] | Refusal:
        assert self._fitted is not None, "learn comes first"
        found = self._called(INFER, message.body, count)
        if isinstance(found, Refusal):
            return found
        return answers(outputs_of(found), self._fitted.wire.output, count)

    def _called(self, method: str, body: bytes, count: int) -> bytes | Refusal:
        """A response; after an authentication failure, one more attempt with another token."""
        for again in (True, False):
            signed = self._signer.headers("POST", self._remote.url, "", b"")
            if isinstance(signed, Refusal):
                return signed
            try:
                call = self._channel.unary_unary(method).future(
                    body, timeout=self._remote.timeout_s, metadata=self._metadata(signed)
                )
                return self._awaited(call)
            except self._grpc.RpcError as error:
                if not (again and error.code().name == "UNAUTHENTICATED" and self._signer.renewed(signed)):
                    return self._refusal(error, count)
        raise AssertionError("the second attempt returns")

    def _awaited(self, call: Any) -> bytes:
        """The result of a call; gRPC itself keeps its deadline."""
        while True:
            try:
                found: bytes = call.result(timeout=SLICE_S)
                return found
            except self._grpc.FutureTimeoutError:
                try:
                    refuse_if_halted()
                except StoppedError:
                    call.cancel()
                    raise
            except BaseException:
                call.cancel()
                raise

    def _metadata(self, signed: Headers) -> list[tuple[str, str]]:
        return [(name.lower(), value) for name, value in {**self._remote.headers, **signed}.items()]

    def _refusal(self, error: Any, count: int) -> Refusal:
        """The meaning of a status.

        Raises:
            SuspectError: the suspect will never answer this.
            AnswersError: its answer is too long.
        """
        code, text = (
            error.code().name,
            hidden(
                error.details() or "",
                [*self._signer.secrets, *self._remote.headers.values(), *keys_of(self._remote.url)],
            ),
        )
        trailers = {k.lower(): v for k, v in error.trailing_metadata() or () if isinstance(v, str)}
        reason = f"answers {code}" + (f" ({text[:SHOWN]})" if text else "")
        if text.startswith(TOO_LONG):
            raise AnswersError.of("more bytes than are read", f"probabilities ({text[:SHOWN]})")
        if code in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "INTERNAL", "UNKNOWN", "OUT_OF_RANGE") and (
            most := most_of(0, text, count)
        ):
            return Refusal(reason, most=most)
        wait_s = wait_of(429, trailers, "")
        if code == "UNAVAILABLE" and any(u in text.lower() for u in UNREACHED):
            return Refusal(f"cannot be reached ({text[:SHOWN]})")
        if code in ("UNAVAILABLE", "FAILED_PRECONDITION", "NOT_FOUND") and is_loading(0, text):
            return Refusal(reason, wait_s=wait_s, loading=True)
        if code == "RESOURCE_EXHAUSTED":
            return Refusal(reason, wait_s=wait_s)
        if code in PASSING:
            return Refusal(reason, LOST, wait_s)
        key = self._remote.signing.key_env
        hint = f"; is the key in {key}?" if key and code in ("UNAUTHENTICATED", "PERMISSION_DENIED") else ""
        raise SuspectError(f"{self._remote.shown} {reason}{hint}")

    def _described(
        self, method: str, asked: bytes, read: Callable[[bytes], dict[str, Any]]
    ) -> dict[str, Any] | Refusal:
        """The suspect's metadata; {} without any, since it is optional."""
        try:
            found = self._called(method, asked, 1)
            return (
                found
                if isinstance(found, Refusal) and (found.outcome != LOST)
                else read(found)
                if isinstance(found, bytes)
                else {}
            )
        except StoppedError:
            raise
        except (SuspectError, AnswersError):
            return {}


def _library() -> ModuleType:
    with needs("grpc", "a suspect over gRPC", ConfigError):
        import grpc
    return grpc
