"""The values that options accept. Imports nothing, so that help appears quickly."""

from typing import Literal, get_args

SEEN = "seen"
"""How a suspect's answers are read by default: the form is inferred from the first of them."""
ACCESS = (
    "probabilities, top-K (top-3: the three likeliest classes), rounded-D (rounded-2: two decimals) or label"
)
Correction = Literal["holm", "bh", "none"]
CORRECTIONS: tuple[Correction, ...] = get_args(Correction)
SCOPES = ("read", "score", "audit", "admin", "evidence")
"""``read``: kits and their questions; ``score``: answers; ``audit``: have the service ask a suspect;
``admin``: see everybody's audits and verdicts; ``evidence``: explanations and evidence packs, which show what
the victim and its twins answered."""
