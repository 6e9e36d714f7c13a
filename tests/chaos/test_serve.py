"""The service while its bucket is down."""

import threading
import time

import pytest
import uvicorn

from cluster.seaweed import Seaweed, free_ports
from tests.support.kits import make_kit
from tests.support.serving import Client, assert_problem, once_back
from zooaudit.kits.kit import save_kit
from zooaudit.serving import kits
from zooaudit.serving.application import make_app
from zooaudit.serving.settings import QUERIES, Settings
from zooaudit.storage.opening import open_store

pytestmark = pytest.mark.serve


@pytest.mark.s3
@pytest.mark.chaos
def test_a_bucket_that_is_down_is_a_503_until_it_is_back(
    own_server: Seaweed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same application without Ray; it starts though the store does not answer."""
    monkeypatch.setattr(kits, "DEADLINE_S", 1.0)
    id_ = save_kit(open_store("s3://zoo/x"), make_kit()).id
    own_server.kill()
    (port,) = free_ports(1)
    server = uvicorn.Server(
        uvicorn.Config(make_app(Settings("s3://zoo/x", ())), host="127.0.0.1", port=port, log_config=None)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        client = Client(f"http://127.0.0.1:{port}")
        while not server.started:
            time.sleep(0.05)
        assert client.ask("/health").status == 200
        for _ in range(2):
            reply = client.ask("/ready")
            assert_problem(reply, 503, "the store does not answer")
            assert "zoo/x" not in reply.content.decode()
        own_server.start()
        assert once_back(client, f"/kits/{id_}").json()["id"] == id_
        own_server.kill()
        assert_problem(client.ask("/kits"), 503)
        assert client.ask(f"/kits/{id_}").status == 200
        assert_problem(client.ask(f"/kits/{id_}/queries?method=paper"), 403, QUERIES)
    finally:
        server.should_exit = True
        thread.join(30)
