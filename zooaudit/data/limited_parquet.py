"""Read Parquet from strangers in a process of its own: the unpacked size of a small file cannot be known
beforehand. That process has limited memory and time; if it dies, the file is refused and another process is
started.

The result is an Arrow stream, whose size is known before it is read.
"""

import contextlib
import os
import resource
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from zooaudit.errors import DataError, ZooauditError

MEMORY_BYTES = 512 * 2**20
"""Memory beyond what the process has once its libraries are loaded."""
TABLE_BYTES = 256 * 2**20
"""The most bytes of a table, unless more is allowed."""
MOST_MEMORY_BYTES = 2**34
SECONDS, START_S = 10.0, 60.0
"""Seconds to unpack one file of the usual size, and before that for the process to start."""
OK, NO_PARQUET = 0, 1
HEADER = struct.Struct("<BQQ")
"""Header of a response: status, the number of rows in the file, the number of bytes that follow."""
ASKED = struct.Struct("<QQQQ")
"""Header of a request: bytes of the file, most rows and bytes of the table, memory."""
ROWS_ANY = 2**63 - 1


class NotStarted(ZooauditError):
    """The process that reads Parquet cannot be started; this is not the file's fault."""


class Reader:
    """The process, started when it is first needed; one file at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def table(
        self, body: bytes, most_rows: int = ROWS_ANY, most_bytes: int | None = None
    ) -> tuple[pa.Table, int]:
        """A Parquet file's table and its number of rows; if these are more than ``most_rows``, the table is
        empty.

        Args:
            body: the file.
            most_bytes: of the table in memory; None for ``TABLE_BYTES``.

        Raises:
            DataError: not Parquet, or a file that unpacks to more, or takes longer.
            NotStarted: the reading process cannot be started.
        """
        most_bytes = TABLE_BYTES if most_bytes is None else most_bytes
        memory = MEMORY_BYTES + 3 * most_bytes  # as pages, and as a table that grows
        seconds = SECONDS * (1 + most_bytes / TABLE_BYTES)
        with self._lock:
            process = self._started()
            try:
                asked = ASKED.pack(len(body), most_rows, most_bytes, memory)
                status, rows, result = self._exchanged(process, (asked, body), seconds)
            except (OSError, struct.error):
                self._ended(process)
                raise DataError(f"it takes more than {memory >> 20} MiB or {seconds:g} s to unpack") from None
            except BaseException:  # for example Ctrl-C: a late response would be read as the next file's
                self._ended(process)
                raise
        if status != OK:
            raise DataError(result.decode(errors="replace"))
        return pa.ipc.open_stream(pa.py_buffer(result)).read_all(), rows

    def _started(self) -> "subprocess.Popen[bytes]":
        """Start the process and wait until its libraries are loaded, which on a busy machine takes long
        through no fault of a file."""
        if self._process is None or self._process.poll() is not None:
            root = str(Path(__file__).parents[2])
            path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
            # Arrow's usual pools keep a large file's memory, which would then be missing for a file with a
            # smaller limit.
            env = os.environ | {"PYTHONPATH": path, "ARROW_DEFAULT_MEMORY_POOL": "system"}
            # -P: the current folder may be a stranger's, with its own pyarrow
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=env,
            )
            try:
                self._exchanged(self._process, (), START_S)
            except (OSError, struct.error) as error:
                self._ended(self._process)
                raise NotStarted("the process that reads Parquet does not start; try again later") from error
        return self._process

    @staticmethod
    def _exchanged(
        process: "subprocess.Popen[bytes]", asked: tuple[bytes, ...], seconds: float
    ) -> tuple[int, int, bytes]:
        """Send bytes, and wait for status, rows and result; kill the process if they do not come in time."""
        assert process.stdin and process.stdout
        clock = threading.Timer(seconds, process.kill)
        clock.daemon = True
        clock.start()
        try:
            for part in asked:
                process.stdin.write(part)
            process.stdin.flush()
            status, rows, size = HEADER.unpack(process.stdout.read(HEADER.size))
            result = process.stdout.read(size)
            if len(result) != size:
                raise BrokenPipeError
            return status, rows, result
        finally:
            clock.cancel()

    def _ended(self, process: "subprocess.Popen[bytes]") -> None:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # unwritten bytes are discarded
                if pipe:
                    pipe.close()
        self._process = None


reader = Reader()


def _unpacked(body: bytes, most_rows: int, most_bytes: int) -> tuple[int, pa.Table]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(pa.BufferReader(body))
    rows = file.metadata.num_rows
    if rows > most_rows:
        table = file.schema_arrow.empty_table()
    else:
        table = file.read(use_threads=False)
        if table.nbytes > most_bytes:
            raise DataError(f"it unpacks to {table.nbytes:,} bytes; expected {most_bytes:,} at most")
        table.validate(full=True)
    return rows, table


def _sent(table: pa.Table, rows: int, sink: BinaryIO) -> None:
    """Write a response: its length, then the table, without a second copy of it."""
    counted = pa.MockOutputStream()
    _streamed(table, counted)
    sink.write(HEADER.pack(OK, rows, counted.size()))
    _streamed(table, sink)
    sink.flush()


def _streamed(table: pa.Table, out: Any) -> None:
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)


def _limited(memory: int, most: int) -> int:
    """Limit this process's memory, within the limit that it started with; returns how much it may ever use.
    macOS, where a process starts above any limit, refuses: there only the table's size and the time are
    limited."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (min(memory, most), most))
    except (ValueError, OSError):
        if sys.platform == "linux":
            raise
    return most


def main() -> None:
    """Read files from standard input until it ends."""
    import pyarrow.parquet  # noqa: F401  before the limit

    own = (
        int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        if sys.platform == "linux"
        else 2**31
    )
    most = _limited(own + MEMORY_BYTES, own + MOST_MEMORY_BYTES)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    sink.write(HEADER.pack(OK, 0, 0))
    sink.flush()
    while asked := source.read(ASKED.size):
        size, most_rows, most_bytes, memory = ASKED.unpack(asked)
        _limited(own + min(memory, MOST_MEMORY_BYTES), most)
        body = source.read(
            size
            # If the file was too large for memory, end the process: the rest of its bytes must not be
            # read as the next request.
        )
        try:
            rows, table = _unpacked(body, most_rows, most_bytes)
        except Exception as error:  # noqa: BLE001  whatever an attacker's file makes the library raise, MemoryError too
            result = (
                (str(error).strip() or type(error).__name__).splitlines()[0][:300].encode(errors="replace")
            )
            sink.write(HEADER.pack(NO_PARQUET, 0, len(result)) + result)
            sink.flush()
        else:
            _sent(table, rows, sink)
            del table
        del body


if __name__ == "__main__":
    main()
