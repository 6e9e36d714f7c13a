"""How many images go into a request: by number, by bytes, and by what the suspect refused as too much."""

import re
import threading

LOOKED_AT = 4096
"""How many characters of a suspect's message are searched."""
TOO_LARGE = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"batch[- ]size must be <= *(?P<most>\d+)",  # Triton
        r"larger than (?:the )?max(?:imum)?(?: input)? batch size *(?P<most>\d+)?",  # TensorFlow Serving
        (  # Hugging Face
            r"batch size.{0,40}?(?:>|exceeds?|greater"
            r" than).{0,40}?max.{0,40}?(?:size|batch)\D{0,10}(?P<most>\d+)"
        ),
        # BentoML
        r"batch of size \d+ exceeds (?:the )?(?:configured )?max(?:imum)? batch size(?: of)? *(?P<most>\d+)",
        r"should have at most (?P<most>\d+) items",  # FastAPI, pydantic 2
        r"ensure this value has at most (?P<most>\d+) items",  # FastAPI, pydantic 1
        (
            r"(?:payload|request|body|message|entity|content|input|batch)(?: body| entity| length| size)?(?:"
            r" is| was)? too (?:large|big|long)"
        ),
        r"RequestEntityTooLarge|PayloadTooLarge|TooLongFrame",
        (
            r"(?:message|request|payload|body|content)(?: length| size)? (?:size )?(?:exceed(?:s|ed)?|is"
            r" larger than|larger than) "
        ),
        r"failed to satisfy constraint: Member must have length less than or equal to \d+",  # SageMaker
        r"received message larger than max",  # gRPC
        r"index: 0 Got: \d+ Expected: (?P<most>\d+)",  # ONNX Runtime: a batch that is fixed
        r"too many (?:instances|inputs|images|items)",
        r"out of memory",
    )
)


def most_of(status: int, text: str, count: int) -> int:
    """How many images a refused request may have, if it was refused for its size; else 0.

    Args:
        status: the HTTP status, or 0.
        text: the suspect's message.
        count: the number of images in the request.
    """
    found = next((m for p in TOO_LARGE if (m := p.search(text[:LOOKED_AT]))), None)
    if found is None and status != 413:
        return 0
    result = int((found.groupdict().get("most") or "0")[:9]) if found else 0
    return result if 0 < result < count else max(1, count // 2)


class Sizes:
    """The size of requests to one suspect, for many threads: it only shrinks, as limits are found out.

    Args:
        most: images in a request.
        most_bytes: bytes in a request, unless a single image is larger.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most, self._bytes, self._each = most, most_bytes, 0.0
        self._lock = threading.Lock()

    @property
    def now(self) -> int:
        """Images in a request."""
        return self._most

    def at_most(self, most: int) -> bool:
        """Lower the limit to ``most``; returns whether it was higher."""
        with self._lock:
            news = most < self._most
            self._most = min(self._most, max(1, most))
        return news

    def guessed(self, count: int) -> int:
        """How many of ``count`` images to pack to find out how long their request is: all if it is known that
        they fit, else one."""
        with self._lock:
            return count if self._each and count * self._each <= 2 * self._bytes else 1

    def within(self, sample: int, size: int, count: int) -> int:
        """How many of ``count`` images fit in a request, if a request of ``sample`` of them has ``size``
        bytes; at least 1."""
        with self._lock:
            self._each = size / sample
        whole = sample == count
        if whole and (size <= self._bytes or count == 1):
            return count
        return max(1, min(count - 1 if whole else count, self._bytes * sample // size))
