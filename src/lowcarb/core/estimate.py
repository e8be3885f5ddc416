"""`Estimate`: a figure with its interval and its basis. Law 1 of the house: no number without its basis.

The arithmetic is interval arithmetic, so it has one law that is easy to state and to test: *inputs inside their
bounds give a result inside its bounds*. It assumes nothing about independence, and so it errs on the wide side.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from typing import Literal, Self, get_args

Basis = Literal["measured", "modelled", "catalogue", "assumed"]
"""Where a figure comes from, strongest first: read off a sensor here; computed by a model from what was measured
here; looked up in a sourced table; taken for want of anything better."""

BASES: tuple[Basis, ...] = get_args(Basis)


def weakest(bases: Iterable[Basis]) -> Basis:
    """The weakest of some bases; `measured` of none, since nothing was assumed."""
    return max(bases, key=BASES.index, default="measured")


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure `mid` that lies between `low` and `high`, in the unit that the holding field's name says.

    The interval is meant to hold the truth at least eight times out of ten. A result of arithmetic takes the
    weakest basis of what went in.

    Raises:
        ValueError: the bounds are not finite, or not `low <= mid <= high`, or the basis is unknown.
    """

    low: float
    mid: float
    high: float
    basis: Basis

    def __post_init__(self) -> None:
        if not all(map(isfinite, (self.low, self.mid, self.high))):
            raise ValueError(f"an estimate is finite, not {self.low}, {self.mid}, {self.high}")
        if not self.low <= self.mid <= self.high:
            raise ValueError(f"low <= mid <= high does not hold: {self.low}, {self.mid}, {self.high}")
        if self.basis not in BASES:
            raise ValueError(f"basis {self.basis!r} is none of {', '.join(BASES)}")

    @classmethod
    def exact(cls, value: float, basis: Basis = "measured") -> Self:
        """A figure without spread: a count, a price list's entry."""
        return cls(value, value, value, basis)

    @classmethod
    def around(cls, mid: float, ratio: float, basis: Basis) -> Self:
        """A non-negative figure known within a factor: from mid/ratio to mid×ratio, for ratio >= 1."""
        return cls(mid / ratio, mid, mid * ratio, basis)

    def __add__(self, other: Estimate) -> Estimate:
        basis = weakest((self.basis, other.basis))
        return Estimate(self.low + other.low, self.mid + other.mid, self.high + other.high, basis)

    def __mul__(self, other: Estimate) -> Estimate:
        corners = [a * b for a in (self.low, self.high) for b in (other.low, other.high)]
        return _hull(corners, self.mid * other.mid, weakest((self.basis, other.basis)))

    def __truediv__(self, other: Estimate) -> Estimate:
        if other.low <= 0.0 <= other.high:
            raise ValueError(f"cannot divide by an estimate that may be zero: {other}")
        corners = [a / b for a in (self.low, self.high) for b in (other.low, other.high)]
        return _hull(corners, self.mid / other.mid, weakest((self.basis, other.basis)))

    def scale(self, factor: float) -> Estimate:
        """This figure times an exactly known number."""
        return _hull([self.low * factor, self.high * factor], self.mid * factor, self.basis)

    def widened(self, low_ratio: float, high_ratio: float) -> Estimate:
        """This non-negative figure with its lower bound × low_ratio (<= 1) and its upper × high_ratio (>= 1)."""
        return Estimate(self.low * low_ratio, self.mid, self.high * high_ratio, self.basis)

    def on(self, basis: Basis) -> Estimate:
        """The same figure on the weaker of its own basis and this one."""
        return Estimate(self.low, self.mid, self.high, weakest((self.basis, basis)))

    def as_dict(self) -> dict[str, float | str]:
        """The JSON form: low, mid, high, basis."""
        return {"low": self.low, "mid": self.mid, "high": self.high, "basis": self.basis}

    @classmethod
    def from_dict(cls, document: dict[str, float | str]) -> Self:
        """The figure whose JSON form this is."""
        low, mid, high = (float(document[name]) for name in ("low", "mid", "high"))
        return cls(low, mid, high, document["basis"])  # type: ignore[arg-type]  # checked in __post_init__


def _hull(corners: list[float], mid: float, basis: Basis) -> Estimate:
    # Rounding may put mid a last digit outside the corners, as 3 × (1/3) does.
    return Estimate(min(*corners, mid), mid, max(*corners, mid), basis)


def total(parts: Iterable[Estimate]) -> Estimate:
    """The sum of some figures in one unit; exactly zero of none."""
    result = Estimate.exact(0.0)
    for part in parts:
        result += part
    return result
