"""Callers of the service that want more than their share, and what is away or full while it works."""

import threading
import time
from dataclasses import replace

import pytest

from tests.support.auditors import asked, auditor, ended, until
from tests.support.collecting import Notebook
from tests.support.collecting import key as counted
from tests.support.strangers import Stranger
from zooaudit.errors import LimitError
from zooaudit.serving.audit_queue import AuditQueue, QueuedAudit
from zooaudit.serving.audit_records import OPEN
from zooaudit.serving.settings import Settings
from zooaudit.telemetry.metrics import SERVICE_AUDITS


def test_a_key_has_so_many_open_audits_and_the_others_come_first(
    kit_store: tuple[str, str], auditor_settings: Settings, own_stranger: Stranger
) -> None:
    own_stranger.slow_s = 0.2
    with auditor(replace(auditor_settings, open_audits=6)) as made:
        many = [
            made.submit("greedy", asked(kit_store[1], own_stranger.url, scale=1 + i * 1e-6))["id"]
            for i in range(6)
        ]
        with pytest.raises(
            LimitError, match="has 6 audits that have not ended; this service takes 6 at a time"
        ):
            made.submit("greedy", asked(kit_store[1], own_stranger.url))
        small = made.submit("modest", asked(kit_store[1], own_stranger.url))["id"]
        ended(made, small)
        states = [(made.get(i) or {})["state"] for i in many]
        assert states.count("done") <= 3, (
            "three of four places at most are one key's, so that the last to come was in the first round"
        )
        listed = [a["state"] in OPEN for a in made.all(None)]
        assert listed == sorted(listed, reverse=True) and not listed[-1], (
            "those that have not ended are listed first"
        )
        own_stranger.slow_s = 0.0
        assert {ended(made, i)["state"] for i in many} == {"done"}


def test_many_audits_that_are_sent_at_once_are_no_more_than_may_be(
    kit_store: tuple[str, str],
    auditor_settings: Settings,
    own_stranger: Stranger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own_stranger.slow_s = 5.0
    together, refused = threading.Barrier(8), []
    with auditor(replace(auditor_settings, open_audits=2)) as made:
        monkeypatch.setattr(made._limits, "check", lambda *_: together.wait())

        def one(number: int) -> None:
            try:
                made.submit("greedy", asked(kit_store[1], own_stranger.url, scale=1 + number * 1e-6))
            except LimitError as error:
                refused.append(str(error))

        threads = [threading.Thread(target=one, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(refused) == 6 and len(made.all("greedy")) == 2


@pytest.mark.parametrize("under_way", [True, False])
def test_an_audit_that_was_cancelled_is_counted_and_forgotten(
    under_way: bool,
    kit_store: tuple[str, str],
    auditor_settings: Settings,
    own_stranger: Stranger,
    notebook: Notebook,
) -> None:
    own_stranger.slow_s = 0.2
    with auditor(auditor_settings) as made:
        ids = [
            made.submit("a", asked(kit_store[1], own_stranger.url, scale=1 + i * 1e-6))["id"]
            for i in range(4)
        ]
        until(
            lambda: (
                (made.get(ids[0]) or {})["state"] == "running"
                and (made.get(ids[2]) or {})["state"] == "running"
            )
        )
        one = ids[0] if under_way else ids[3]
        made.cancel(one)
        own_stranger.slow_s = 0.0
        until(lambda: one not in made._stopped)
        until(lambda: notebook.times[counted(SERVICE_AUDITS, state="cancelled")])
    assert notebook.times[counted(SERVICE_AUDITS, state="cancelled")] == 1


def test_the_line_is_fair_and_lets_suspected_ones_run_one_at_a_time() -> None:
    line = AuditQueue(most_of_one=3)
    for number in range(5):
        line.put(QueuedAudit(f"a{number}", "a"))
    line.put(QueuedAudit("b0", "b"))
    line.put(QueuedAudit("c0", "c", not_before=time.monotonic() + 0.2))
    taken = [found.id for _ in range(5) if (found := line.take())]
    assert taken == ["a0", "b0", "a1", "a2", "c0"], "the fifth place waits for another key's"
    line.close()
    assert line.take() is None
    line = AuditQueue(3)
    for name in "xyz":
        line.put(QueuedAudit(name, name, time.monotonic(), interrupted=name != "z"))
    taken = [found.id for _ in range(2) if (found := line.take())]
    assert taken == ["z", "x"]
    threading.Timer(0.1, line.done, ("x",)).start()
    assert (line.take() or QueuedAudit("", "")).id == "y"


def test_a_key_and_a_host_have_so_many_queries_a_day(
    kit_store: tuple[str, str], auditor_settings: Settings, own_stranger: Stranger
) -> None:
    with auditor(replace(auditor_settings, queries_a_day=70, host_queries_a_day=100)) as made:
        first = ended(
            made, made.submit("a", asked(kit_store[1], own_stranger.url, ask_everything=True))["id"]
        )
        assert (
            first["state"] == "failed"
            and "lets a key charge 70" in first["error"]
            and 60 < own_stranger.computed <= 70
        )
        second = ended(
            made, made.submit("b", asked(kit_store[1], own_stranger.url, ask_everything=True))["id"]
        )
        assert (
            second["state"] == "failed"
            and "no more than 100 queries in 24 hours, over all its callers" in second["error"]
        )
        assert 90 < own_stranger.computed <= 100 and own_stranger.url not in second["error"]
    # It is remembered.
    with auditor(replace(auditor_settings, queries_a_day=70, host_queries_a_day=1000)) as made:
        result = ended(
            made, made.submit("a", asked(kit_store[1], own_stranger.url, ask_everything=True))["id"]
        )
        assert (
            result["state"] == "failed"
            and "lets a key charge 70" in result["error"]
            and own_stranger.computed <= 100
        )


def test_what_was_refused_counts_against_nobody(
    kit_store: tuple[str, str], auditor_settings: Settings, own_stranger: Stranger
) -> None:
    own_stranger.flaky = 0.4
    with auditor(replace(auditor_settings, queries_a_day=130)) as made:
        done = ended(made, made.submit("a", asked(kit_store[1], own_stranger.url, ask_everything=True))["id"])
        assert done["state"] == "done", done
        assert (
            made._records.spent(owner="a")[0]
            == own_stranger.computed
            == made._records.spent(host="127.0.0.1")[0]
        )


def test_a_key_has_so_much_time_a_day(
    kit_store: tuple[str, str], auditor_settings: Settings, own_stranger: Stranger
) -> None:
    own_stranger.slow_s = 0.3
    with auditor(replace(auditor_settings, hours_a_day=1.0 / 3600)) as made:
        result = ended(
            made,
            made.submit("a", asked(kit_store[1], own_stranger.url, concurrency=1, ask_everything=True))["id"],
        )
        assert (
            result["state"] == "failed" and "audits took" in result["error"] and own_stranger.computed < 100
        )
        with pytest.raises(LimitError, match="took"):
            made.submit("a", asked(kit_store[1], own_stranger.url))
