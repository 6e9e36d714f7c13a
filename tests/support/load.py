"""The service under Ray Serve, and requests that keep it busy."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.kits import K, make_kit
from tests.support.makers import near
from tests.support.serving import Client, Reply, Served, as_numbers, sys_path
from zooaudit.serving.bodies import RAW
from zooaudit.serving.settings import DATA, OPEN, STORE
from zooaudit.suspects.blackbox import TorchBlackBox

CLIENTS = 4


@contextmanager
def running(folder: Path, store: str) -> Iterator[tuple[Served, Client]]:
    """The service under Ray Serve, open to all."""
    served = Served(
        {
            STORE: store,
            OPEN: "1",
            DATA: str(folder / "data"),
            "PYTHONPATH": os.pathsep.join(sys_path()),
            **s3_settings(),
        }
    )
    try:
        yield served, Client(served.wait().address)
    finally:
        served.stop()


def s3_settings() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k.startswith(("AWS_", "ZOOAUDIT_S3", "ZOOAUDIT_STORE_"))}


def scoring(client: Client, id_: str) -> Callable[[], Reply]:
    """One request: a copy's answers to a kit's questions."""
    body = as_numbers(TorchBlackBox(near(0, 70), K).ask(make_kit().twin_test.questions()))
    return lambda: client.ask(f"/kits/{id_}/score?suspect=s", body, Content_Type=RAW)
