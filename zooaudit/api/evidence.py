"""Evidence packs from Python."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zooaudit.api.command import run


@dataclass(frozen=True)
class Verification:
    """What was found out about a pack of evidence.

    Attributes:
        rejected: whether anything speaks against it.
        findings: one a check: ``check``, ``passed`` (None where it was not looked at) and ``text``.
        facts: what identifies the pack: suspect, kit, digests.
    """

    rejected: bool
    findings: tuple[dict[str, Any], ...]
    facts: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return self.facts | {"rejected": self.rejected, "findings": list(self.findings)}


def verify(pack: str | Path, **options: Any) -> Verification:
    """Check a pack of evidence: its digests, its verdict, and with ``with_models=True`` the victim among
    twins that are trained here.

    Args:
        options: those of ``zooaudit evidence verify``, with ``_`` for ``-``.

    Raises:
        InputError: no pack, or one of another version. One that was changed is no error: it is ``rejected``.
    """
    result = run("evidence", options, ("verify", str(pack)))
    facts = {k: v for k, v in result.items() if k not in ("rejected", "findings")}
    return Verification(result["rejected"], tuple(result["findings"]), facts)
