"""Store, service and console on one machine: SeaweedFS with a copy of a local store's kits, and
``zooaudit serve`` on it.

    python cluster/one_machine.py --copy store --dir s3-data            (or: make serve)

Runs until interrupted; started again it goes on with what is there. Arguments after ``--``
go to ``zooaudit serve``.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from seaweed import Seaweed, make_bucket  # type: ignore[import-not-found]  # beside this file

BUCKET, PREFIX = "zooaudit", "store"


def main() -> int:
    """Start both, end both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--dir",
        type=Path,
        default=Path("s3-data"),
        help="the S3 server's data and keys (default: %(default)s)",
    )
    parser.add_argument("--port", type=int, default=8333, help="of S3; 0: any (default: %(default)s)")
    parser.add_argument(
        "--copy",
        type=Path,
        default=Path("store"),
        help="local store to copy into the bucket first, if it is there (default: %(default)s)",
    )
    parser.add_argument("serve", nargs="*", help="options of 'zooaudit serve', after --")
    args = parser.parse_args()
    server = Seaweed(args.dir, args.port).start()
    place, zooaudit = f"s3://{BUCKET}/{PREFIX}", [sys.executable, "-m", "zooaudit"]
    environment = {**os.environ, **server.environment}
    try:
        make_bucket(server, BUCKET)
        print(f"S3 server at {server.endpoint}, data in {args.dir}", file=sys.stderr)
        if args.copy.is_dir():
            subprocess.run(
                [*zooaudit, "store", "copy", "--store", str(args.copy), "--to", place],
                env=environment,
                check=True,
            )
        return subprocess.run([*zooaudit, "serve", "--store", place, *args.serve], env=environment).returncode
    except KeyboardInterrupt:
        return 0
    except subprocess.CalledProcessError as error:
        return error.returncode
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(main())
