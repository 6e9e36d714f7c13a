"""What a sweep varies: axes with values, parsed from ``points=10,30,100 top_k=1,all``; and
the trials that follow. Pure."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from zooaudit.config import ENCODERS, MODIFICATIONS, ModifyConfig
from zooaudit.errors import ConfigError

Value = int | float | str
Trial = dict[str, Value]
"""One value an axis."""


@dataclass(frozen=True)
class Axis:
    """Attributes:
    read: from text to a value; raises ValueError.
    expected: for the error.
    models: whether it needs models that an audit does not build; all other axes read stored answers.
    """

    read: Callable[[str], Value]
    expected: str
    models: bool = False


def _count(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        value = int(text)
        if value < least:
            raise ValueError(text)
        return value

    return read


def _top_k(text: str) -> Value:
    return "all" if text == "all" else _count(0)(text)


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError(text)
    return value


def _temperature(text: str) -> float:
    value = float(text)
    if not 0 < value <= 10:
        raise ValueError(text)
    return value


def _encoder(text: str) -> str:
    if text not in ENCODERS:
        raise ValueError(text)
    return text


def _modification(text: str) -> str:
    kind, _, strength = text.partition(":")
    if kind not in MODIFICATIONS:
        raise ValueError(text)
    change = ModifyConfig(kind, float(strength))  # a ConfigError is a ValueError
    return f"{kind}:{change.strength:g}"


AXES = {
    "points": Axis(_count(1), "N, a number of datapoints from 1 on"),
    "top_k": Axis(_top_k, "0 (label only), a number of classes, or all"),
    "views": Axis(_count(1), "a number of views from 1 on"),
    "temperature": Axis(_temperature, "tau, a number in (0, 10]"),
    "encoder": Axis(_encoder, f"one of {', '.join(ENCODERS)}"),
    "draw": Axis(_count(0), "which random start of the encoder, from 0 on"),
    "modification": Axis(
        _modification, f"KIND:STRENGTH, of {', '.join(MODIFICATIONS)}; for example prune:0.4", models=True
    ),
    "seed_share": Axis(
        _share,
        "the attackers' seed set as a share of the recipe's: the less, the lower the recovery rate",
        models=True,
    ),
    "overlap": Axis(
        _share, "the share of a homologous model's training images that are the victim's", models=True
    ),
}

PRESETS = {
    "answers": ("points=10,20,30,40,50,60,70,80,90,100", "top_k=0,1,3,all"),
    "encoder": ("temperature=0.05,0.1,0.2,0.5,1", "views=5,10,20", "encoder=paper,hellinger"),
    "modifications": (
        "modification=fine-tune:1,fine-tune:5,fine-tune:20,prune:0.2,prune:0.4,prune:0.6,prune:0.8,int8:8,adversarial:120,adversarial:270",
    ),
    "recovery": ("seed_share=0.002,0.004,0.01,0.033,0.25",),
    "overlap": ("overlap=0,0.25,0.5,0.75,1",),
}
"""Named spaces."""


@dataclass(frozen=True)
class Space:
    """A grid: every combination of the axes' values is a trial."""

    axes: Mapping[str, tuple[Value, ...]]

    def trials(self) -> Iterator[Trial]:
        """Every trial, the last axis moving fastest."""
        for values in itertools.product(*self.axes.values()):
            yield dict(zip(self.axes, values, strict=True))


def parse_space(words: Sequence[str]) -> Space:
    """A space from presets and ``AXIS=VALUE,VALUE`` words; a later word replaces an axis of an earlier one.

    Raises:
        ConfigError: an unknown axis or preset, a value out of range, a value twice, or two
            axes that each choose the suspects.
    """
    axes: dict[str, tuple[Value, ...]] = {}
    for word in itertools.chain.from_iterable(PRESETS.get(w, (w,)) for w in words):
        name, given, text = word.partition("=")
        if not given or name not in AXES:
            raise ConfigError(
                f"{word!r} is neither an axis nor a preset; axes: {', '.join(AXES)}; presets:"
                f" {', '.join(PRESETS)}"
            )
        axes[name] = _values(name, text)
    if not axes:
        raise ConfigError(f"nothing to sweep; give AXIS=VALUE,VALUE or a preset: {', '.join(PRESETS)}")
    choosing = [name for name in axes if AXES[name].models]
    if len(choosing) > 1:
        raise ConfigError(
            f"{' and '.join(choosing)} each choose the suspects; expected one of them in a sweep"
        )
    return Space(axes)


def _values(name: str, text: str) -> tuple[Value, ...]:
    found: list[Value] = []
    for part in text.split(","):
        try:
            found.append(AXES[name].read(part.strip()))
        except ValueError as error:
            raise ConfigError(f"{name}={part.strip()!r}; expected {AXES[name].expected}") from error
    if len(set(found)) < len(found):
        raise ConfigError(f"{name}={text} has a value twice; expected each once")
    return tuple(found)
