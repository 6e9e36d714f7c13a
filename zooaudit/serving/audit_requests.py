"""Read a request for an audit: the suspect, how it is judged, and settings that callers may not use."""

from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlsplit

from zooaudit.choices import SEEN
from zooaudit.errors import ConfigError
from zooaudit.kits.kit import Kit
from zooaudit.scoring.settings import ScoreSettings
from zooaudit.serving.allowed_hosts import refuse_unless_named
from zooaudit.serving.suspects import refuse_idle
from zooaudit.suspects.access import Access
from zooaudit.suspects.remote import Remote, remote_of
from zooaudit.suspects.signing import Signing
from zooaudit.verdict.decision import check_level

NOT_OURS = ("ca", *(f.name for f in fields(Signing)))
"""Settings that would reach into the service's own environment and files, or lead to another host than the
suspect's."""
MOST = {
    "timeout_s": 120.0,
    "patience_s": 900.0,
    "largest_request": 32_000_000,
    "batch": 256,
    "concurrency": 16,
}
FRAMING = (
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "accept-encoding",
    "transfer-encoding",
    "connection",
    "te",
    "upgrade",
    "inference-header-content-length",
)


@dataclass(frozen=True)
class AuditRequest:
    """A request for an audit.

    Attributes:
        access: what the suspect's interface gives; None to infer it from its answers.
        budget: the most queries that may be charged.
        settings: how the suspect is judged.
        fresh: ask everything again, even if there are answers from before.
    """

    remote: Remote
    access: Access | None
    budget: int
    settings: ScoreSettings
    fresh: bool

    @property
    def host(self) -> str:
        """The host whose budget the audit uses."""
        return (urlsplit(self.remote.url).hostname or "").lower().rstrip(".")

    @staticmethod
    def of(asked: dict[str, Any], kit: Kit, allowed: tuple[str, ...]) -> "AuditRequest":
        """Read a request's body, which ``serving/schemas.py`` has already validated.

        Args:
            allowed: hosts that may be asked although their addresses are private.

        Raises:
            InputError: a setting that callers may not use, one out of range, or a forbidden host.
        """
        settings, access = _settings(asked), asked.get("access") or SEEN
        remote = _suspect(asked, kit, allowed)
        if settings.level is not None:
            check_level(settings.level)
        kit.twin_test.stops(settings.queries)
        return AuditRequest(
            remote,
            None if access == SEEN else Access.named(access),
            asked.get("budget") or kit.twin_test.budget,
            settings,
            bool(asked.get("fresh")),
        )


def _suspect(asked: dict[str, Any], kit: Kit, allowed: tuple[str, ...]) -> Remote:
    suspect = asked["suspect"]
    if taboo := sorted(set(suspect) & set(NOT_OURS)):
        raise ConfigError(
            f"the suspect has {', '.join(taboo)}, which are for the command line; send its key in headers"
        )
    remote = remote_of(suspect, kit.named(asked.get("suspect_classes")))
    if taboo := sorted(h for h in remote.headers if h.lower() in FRAMING):
        raise ConfigError(f"the suspect's headers have {', '.join(taboo)}, which the service sets itself")
    for name, most in MOST.items():
        if getattr(remote, name) > most:
            raise ConfigError(f"{name} is {getattr(remote, name):,}; this service takes {most:,} at most")
    refuse_idle(remote, suspect)
    refuse_unless_named(remote.url, allowed)
    return remote


def _settings(asked: dict[str, Any]) -> ScoreSettings:
    return ScoreSettings(
        level=asked.get("level"),
        access=asked.get("access") or SEEN,
        p_value=asked.get("p_value") or "rank",
        queries=asked.get("queries"),
        ask_everything=bool(asked.get("ask_everything")),
        suspect_classes=asked.get("suspect_classes"),
    )
