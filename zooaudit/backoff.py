"""How long to wait before something is tried again."""


def doubled_s(failures: int, first_s: float, longest_s: float) -> float:
    """``first_s`` seconds, twice as long after each failure in a row, ``longest_s`` at most. Times a random
    share of it, callers that failed together do not come again together."""
    return min(longest_s, first_s * 2.0 ** min(failures, 60))
