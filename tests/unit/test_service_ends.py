"""The service ends soon, whatever it is doing, and loses no answer that was paid for."""

import time
from pathlib import Path

import pytest

from tests.support.auditors import asked, ended, until
from tests.support.scripted import Asked, Reply, scripted
from tests.support.service import CLASSES, COPY
from tests.support.strangers import Stranger, serving
from zooaudit.errors import InputError
from zooaudit.serving import audit_queue as lines
from zooaudit.serving.audit_queue import AuditQueue, QueuedAudit
from zooaudit.serving.auditor import Auditor
from zooaudit.serving.settings import Settings
from zooaudit.suspects.ledger import Ledger


def test_a_suspects_answers_cannot_stop_the_service_from_ending(
    kit_store: tuple[str, str], auditor_settings: Settings
) -> None:
    def slow(_: Asked) -> Reply:
        time.sleep(30)
        return 200, {}, b""

    with scripted(slow) as url:
        made = Auditor(auditor_settings)
        made.submit("a", asked(kit_store[1], url, "/v1/models/m:predict"))
        time.sleep(0.5)
        begun = time.monotonic()
        made.close()
        assert time.monotonic() - begun < 5


def test_an_answer_that_is_under_way_when_the_service_ends_is_kept(
    kit_store: tuple[str, str], auditor_settings: Settings
) -> None:
    """It is paid for; the next start goes on without asking for it again."""
    with serving(Stranger(COPY, CLASSES)) as stranger:
        stranger.slow_s = 1.0
        made = Auditor(auditor_settings)
        id_ = made.submit("a", asked(kit_store[1], stranger.url, concurrency=1))["id"]
        until(lambda: stranger.computed)
        made.close()
        before = stranger.computed
        made_again = Auditor(auditor_settings)
        stranger.slow_s = 0.0
        done = ended(made_again, id_)
        made_again.close()
        assert done["state"] == "done" and done["result"]["lost"] == 0
        assert done["result"]["charged"] == stranger.computed > before


def test_audits_that_are_suspected_get_their_turn_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "HELD_BACK_S", 0.3)
    line = AuditQueue(most_of_one=3)
    line.put(QueuedAudit("suspected", "a", not_before=time.monotonic(), interrupted=True))
    taken: list[str] = []
    end = time.monotonic() + 5
    while "suspected" not in taken and time.monotonic() < end:
        line.put(QueuedAudit(f"b{len(taken)}", "b", not_before=time.monotonic()))  # others keep coming
        found = line.take()
        assert found
        taken.append(found.id)
        line.done(found.id)
        time.sleep(0.02)
    assert "suspected" in taken[3:], "the others first, but not for ever"


def test_a_ledger_that_cannot_be_used_leaves_nothing_open(tmp_path: Path) -> None:
    Ledger(tmp_path / "a.sqlite", {"of": 0}, 10).close()
    for _ in range(3):
        with pytest.raises(InputError, match="is for"):
            Ledger(tmp_path / "a.sqlite", {"of": "another"}, 10)
    open_files = [p.resolve() for p in Path("/proc/self/fd").iterdir() if p.exists()]
    assert not [p for p in open_files if tmp_path in p.parents], open_files
