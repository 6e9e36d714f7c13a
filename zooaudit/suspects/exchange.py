"""One deadline for a whole exchange with a suspect: look-up, connection, handshake, question, headers, body.
Usual clients have a time-out for each read, which a server that sends a byte now and then outlasts; and no
read ends because an audit was stopped.

The caller sets the deadline (``within``) and what stops the exchange (``heeding``); the sockets of
:class:`Clocked` obey both, whatever is in between.
"""

import os
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import httpcore

from zooaudit.suspects.deadlines import Clock, looked_up

RECORD = 2**14
"""Bytes of TLS read at a time."""
Result = TypeVar("Result")


class Clocked(httpcore.NetworkBackend):
    """Connections whose every wait obeys the deadline."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        clock = Clock(timeout, httpcore.ConnectTimeout)
        trouble: Exception = OSError(f"{host} has no address")
        try:
            found = looked_up(host, port, clock)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        for number, (family, kind, protocol, _, address) in enumerate(found):
            # An address that does not answer (IPv6 that leads nowhere) leaves time for the others.
            own = clock.part(len(found) - number)
            try:
                return _connected(family, kind, protocol, address, local_address, socket_options or (), own)
            except (OSError, httpcore.ConnectTimeout) as error:
                trouble = error
        if isinstance(trouble, httpcore.ConnectTimeout):
            raise trouble
        raise httpcore.ConnectError(str(trouble)) from trouble

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def _connected(
    family: int,
    kind: int,
    protocol: int,
    address: Any,
    local: str | None,
    options: Iterable[Any],
    clock: Clock,
) -> "Plain":
    own = socket.socket(family, kind, protocol)
    try:
        for option in (*options, (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)):
            own.setsockopt(*option)
        if local:
            own.bind((local, 0))
        own.setblocking(False)
        try:
            own.connect(address)
        except BlockingIOError:
            _ready(own, select.POLLOUT, clock)
            if number := own.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(number, os.strerror(number)) from None
    except BaseException:
        own.close()
        raise
    return Plain(own)


def _ready(own: socket.socket, event: int, clock: Clock) -> None:
    """Wait until a socket can be read or written."""
    poll = select.poll()
    poll.register(own, event)
    while not poll.poll(clock.slice_s() * 1000):
        pass


class Plain(httpcore.NetworkStream):
    """A connection in plain text."""

    def __init__(self, own: socket.socket) -> None:
        self._socket = own

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        clock = Clock(timeout, httpcore.ReadTimeout)
        while True:
            clock.slice_s()  # checks the deadline even if the suspect never stops sending
            try:
                return self._socket.recv(max_bytes)
            except BlockingIOError:
                _ready(self._socket, select.POLLIN, clock)
            except OSError as error:
                raise httpcore.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        clock, left = Clock(timeout, httpcore.WriteTimeout), memoryview(buffer)
        while left:
            clock.slice_s()
            try:
                left = left[self._socket.send(left) :]
            except BlockingIOError:
                _ready(self._socket, select.POLLOUT, clock)
            except OSError as error:
                raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return Encrypted(self, ssl_context, server_hostname, timeout)

    def get_extra_info(self, info: str) -> Any:
        if info == "client_addr":
            return self._socket.getsockname()
        if info == "server_addr":
            return self._socket.getpeername()
        if info == "socket":
            return self._socket
        if info == "is_readable":
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            return bool(poll.poll(0))
        return None


class Encrypted(httpcore.NetworkStream):
    """A TLS connection over any other, which may itself be encrypted (a proxy's)."""

    def __init__(
        self, under: httpcore.NetworkStream, context: ssl.SSLContext, name: str | None, timeout: float | None
    ) -> None:
        self._under, self._in, self._out = under, ssl.MemoryBIO(), ssl.MemoryBIO()
        end = None if timeout is None else time.monotonic() + timeout
        try:
            self._tls = context.wrap_bio(self._in, self._out, server_hostname=name)
            self._through(self._tls.do_handshake, end)
        except (httpcore.ReadTimeout, httpcore.WriteTimeout) as error:
            under.close()
            raise httpcore.ConnectTimeout("the handshake took too long") from error
        except (
            OSError,
            ValueError,
            httpcore.NetworkError,
        ) as error:  # ValueError: not a valid host name
            under.close()
            raise httpcore.ConnectError(str(error)) from error
        except BaseException:
            under.close()
            raise

    def _through(self, step: Callable[[], Result], end: float | None) -> Result:
        """Run a step of TLS, with the sending and reading that it needs."""
        while True:
            wanted = False
            try:
                result = step()
            except ssl.SSLWantReadError:
                wanted = True
            finally:
                if reply := self._out.read():  # alerts too
                    self._under.write(reply, _left(end))
            if not wanted:
                return result
            if got := self._under.read(RECORD, _left(end)):
                self._in.write(got)
            else:
                self._in.write_eof()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        end = None if timeout is None else time.monotonic() + timeout
        try:
            return self._through(lambda: self._tls.read(max_bytes), end)
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        end, left = None if timeout is None else time.monotonic() + timeout, memoryview(buffer)
        while left:
            piece = left[:RECORD]
            try:
                sent = self._through(lambda piece=piece: self._tls.write(piece), end)  # type: ignore[misc]
            except OSError as error:
                raise httpcore.WriteError(str(error)) from error
            left = left[sent:]

    def close(self) -> None:
        self._under.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return Encrypted(self, ssl_context, server_hostname, timeout)

    def get_extra_info(self, info: str) -> Any:
        return self._tls if info == "ssl_object" else self._under.get_extra_info(info)


def _left(end: float | None) -> float | None:
    return None if end is None else max(0.0, end - time.monotonic())
