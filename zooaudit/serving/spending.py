"""What audits charge and how long they take: counted, and held to what a key and a host may have in a day."""

import contextlib
import time

from zooaudit.errors import LimitError, NotWrittenError
from zooaudit.serving.audit_records import HOUR_S, AuditRecords
from zooaudit.serving.settings import Settings


class Limits:
    """What a key, and all keys of a host, may spend in 24 hours."""

    def __init__(self, settings: Settings, records: AuditRecords) -> None:
        self.settings, self.records = settings, records

    def refuse_if_many(self, by: str) -> None:
        """Raises:
        LimitError: the key has as many audits that have not ended as it may.
        """
        if (open_ := len(self.records.open(by))) >= self.settings.open_audits:
            raise LimitError(
                f"the key {by} has {open_} audits that have not ended; this service takes"
                f" {self.settings.open_audits} at once"
            )

    def check(self, by: str, host: str, images: int) -> None:
        """Raises:
        LimitError: a key, or all of them of a host, would spend more than they may.
        """
        settings = self.settings
        queries, seconds = self.records.spent(by=by)
        if queries + images > settings.queries_a_day:
            raise LimitError(
                f"the audits of the key {by} charged {queries:,} queries in 24 hours, and {images:,} more are"
                f" needed; this service lets a key charge {settings.queries_a_day:,}"
            )
        if seconds >= settings.hours_a_day * HOUR_S:
            raise LimitError(
                f"the audits of the key {by} took {seconds / HOUR_S:.1f} h in 24; this service gives a key"
                f" {settings.hours_a_day:g}"
            )
        if self.records.spent(host=host)[0] + images > settings.host_queries_a_day:
            raise LimitError(
                f"this service asks {host} no more than {settings.host_queries_a_day:,} queries in 24 hours,"
                " over all its callers"
            )


class Spending:
    """What one audit charges and how long it takes, counted for its key and its suspect's
    host as it happens."""

    def __init__(self, limits: Limits, id_: str, by: str, host: str) -> None:
        self._limits, self._id, self._by, self._host = limits, id_, by, host
        self._records, self._got_on = limits.records, False
        self._since = time.monotonic()
        self._end = self._since + limits.settings.hours_a_day * HOUR_S - self._records.spent(by=by)[1]

    @property
    def time_is_up(self) -> bool:
        return time.monotonic() > self._end

    def queries(self, images: int) -> None:
        """Before a request is sent; with a minus after it was refused."""
        if images > 0:
            self._limits.check(self._by, self._host, images)
        now = time.monotonic()
        taken, self._since = now - self._since, now
        self._records.spend(self._by, self._host, images, taken)

    def answered(self) -> None:
        """An answer came: the audit gets on."""
        if not self._got_on:
            self._records.got_on(self._id)
            self._got_on = True

    def __enter__(self) -> "Spending":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(NotWrittenError):
            self.queries(0)
