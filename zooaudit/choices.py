"""What options and the code behind them may be given. Imports nothing, so that help is answered at once."""

from typing import Literal, get_args

SEEN = "seen"
"""Answers are read as what the first of them look like."""
ACCESS = (
    "probabilities, top-K (top-3: the three likeliest classes), rounded-D (rounded-2: two decimals) or label"
)
Correction = Literal["holm", "bh", "none"]
CORRECTIONS: tuple[Correction, ...] = get_args(Correction)
SCOPES = ("read", "score", "audit", "admin", "evidence")
"""``read``: kits and their questions; ``score``: answers; ``audit``: have the service ask a suspect;
``admin``: see everybody's audits and verdicts; ``evidence``: explanations and evidence packs, which show what
the victim and its twins answered."""
