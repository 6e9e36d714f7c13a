"""Count what audits charge and how long they take, and enforce the daily limits of keys and hosts."""

import contextlib
import time

from zooaudit.errors import LimitError, NotWrittenError
from zooaudit.serving.audit_records import HOUR_S, AuditRecords
from zooaudit.serving.settings import Settings


class Limits:
    """The limits of a key, and of a host over all keys, in 24 hours."""

    def __init__(self, settings: Settings, records: AuditRecords) -> None:
        self.settings, self.records = settings, records

    def refuse_if_many(self, owner: str) -> None:
        """Raises:
        LimitError: the key has its maximum of audits that have not ended.
        """
        if (open_ := len(self.records.open(owner))) >= self.settings.open_audits:
            raise LimitError(
                f"the key {owner} has {open_} audits that have not ended; this service takes"
                f" {self.settings.open_audits} at a time"
            )

    def check(self, owner: str, host: str, images: int) -> None:
        """Raises:
        LimitError: the key, or the host over all keys, would exceed its limit.
        """
        settings = self.settings
        queries, seconds = self.records.spent(owner=owner)
        if queries + images > settings.queries_a_day:
            raise LimitError(
                f"the audits of the key {owner} charged {queries:,} queries in 24 hours, and {images:,} more"
                f" are needed; this service lets a key charge {settings.queries_a_day:,}"
            )
        if seconds >= settings.hours_a_day * HOUR_S:
            raise LimitError(
                f"the audits of the key {owner} took {seconds / HOUR_S:.1f} h in 24; this service gives a key"
                f" {settings.hours_a_day:g}"
            )
        if self.records.spent(host=host)[0] + images > settings.host_queries_a_day:
            raise LimitError(
                f"this service asks {host} no more than {settings.host_queries_a_day:,} queries in 24 hours,"
                " over all its callers"
            )


class Spending:
    """One audit's charges and time, counted for its key and its suspect's host as they arise."""

    def __init__(self, limits: Limits, id_: str, owner: str, host: str) -> None:
        self._limits, self._id, self._owner, self._host = limits, id_, owner, host
        self._records, self._got_on = limits.records, False
        self._since = time.monotonic()
        self._end = self._since + limits.settings.hours_a_day * HOUR_S - self._records.spent(owner=owner)[1]

    @property
    def time_is_up(self) -> bool:
        return time.monotonic() > self._end

    def queries(self, images: int) -> None:
        """Count images before a request is sent; negative after it was refused."""
        if images > 0:
            self._limits.check(self._owner, self._host, images)
        now = time.monotonic()
        taken, self._since = now - self._since, now
        self._records.spend(self._owner, self._host, images, taken)

    def answered(self) -> None:
        """Note a new answer."""
        if not self._got_on:
            self._records.got_on(self._id)
            self._got_on = True

    def __enter__(self) -> "Spending":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(NotWrittenError):
            self.queries(0)
