"""Numbers for people: units that fit, no more digits than the interval bears, changes in words.

Stored units go in (J, g, s, l, W, USD, FLOP), text comes out. An unknown is a dash, never a zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from lowcarb.core.units import (
    EXA,
    GIGA,
    J_PER_KWH,
    KILO,
    MEGA,
    MICRO,
    MILLI,
    PERCENT,
    PETA,
    S_PER_HOUR,
    S_PER_MINUTE,
    TERA,
)

UNKNOWN = "—"
FEWEST_DIGITS, MOST_DIGITS = 2, 3
EXACT_DIGITS = 3
"""Significant digits of a figure without an interval."""
PLAIN_RANGE = (1e-5, 1e7)
"""Outside of it numbers are written as powers of ten."""
USELESS_RATIO = 1e3
"""An interval whose bounds are further apart than this factor says nothing."""
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Interval(Protocol):
    """Anything with a lower bound, a middle and an upper bound, such as an `Estimate`."""

    @property
    def low(self) -> float: ...  # noqa: D102
    @property
    def mid(self) -> float: ...  # noqa: D102
    @property
    def high(self) -> float: ...  # noqa: D102


class Figure(NamedTuple):
    """An estimate as a document holds it: three numbers in a stored unit, and where they come from."""

    low: float
    mid: float
    high: float
    basis: str = ""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit to write figures in."""

    name: str
    size: float
    """One of it in the stored unit."""
    least: float
    """The smallest figure, in the stored unit, that is written in it."""


SCALES: Mapping[str, tuple[Unit, ...]] = {
    "J": (
        Unit("mJ", MILLI, 0.0), Unit("J", 1.0, 0.1), Unit("kJ", KILO, KILO), Unit("kWh", J_PER_KWH, J_PER_KWH / 10.0),
        Unit("MWh", J_PER_KWH * KILO, J_PER_KWH * KILO), Unit("GWh", J_PER_KWH * MEGA, J_PER_KWH * MEGA),
    ),
    "g": (
        Unit("µg", MICRO, 0.0), Unit("mg", MILLI, MILLI / 10.0), Unit("g", 1.0, 1e-2), Unit("kg", KILO, KILO),
        Unit("t", MEGA, MEGA), Unit("kt", GIGA, GIGA),
    ),
    "s": (
        Unit("ms", MILLI, 0.0), Unit("s", 1.0, 0.1), Unit("min", S_PER_MINUTE, 2.0 * S_PER_MINUTE),
        Unit("h", S_PER_HOUR, 2.0 * S_PER_HOUR),
    ),
    "l": (Unit("ml", MILLI, 0.0), Unit("l", 1.0, 0.1), Unit("m³", KILO, KILO)),
    "W": (Unit("mW", MILLI, 0.0), Unit("W", 1.0, 0.1), Unit("kW", KILO, KILO), Unit("MW", MEGA, MEGA)),
    "FLOP": (
        Unit("FLOP", 1.0, 0.0), Unit("GFLOP", GIGA, MEGA), Unit("TFLOP", TERA, TERA), Unit("PFLOP", PETA, PETA),
        Unit("EFLOP", EXA, EXA),
    ),
    "": (Unit("", 1.0, 0.0), Unit("k", KILO, 10.0 * KILO), Unit("M", MEGA, MEGA), Unit("G", GIGA, GIGA)),
}  # fmt: skip
"""By stored unit: what its figures are written in, smallest first. Energy goes over to kWh where bills do."""


def figure(value: Mapping[str, Any] | Interval | None) -> Figure | None:
    """A document's estimate, or an object like one; None where it is unknown or not finite."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        found = Figure(float(value["low"]), float(value["mid"]), float(value["high"]), str(value.get("basis", "")))
    else:
        found = Figure(float(value.low), float(value.mid), float(value.high), str(getattr(value, "basis", "")))
    return found if all(map(math.isfinite, found[:3])) else None


def exactly(value: float | None, basis: str = "") -> Figure | None:
    """A figure without an interval."""
    return None if value is None else Figure(value, value, value, basis)


def unit_for(values: Iterable[float | None], unit: str) -> Unit:
    """The unit that fits the largest of some values, so that a column can be read down."""
    scale = SCALES.get(unit, (Unit(unit, 1.0, 0.0),))
    largest = max((abs(value) for value in values if value is not None and math.isfinite(value)), default=0.0)
    if largest == 0.0:
        return next((one for one in scale if one.size == 1.0), scale[0])
    return [one for one in scale if one.least <= largest][-1]


def digits_of(value: Figure) -> int:
    """Significant digits that an interval bears: two if it is wide, one more for each tenth of its width."""
    if value.high <= value.low:
        return EXACT_DIGITS
    if value.mid == 0.0:
        return FEWEST_DIGITS
    width = (value.high - value.low) / abs(value.mid)
    if width <= 0.0 or not math.isfinite(width):
        return FEWEST_DIGITS
    return min(MOST_DIGITS, max(FEWEST_DIGITS, math.ceil(-math.log10(width)) + 1))


def number(value: float | None, digits: int = EXACT_DIGITS) -> str:
    """A number with so many significant digits; a power of ten where it is very small or very large."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value == 0.0:
        return "0"
    mantissa, exponent = f"{value:.{max(digits, 1) - 1}e}".split("e")
    power = int(exponent)
    if not PLAIN_RANGE[0] <= abs(value) < PLAIN_RANGE[1]:
        return f"{mantissa} × 10{str(power).translate(_SUPERSCRIPT)}".replace("-", "−")
    decimals = max(0, digits - 1 - power)
    return f"{round(value, digits - 1 - power):,.{decimals}f}".replace(",", "\u202f").replace("-", "−")


