"""Values in TOML's syntax."""

import dataclasses
import json
import re
from typing import Any

from zooaudit.recipes.fields import NONE, fields_of, is_mapping

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def toml_value(value: Any, hint: Any = None) -> str:
    """A recipe's value on one line; for a dataclass, the fields without a default, or with another value."""
    if value is None:
        return f'"{NONE}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if dataclasses.is_dataclass(value):
        known = fields_of(type(value))
        data = {
            n: getattr(value, n) for n, f in known.items() if f.required or getattr(value, n) != f.default
        }
        return _table({n: toml_value(v, known[n].hint) for n, v in data.items()})
    if isinstance(value, tuple):
        if value and is_mapping(hint):
            return _table({name: toml_value(v) for name, v in value})
        return f"[{', '.join(toml_value(v) for v in value)}]"
    return repr(value)


def key(name: str) -> str:
    """A key, quoted if necessary."""
    return name if BARE_KEY.fullmatch(name) else toml_value(name)


def _table(entries: dict[str, str]) -> str:
    return "{ " + ", ".join(f"{key(n)} = {v}" for n, v in entries.items()) + " }" if entries else "{}"
