"""``/metrics`` on the service itself: for whoever may administer it, and for nobody else."""

from pathlib import Path

from fastapi.testclient import TestClient

from tests.support.service import Place, all_counts, problem
from zooaudit.serving.application import make_app
from zooaudit.serving.settings import Settings


def test_metrics_are_behind_the_operators_key(place: Place) -> None:
    for name in ("admin", "all"):
        reply = place.ask("/metrics", name)
        assert reply.status_code == 200 and reply.text.endswith("ray_zooaudit_scores_total 3.0\n")
        assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    for name in ("read", "score", "audit"):
        problem(place.ask("/metrics", name), 403, "scope admin")
    problem(place.ask("/metrics", ""), 401)


def test_a_service_that_nobody_counts_for_says_so(tmp_path: Path) -> None:
    with TestClient(make_app(Settings(str(tmp_path))), base_url="http://localhost") as client:
        problem(client.get("/metrics"), 404, "this service has no metrics")


def test_an_open_service_shows_them_to_its_own_machine_only(tmp_path: Path) -> None:
    app = make_app(Settings(str(tmp_path)), metrics=all_counts)
    with (
        TestClient(app, base_url="http://localhost") as own,
        TestClient(app, base_url="http://elsewhere.example") as other,
    ):
        assert own.get("/metrics").status_code == 200
        problem(other.get("/metrics"), 403)
