"""The only place where a suspect's description becomes a transport, by its address."""

from typing import Protocol

from zooaudit.suspects.grpc_transport import GrpcTransport
from zooaudit.suspects.http_transport import HttpTransport, client_of, fetch_of
from zooaudit.suspects.remote import Remote
from zooaudit.suspects.transport import Transport


class Closing(Protocol):
    """Something to close after use."""

    def close(self) -> None: ...


def opened(remote: Remote) -> tuple[Transport, Closing]:
    """A transport to a suspect, and what to close after use.

    Raises:
        ConfigError: a library, secret or certificate is missing, or a secret would be readable in transit.
    """
    if remote.is_grpc:
        transport = GrpcTransport(remote, fetch_of(remote))
        return transport, transport
    client = client_of(remote)
    try:
        return HttpTransport(remote, client), client
    except BaseException:
        client.close()
        raise
