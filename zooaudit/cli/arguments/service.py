"""Options of the subcommands around the service."""

import argparse

from zooaudit.choices import SCOPES

DATA, KEYS = "serve-data", "keys.toml"
SERVE = """zooaudit serve --store ./store
  zooaudit serve --store s3://bucket/audits --suspects models.example,10.0.0.7:8080"""
KEY = "zooaudit key --name team-a --scopes read,score --per-minute 600 --expires 2027-01-01"


def add_serve(parser: argparse.ArgumentParser) -> None:
    """Of ``serve``."""
    add = parser.add_argument
    add(
        "--host",
        default="127.0.0.1",
        help=(
            "address to listen on; it is plain HTTP: for others put a proxy with TLS before it (%(default)s)"
        ),
    )
    add("--port", type=int, default=8000, help="(default: %(default)s)")
    add(
        "--data",
        metavar="DIR",
        default=DATA,
        help="audits, their ledgers, keys, and the log of who asked what (default: ./%(default)s)",
    )
    add(
        "--keys",
        metavar="FILE",
        help="keys of callers (default: keys.toml in --data; a first one is made if there is none)",
    )
    add("--open", action="store_true", help="no keys: whoever reaches it may do everything")
    add(
        "--suspects",
        metavar="HOSTS",
        default="",
        help=(
            "hosts whose prediction APIs the service may ask, host or host:port, with commas between them"
            " (default: none)"
        ),
    )
    add(
        "--model-files",
        type=int,
        metavar="MIB",
        help=(
            "let callers send a suspect as a file, .onnx or .safetensors, of at most so many MiB: it is run"
            " here, in a limited process (default: ZOOAUDIT_SERVE_MODELS_MIB, or 0 for none)"
        ),
    )
    add(
        "--training-images",
        action="store_true",
        help="hand out the questions of the paper's test, which show the victim's training images",
    )


def add_key(parser: argparse.ArgumentParser) -> None:
    """Of ``key``."""
    add = parser.add_argument
    add("--name", required=True, help="whose it is, for the log")
    add(
        "--scopes",
        default="read,score",
        help=f"what it may do, of {', '.join(SCOPES)}, with commas between them (default: %(default)s)",
    )
    add(
        "--per-minute",
        type=int,
        default=0,
        metavar="N",
        help="requests a minute, by each replica (default: no limit)",
    )
    add("--expires", metavar="DATE", help="the first day on which it is not accepted, UTC (default: never)")
    add(
        "--keys",
        metavar="FILE",
        default=f"{DATA}/{KEYS}",
        help="file of keys; a running service notices (default: ./%(default)s)",
    )
