"""JMESPath on a stranger's answers, by a path that may be a stranger's too: bounded in work and in the size
of the result.

``[@,@] | [@,@] | ...`` forty times is a kilobyte that names a thousand billion values; ``join`` and
``to_string`` make texts of them.
"""

from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.visitor import TreeInterpreter

from zooaudit.errors import AnswersError, ConfigError

LONGEST = 1_000
"""Longest path, in characters."""
LARGER, MORE = 4, 100_000
"""A result, or a step on the way to it, has at most this multiple of the answer's values and characters, plus
this constant."""
WORK = 4
"""All steps together may produce this multiple of that."""


def check_path(path: str) -> None:
    """Refuse a text that is not a valid path.

    Raises:
        ConfigError: too long, nested too deeply, or not a JMESPath.
    """
    if len(path) > LONGEST:
        raise ConfigError(f"answers has {len(path):,} characters; expected a JMESPath of {LONGEST:,} at most")
    try:
        jmespath.compile(path or "@")
    except RecursionError as error:
        raise ConfigError(
            f"answers is {path[:40]!r}..., which is nested too deeply; expected a JMESPath"
        ) from error
    except JMESPathError as error:
        raise ConfigError(
            f"answers is {path!r}, which is not a JMESPath: {str(error).splitlines()[0]}"
        ) from error


def found_by(path: str, data: Any) -> Any:
    """Follow a path in an answer.

    Raises:
        AnswersError: the result would be far larger than the answer itself.
        JMESPathError, ValueError, TypeError, RecursionError: the path cannot be followed there.
    """
    return Bounded(data).visit(jmespath.compile(path).parsed, data)


class Bounded(TreeInterpreter):  # type: ignore[misc]
    """Follows a path and weighs each step's result: the values and characters in it; a repeated part counts
    each time."""

    def __init__(self, result: Any) -> None:
        super().__init__()
        self._weights: dict[int, int] = {}
        self._kept: list[Any] = []  # an id identifies an object only while that lives
        self._most = 2**62
        self._left = 2**62
        self._most = LARGER * self._weighed(result) + MORE
        self._left = WORK * self._most

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        result = super().visit(node, *args, **kwargs)
        self._left -= 1
        self._bound(self._weighed(result))
        return result

    def visit_function_expression(self, node: Any, value: Any) -> Any:
        if node["value"] == "join" and len(node["children"]) == 2:
            glue, parts = (self.visit(child, value) for child in node["children"])
            if isinstance(glue, str) and isinstance(parts, list):
                self._bound(len(glue) * len(parts))
        return super().visit_function_expression(node, value)

    def _bound(self, weight: int) -> None:
        if weight > self._most or self._left < 0:
            raise AnswersError.of(
                "far less in them than the setting answers makes of it",
                "a JMESPath that selects and repeats nothing",
            )

    def _weighed(self, value: Any) -> int:
        """Without recursion: walks through new objects once, and looks up known ones."""
        if isinstance(value, str):
            return 1 + len(value)
        if not isinstance(value, list | dict):
            return 1
        pending = [value]
        while pending:
            one = pending[-1]
            inner = list(one.values()) if isinstance(one, dict) else one
            new = (
                [i for i in inner if isinstance(i, list | dict) and id(i) not in self._weights]
                if id(one) not in self._weights
                else []
            )
            if new:
                pending.extend(new)
                continue
            pending.pop()
            if id(one) not in self._weights:
                self._left -= 1 + len(inner)
                names = sum(map(len, one)) if isinstance(one, dict) else 0
                self._weights[id(one)] = 1 + names + sum(self._light(i) for i in inner)
                self._kept.append(one)
        return self._weights[id(value)]

    def _light(self, value: Any) -> int:
        if isinstance(value, list | dict):
            return self._weights[id(value)]
        return 1 + len(value) if isinstance(value, str) else 1
