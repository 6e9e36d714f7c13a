"""Parquet out of a body, read in a process of its own: of a file of a few bytes nobody can tell beforehand what it unpacks to. That process
may take so much memory and time and no more; if it dies, the body is refused and another takes its place."""

import resource
import struct
import subprocess
import sys
import threading
from http import HTTPStatus

import numpy as np
import torch
from torch import Tensor

from zooaudit.errors import AnswersError
from zooaudit.serving.problems import Refused

MEMORY_BYTES = 512 * 2**20
"""Beyond what the process has once its libraries are loaded."""
SECONDS, START_S = 10.0, 60.0
"""To unpack one body, and before that for the process to start."""
OK, WRONG, NO_PARQUET = 0, 1, 2
HEADER = struct.Struct("<BI")
ASKED = struct.Struct("<III")


class Reader:
    """The process, started when it is first needed; one body at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def rows(self, body: bytes, num_classes: int, most: int) -> tuple[int, bytes]:
        """Status, and float32 rows or what was wrong; a process that died gives ``NO_PARQUET``.

        Raises:
            Refused: 503, no process could be started.
        """
        with self._lock:
            process = self._started()
            try:
                return self._exchanged(process, ASKED.pack(len(body), num_classes, most) + body, SECONDS)
            except (OSError, struct.error):
                self._ended(process)
                return NO_PARQUET, f"it takes more than {MEMORY_BYTES >> 20} MiB or {SECONDS:g} s to unpack".encode()

    def _started(self) -> "subprocess.Popen[bytes]":
        """The process, whose libraries are loaded: that is no body's fault, however long it takes on a busy machine."""
        if self._process is None or self._process.poll() is not None:
            command = [sys.executable, "-m", "zooaudit.serving.unpacking"]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            try:
                self._exchanged(self._process, b"", START_S)
            except (OSError, struct.error) as error:
                self._ended(self._process)
                later = {"Retry-After": "5"}
                raise Refused(
                    HTTPStatus.SERVICE_UNAVAILABLE, "what reads Parquet does not start; try again later", headers=later
                ) from error
        return self._process

    @staticmethod
    def _exchanged(process: "subprocess.Popen[bytes]", asked: bytes, seconds: float) -> tuple[int, bytes]:
        """Send bytes, and wait so long for status and answer; the process is killed if they do not come."""
        assert process.stdin and process.stdout
        clock = threading.Timer(seconds, process.kill)
        clock.start()
        try:
            process.stdin.write(asked)
            process.stdin.flush()
            status, size = HEADER.unpack(process.stdout.read(HEADER.size))
            return status, process.stdout.read(size)
        finally:
            clock.cancel()

    def _ended(self, process: "subprocess.Popen[bytes]") -> None:
        process.kill()
        process.wait()
        self._process = None


reader = Reader()


def read_parquet(body: bytes, num_classes: int, most: int) -> Tensor:
    """The answers in a Parquet body, float32 ``[n, K]``; columns as of Arrow.

    Raises:
        Refused: 400, it is no Parquet file, or one that unpacks to too much; 503, there is nothing to read it with.
        AnswersError: other columns, or other rows.
    """
    status, told = reader.rows(body, num_classes, most)
    if status == OK:
        return torch.from_numpy(np.frombuffer(told, "<f4").astype(np.float32).reshape(-1, num_classes))
    if status == WRONG:
        found, _, expected = told.decode().partition("\0")
        raise AnswersError.of(found, expected)
    raise Refused(HTTPStatus.BAD_REQUEST, "the body is no Parquet file that can be read", told.decode()[:300], "Parquet")


def _unpack(body: bytes, num_classes: int, most: int) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from zooaudit.serving.bodies import check_schema, from_table

    file = pq.ParquetFile(pa.BufferReader(body))
    schema = file.schema_arrow
    check_schema(schema)
    if not 1 <= file.metadata.num_rows <= most:
        raise AnswersError.of(f"{file.metadata.num_rows:,} rows", f"1 to {most:,}, one a question")
    return bytes(from_table(file.read(use_threads=False), num_classes).numpy().astype("<f4").tobytes())


def main() -> None:
    """Read bodies from standard input until it ends."""
    import pyarrow.parquet  # noqa: F401  before the limit

    import zooaudit.serving.bodies  # noqa: F401

    own = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() if sys.platform == "linux" else 2**31  # noqa: SIM115
    resource.setrlimit(resource.RLIMIT_AS, (own + MEMORY_BYTES, own + MEMORY_BYTES))
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    sink.write(HEADER.pack(OK, 0))
    sink.flush()
    while asked := source.read(ASKED.size):
        size, num_classes, most = ASKED.unpack(asked)
        body = source.read(size)
        try:
            status, told = OK, _unpack(body, num_classes, most)
        except AnswersError as error:
            status, told = WRONG, f"{error.found}\0{error.expected}".encode()
        except Exception as error:  # noqa: BLE001  whatever an attacker's file makes the library raise, MemoryError too
            status, told = NO_PARQUET, (str(error).strip() or type(error).__name__).splitlines()[0][:300].encode()
        sink.write(HEADER.pack(status, len(told)) + told)
        sink.flush()


if __name__ == "__main__":
    main()