def bounds(value: Figure, unit: Unit) -> str:
    """The interval in a unit, such as `0.10–1.2`; empty where its bounds read the same."""
    digits = digits_of(value)
    low, high = (number(bound / unit.size, digits) for bound in (value.low, value.high))
    if low == high:
        return ""
    return f"{low} to {high}" if value.low < 0 else f"{low}–{high}"


def quantity(
    estimate: Mapping[str, Any] | Interval | None, unit: str, *, shown: Unit | None = None, interval: bool = True
) -> str:
    """A figure in a unit that fits it, with its interval: `0.39 g (0.10–1.2)`.

    Args:
        estimate: low, mid and high, as a mapping or as attributes.
        unit: the stored unit they are in: J, g, s, l, W, USD, FLOP, or empty for a count.
        shown: the unit to write it in instead of the one that fits.
        interval: whether to add the interval.
    """
    value = figure(estimate)
    if value is None:
        return UNKNOWN
    shown = shown or unit_for([value.mid], unit)
    text = f"{number(value.mid / shown.size, digits_of(value))} {shown.name}".rstrip()
    inside = bounds(value, shown) if interval else ""
    return f"{text} ({inside})" if inside else text


def plain(value: float | None, unit: str, digits: int = EXACT_DIGITS) -> str:
    """A bare number in a unit that fits it: `109 s`."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    shown = unit_for([value], unit)
    return f"{number(value / shown.size, digits)} {shown.name}".rstrip()


def fixed(value: float | None, decimals: int) -> str:
    """A number with so many decimals, such as a score."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    text = f"{value:.{decimals}f}".replace("-", "−")
    return text.removeprefix("−") if not text.strip("−0.") else text


def signed(value: float, decimals: int) -> str:
    """A change with its sign: `+1.5`, `−16.7`, `0.0`."""
    text = fixed(value, decimals)
    return text if text[0] == "−" or not text.strip("0.") else f"+{text}"


def percent(share: float | None) -> str:
    """A share of 0 to 1 in percent; never `0 %` or `100 %` unless it is."""
    if share is None or not math.isfinite(share):
        return UNKNOWN
    text = f"{PERCENT * share:.0f}"
    if text == "0" and share > 0:
        return "under 1 %"
    return "over 99 %" if text == "100" and share < 1 else f"{text} %"


def useless(ratio: Figure) -> bool:
    """Whether a ratio's interval is so wide that it says nothing, as of a single pair."""
    return ratio.low <= 0.0 or ratio.high / ratio.low > USELESS_RATIO


def change(ratio: Figure, what: str) -> str:
    """A ratio in words: `49 % less carbon (48–51 %)`, `4.1 times the carbon (2.7–6.1)`.

    Where the interval holds 1 no change is claimed: `no sure change of carbon (3 % less to 5 % more)`.
    """
    if useless(ratio):
        return f"no sure change of {what} (interval too wide to be of use)"
    low, mid, high = (PERCENT * (bound - 1.0) for bound in ratio[:3])
    if low == high == 0.0:
        return f"the same {what}"
    if low < 0.0 < high:
        return f"no sure change of {what} ({_percent_apart(low)} to {_percent_apart(high)})"
    if ratio.mid >= 2.0:
        inside = bounds(ratio, Unit("", 1.0, 0.0))
        head = f"{number(ratio.mid, digits_of(ratio))} times the {what}"
    else:
        decimals = 1 if 0.0 < high - low < 1.0 else 0
        head = f"{_amount(mid, decimals)} % {'more' if mid > 0 else 'less'} {what}"
        smaller, larger = (_amount(bound, decimals) for bound in sorted((low, high), key=abs))
        inside = "" if smaller == larger else f"{smaller}–{larger} %"
    return f"{head} ({inside})" if inside else head


def _amount(percents: float, decimals: int) -> str:
    """How much a change in percent is; never `100` of a reduction that leaves something."""
    text = fixed(abs(percents), decimals)
    return "over 99.9" if -PERCENT < percents < -99.9 else fixed(-percents, 1) if percents < -99.0 else text


def _percent_apart(percents: float) -> str:
    """A change in percent on its own: `3 % less`; with a decimal where it is small."""
    text = fixed(abs(percents), 1 if abs(percents) < 1.0 else 0)
    return f"{text} % {'less' if percents < 0 else 'more'}" if text.strip("0.") else "0 %"


def aligned(texts: Iterable[str]) -> tuple[str, ...]:
    """Numbers padded on the right with figure spaces, so that a column set flush right aligns on the point.

    So each keeps the digits that its own interval bears.
    """
    cells = tuple(texts)
    tails = [text.rpartition(".")[2] if "." in text else "" for text in cells]
    longest = max((len(tail) for tail in tails if tail.isdecimal()), default=0)
    return tuple(
        text + ("" if tail or not longest else "\u2008") + "\u2007" * (longest - len(tail))
        if text[-1:].isdecimal()
        else text
        for text, tail in zip(cells, tails, strict=True)
    )


def writable(text: str) -> str:
    """The text without what no file can hold: half of a surrogate pair becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")
