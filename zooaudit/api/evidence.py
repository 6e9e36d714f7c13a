"""Evidence packs from Python."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zooaudit.api.command import run


@dataclass(frozen=True)
class Verification:
    """The result of checking an evidence pack.

    Attributes:
        rejected: whether any check failed.
        findings: one for each check: ``check``, ``passed`` (None if it was not made) and ``text``.
        facts: what identifies the pack: suspect, kit, digests.
    """

    rejected: bool
    findings: tuple[dict[str, Any], ...]
    facts: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return self.facts | {"rejected": self.rejected, "findings": list(self.findings)}


def verify(pack: str | Path, **options: Any) -> Verification:
    """Check an evidence pack: its digests, its verdict, and with ``with_models=True`` the victim's rank among
    twins that are trained here.

    Args:
        options: those of ``zooaudit evidence verify``, with ``_`` for ``-``.

    Raises:
        InputError: not a pack, or one of another version. A pack that was changed raises nothing: it is
            ``rejected``.
    """
    result = run("evidence", options, ("verify", str(pack)))
    facts = {k: v for k, v in result.items() if k not in ("rejected", "findings")}
    return Verification(result["rejected"], tuple(result["findings"]), facts)
