"""How the spreads of independent factors combine: in quadrature of their logarithms.

    ln(high ÷ mid) = √ Σ ln(high ÷ mid of a factor)²        and the same below the middle

`Estimate`'s own arithmetic assumes nothing about independence and multiplies the bounds: right for two figures, far too
wide for a product of five whose errors have nothing to do with each other. A bound that eight truths in ten keep to on
each factor is, combined like this, one that about eight in ten keep to on the product (exactly so for log-normal ones).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, inf, log, sqrt

from lowcarb.core.estimate import Basis, Estimate


@dataclass(frozen=True, slots=True)
class Factor:
    """One assumption of a product: what it is, in words, and how far off it may be."""

    name: str
    below: float
    """ln(mid ÷ low), zero or more; infinite where the low bound is zero."""
    above: float
    """ln(high ÷ mid), zero or more."""

    @property
    def width(self) -> float:
        """ln(high ÷ low)."""
        return self.below + self.above

    def shared(self, share: float) -> Factor:
        """This factor of one term of a sum that is `share` (0 to 1) of the sum: it moves the sum by that much less."""
        return Factor(self.name, self.below * share, self.above * share)


def within(name: str, ratio: float) -> Factor:
    """A factor known within ×/÷ a ratio of 1 or more."""
    return Factor(name, log(ratio), log(ratio))


def of_estimate(name: str, figure: Estimate) -> Factor:
    """The spread of a figure whose middle is above zero.

    Raises:
        ValueError: the middle is not above zero.
    """
    if not figure.mid > 0.0:
        raise ValueError(f"a spread is a ratio, and the middle of {name} is {figure.mid}")
    return Factor(name, log(figure.mid / figure.low) if figure.low > 0.0 else inf, log(figure.high / figure.mid))


def spread_around(mid: float, factors: Iterable[Factor], basis: Basis) -> Estimate:
    """A product's non-negative middle with the spread of its independent factors."""
    held = tuple(factors)
    below, above = sqrt(sum(f.below**2 for f in held)), sqrt(sum(f.above**2 for f in held))
    return Estimate(mid * exp(-below), mid, mid * exp(above), basis)


def dominant(factors: Iterable[Factor]) -> str:
    """The name of the factor that makes the product widest; `nothing` where none has a width."""
    widest = max(factors, key=lambda factor: factor.width, default=None)
    return widest.name if widest is not None and widest.width > 0.0 else "nothing"
