"""A model's contract: how images become its input, which of its outputs are the answers, which columns are
the kit's classes. Plain values, from TOML or from ``table.field=value`` words; a field that is not stated is
empty, and may be inferred from the model.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from zooaudit.config import check
from zooaudit.errors import ConfigError

Resize = Literal["", "shorter", "squash", "crop"]
Filter = Literal["", "nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
Cut = Literal["", "round", "floor"]
Layout = Literal["", "nchw", "nhwc", "flat"]
DType = Literal["", "float32", "float16", "float64", "uint8", "int8"]
Channels = Literal["", "rgb", "bgr", "grey"]
Values = Literal["", "logits", "probabilities", "log-probabilities", "percentages"]
MISSING = -1
"""In ``columns``: a class of the kit's that the model does not have."""
LARGEST = 8192
"""Largest side of an input, in pixels."""


@dataclass(frozen=True)
class Input:
    """How images in [0, 1] become the model's input, in this order.

    Attributes:
        channels: the model's: red first, blue first, or a single grey one. Grey images are repeated for
            colour models; colours become grey by 0.299, 0.587, 0.114, as Pillow's ``L``.
        size: height and width of the model's input; empty: those of the images.
        resize: ``shorter``: the shorter side becomes ``resize_to``, then the middle of ``size`` is cropped.
            ``squash``: both sides become ``resize_to``, then the same. ``crop``: only the crop. Optional if
            all of these give the same.
        resize_to: of the shorter side, or height and width; by default ``size``.
        cut: how an odd margin is split when cropping: ``round`` as torchvision and timm (the default), or
            ``floor`` as transformers.
        filter: by Pillow's names; bilinear by default.
        antialias: whether the filter widens when an image shrinks, as Pillow's do (the default).
        range: what 0 and 1 become: (0, 1) by default, (0, 255) for uint8 without ``scale``.
        mean, std: for each channel, or one for all; subtracted and divided by, after ``range``.
        dtype: of the numbers. uint8 and int8 are rounded: x / scale + zero_point if ``scale`` is stated.
        layout: channels first or last, or one row for each image.
        batch: exactly how many images are asked at a time; the last batch is filled up. 0: any number.
        name: of the input, if a graph has several.

    Raises:
        ConfigError: a value is out of range.
    """

    size: tuple[int, ...] = ()
    resize: Resize = ""
    resize_to: tuple[int, ...] = ()
    cut: Cut = ""
    filter: Filter = ""
    antialias: bool | None = None
    channels: Channels = ""
    range: tuple[float, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    dtype: DType = ""
    scale: float = 0.0
    zero_point: int = 0
    layout: Layout = ""
    batch: int = 0
    name: str = ""

    def __post_init__(self) -> None:
        for name in ("size", "resize_to"):
            sides = getattr(self, name)
            check(
                len(sides) <= 2 and all(0 < s <= LARGEST for s in sides),
                self,
                name,
                f"one or two whole numbers, 1 to {LARGEST}",
            )
        check(
            self.range == () or (len(self.range) == 2 and self.range[0] < self.range[1]),
            self,
            "range",
            "two numbers, the smaller first",
        )
        for name in ("mean", "std"):
            check(
                len(getattr(self, name)) in (0, 1, 3),
                self,
                name,
                "one number, or one for each of three channels",
            )
        check(all(abs(m) <= 1e6 for m in self.mean), self, "mean", "numbers in [-1e6, 1e6]")
        check(all(1e-6 <= s <= 1e6 for s in self.std), self, "std", "positive numbers, 1e-6 to 1e6")
        check(0 <= self.scale <= 1e6, self, "scale", "a positive number")
        check(-128 <= self.zero_point <= 255, self, "zero_point", "a whole number, -128 to 255")
        check(0 <= self.batch <= 4096, self, "batch", "a whole number, 1 to 4096; 0 for any")
        if not self.size and (self.resize or self.resize_to):
            raise ConfigError(
                f"input.resize is {self.resize!r}, but input.size is missing: what is the model given?"
            )
        if self.dtype == "int8" and not self.scale:
            raise ConfigError(
                "input.dtype is int8, but input.scale and input.zero_point are missing: number = x / scale +"
                " zero_point"
            )
        if self.scale and self.dtype not in ("uint8", "int8"):
            raise ConfigError(
                f"input.scale is {self.scale:g}, and input.dtype {self.dtype or 'not stated'}; expected uint8"
                " or int8 with it"
            )


@dataclass(frozen=True)
class Output:
    """Which output is the answers, and what its numbers mean.

    Attributes:
        values: by default inferred: whole probabilities if rows sum to 1, else logits.
        name, index: of the output, if there are several; by default the one of the right width, or
            ``logits``.
    """

    values: Values = ""
    name: str = ""
    index: int | None = None

    def __post_init__(self) -> None:
        check(self.index is None or 0 <= self.index <= 1000, self, "index", "a whole number, from 0")
        if self.name and self.index is not None:
            raise ConfigError(
                f"output.name is {self.name!r} and output.index {self.index}; expected one of the two"
            )


@dataclass(frozen=True)
class Classes:
    """Which of the model's columns are the kit's classes.

    Attributes:
        names: the model's names of its columns, in its order; the kit's classes are looked up among them.
        missing: classes of the kit's that are not in ``names``.
        columns: without names, the column of each of the kit's classes, in the kit's order; -1 for one that
            the model does not have.
    """

    names: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    columns: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.names and self.columns:
            raise ConfigError("classes.names and classes.columns are both given; expected one of them")
        there = [c for c in self.columns if c != MISSING]
        check(
            all(c >= MISSING for c in self.columns),
            self,
            "columns",
            f"numbers of columns, from 0; {MISSING} for a missing class",
        )
        check(len(set(there)) == len(there), self, "columns", "each column once")

    def of(self, kit: Sequence[str]) -> tuple[int, ...]:
        """The column of each of the kit's classes; empty if not stated.

        Raises:
            ConfigError: they do not fit the kit's classes.
        """
        if self.columns:
            if len(self.columns) != len(kit):
                raise ConfigError(
                    f"classes.columns has {len(self.columns)} numbers; expected {len(kit)}, one for each"
                    " class of the kit"
                )
            if sum(c != MISSING for c in self.columns) < 2:
                raise ConfigError(
                    "classes.columns says that all but one of the kit's classes are missing; expected two at"
                    " least"
                )
            return self.columns
        return self._by_name(kit) if self.names else ()

    def _by_name(self, kit: Sequence[str]) -> tuple[int, ...]:
        found = [self.place(name) for name in kit]
        if unknown := [name for name in self.missing if name not in kit]:
            raise ConfigError(
                f"classes.missing names {unknown[0]!r}; expected some of the kit's classes, {_some(kit)}"
            )
        lost = [
            name for name, at in zip(kit, found, strict=True) if at == MISSING and name not in self.missing
        ]
        if lost:
            near = difflib.get_close_matches(lost[0], self.names, 1, 0.5)
            hint = f" (is it {near[0]!r}?)" if near else ""
            raise ConfigError(
                f"the model's classes {_some(self.names)} lack {len(lost)} of the kit's: {_some(lost)}{hint};"
                " name them as the kit does in classes.names, or list them as missing: classes.missing"
                " = [...]"
            )
        return tuple(MISSING if name in self.missing else at for name, at in zip(kit, found, strict=True))

    def place(self, name: str) -> int:
        """The column of this name, ``MISSING`` if there is none; case is ignored unless that is ambiguous."""
        for key in (str.strip, lambda s: s.strip().casefold()):
            same = [i for i, n in enumerate(self.names) if key(n) == key(name)]
            if len(same) > 1:
                raise ConfigError(
                    f"classes.names has {name!r} {len(same)} times; expected each of the kit's classes once"
                )
            if same:
                return same[0]
        return MISSING


@dataclass(frozen=True)
class Contract:
    """The whole contract. Empty: images in [0, 1] as they are, float32 ``[n, c, h, w]``; logits or
    probabilities, one column for each class."""

    input: Input = field(default_factory=Input)
    output: Output = field(default_factory=Output)
    classes: Classes = field(default_factory=Classes)

    def to_json(self) -> dict[str, dict[str, Any]]:
        """The stated fields only, as plain values for ids, records and files; ``contract_of`` reads them."""
        tables = {f.name: _said(getattr(self, f.name)) for f in fields(self)}
        return {name: table for name, table in tables.items() if table}

    def over(self, seen: "Contract") -> "Contract":
        """This contract, filled up with what was inferred. Fields that only make sense together come from the
        same one."""
        mine, other = self.input, seen.input
        if not mine.size:
            mine = replace(
                mine,
                **{
                    n: getattr(other, n)
                    for n in ("size", "resize", "resize_to", "cut", "filter", "antialias")
                }
                | _said_of(mine),
            )
        if not mine.mean and not mine.std and not mine.range:
            mine = replace(mine, range=other.range, mean=other.mean, std=other.std)
        if not mine.dtype:
            mine = replace(
                mine,
                dtype=other.dtype,
                scale=mine.scale or other.scale,
                zero_point=mine.zero_point or other.zero_point,
            )
        rest = {n: getattr(mine, n) or getattr(other, n) for n in ("channels", "layout", "batch", "name")}
        stated = self.output.name or self.output.index is not None
        output = replace(
            seen.output if not stated else self.output, values=self.output.values or seen.output.values
        )
        classes = self.classes if self.classes != Classes() else seen.classes
        return Contract(replace(mine, **rest), output, classes)

    def for_twins(self) -> "Contract":
        """The contract for models that other code builds from the same weights: without what belongs to the
        file alone."""
        return replace(self, input=replace(self.input, batch=0, name=""))


def _said_of(mine: Input) -> dict[str, Any]:
    return {n: getattr(mine, n) for n in ("cut", "filter", "antialias") if getattr(mine, n) not in ("", None)}


def _said(table: Any) -> dict[str, Any]:
    values = {f.name: getattr(table, f.name) for f in fields(table) if getattr(table, f.name) != f.default}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _some(names: Sequence[str], limit: int = 5) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
