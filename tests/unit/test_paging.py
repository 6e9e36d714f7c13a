"""Lists come in pages."""

from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from tests.support.kits import make_kit
from tests.support.service import Place, ended, problem, submitted
from tests.support.strangers import Stranger
from zooaudit.kits.kit import save_kit
from zooaudit.serving.application import make_app
from zooaudit.serving.audit_records import AuditRecords
from zooaudit.serving.settings import Settings
from zooaudit.storage.opening import open_store


def pages(place: Place, path: str, what: str, limit: int, key: str = "all") -> list[list[Any]]:
    found, cursor = [], ""
    while True:
        data = place.ask(f"{path}{'&' if '?' in path else '?'}limit={limit}{cursor}", key).json()
        found.append(data[what])
        assert len(data[what]) <= limit
        if data["next"] is None:
            return found
        cursor = f"&cursor={data['next']}"


def test_lists_come_in_pages(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    ids = sorted(save_kit(store, make_kit(facts={"n": i})).id for i in range(5))
    for name in ("b", "a", "c"):
        store.save("report", name, {"report.html": name.encode()}, {})
    with TestClient(make_app(Settings(str(tmp_path / "store"))), base_url="http://localhost") as client:
        place = Place(client, make_kit(), ids[0], {"all": "k"}, tmp_path)
        found = pages(place, "/kits", "kits", 2)
        assert [[k["id"] for k in page] for page in found] == [ids[:2], ids[2:4], ids[4:]]
        assert pages(place, "/reports", "reports", 3) == [["a", "b", "c"]] and pages(
            place, "/reports", "reports", 1
        ) == [
            ["a"],
            ["b"],
            ["c"],
        ]
        for limit in ("0", "-1", "1001", "x", "1.5"):
            problem(place.ask(f"/kits?limit={limit}"), 422, "limit")
        for cursor in ("x", "", "W10", "WzFd", "!!!!", "8J-YgA", "W1tbW1tb"):
            for path in ("/kits", "/reports"):
                problem(place.ask(f"{path}?cursor={cursor}"), 422, "cursor")


def test_audits_come_in_pages_and_none_is_left_out(tmp_path: Path) -> None:
    records = AuditRecords(tmp_path / "a.sqlite")
    ids = [
        records.enter("me" if i % 3 else "you", "k", {"suspect": {"url": "http://a/infer"}})
        for i in range(10)
    ]
    for i in (1, 4, 5):
        records.note(ids[i], state="done", result=None)
    expected = [ids[i] for i in (8, 7, 2)] + [ids[i] for i in (5, 4, 1)]
    assert [a["id"] for a in records.listed("me")] == expected
    found, after = [], None
    for _ in range(3):
        page = records.listed("me", limit=2, after=after)
        found += [a["id"] for a in page]
        after = records.place(page[-1])
    assert found == expected and records.listed("me", limit=2, after=after) == []
    first = records.listed(None, limit=4)
    records.note(ids[9], state="failed")  # on the first page: it ends, and may come again
    records.note(ids[3], state="failed")  # not yet seen
    seen, after = [a["id"] for a in first], records.place(first[-1])
    while page := records.listed(None, limit=4, after=after):
        seen, after = [*seen, *(a["id"] for a in page)], records.place(page[-1])
    assert set(seen) == set(ids)
    assert [a["id"] for a in records.listed("me", state="done")] == [ids[i] for i in (5, 4, 1)]
    records.close()


def test_audits_are_asked_for_by_state_and_limit(place: Place, stranger: Stranger) -> None:
    for i in range(3):
        ended(
            place,
            submitted(place, {"url": stranger.url + "/v2/models/m/infer", "scale": 1.0 + i / 1e6}).json()[
                "id"
            ],
        )
    done = [a["id"] for a in place.ask("/audits?state=done", "audit").json()["audits"]]
    assert (
        len(done) >= 3
        and [a["id"] for page in pages(place, "/audits?state=done", "audits", 1, "audit") for a in page]
        == done
    )
    assert place.ask("/audits?state=queued", "audit").json() == {"audits": [], "next": None}
    problem(place.ask("/audits?state=finished", "audit"), 422, "queued", "cancelled")
    problem(place.ask("/audits?cursor=WyJhIl0", "audit"), 422, "cursor")
