"""How long to wait before something is tried again."""


def doubled_s(failures: int, first_s: float, longest_s: float) -> float:
    """``first_s`` seconds, doubled after each failure in a row, up to ``longest_s``. Multiply it by a random
    number, so that callers that failed together do not retry together."""
    return min(longest_s, first_s * 2.0 ** min(failures, 60))
