"""`Budget`: a limit on energy, carbon or money; and `Outlook`: what a run will have taken when it is done.

The middle of an estimate is held against a limit, not its upper bound: where the power is modelled the interval is
wide, and a gate on its upper end would stop runs at a third of what they were given. The interval is told beside it.

The outlook extrapolates by progress p, the share of the work that is done:

    total = now + r × (1 − p)          r = (y_last − y_first) / (p_last − p_first)
    r_low, r_high = r ∓ t × s × √(1 + 1/n)          s² = n / (n − 1) × Σ w_i (r_i − r)²

y is what was taken when a mark was made; the first mark is made when the first work is done, so start-up is in `now`
and not in the rate. r_i is the rate over the i-th of n <= 8 stretches between the marks and w_i its share of their
progress; t is Student's for eight times out of ten. This is the prediction interval of one more stretch: the rest is
taken to go like a stretch that has not been seen, which errs wide where stretches are independent and allows for some
drift. What `now` itself is uncertain by, sensor and site, is common to all stretches and scales the total.

No formula knows what has not begun. Where later work draws otherwise than all that was seen, as before the first
evaluation or where sequences grow longer, the outlook is wrong by as much, and its interval does not say so.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite, sqrt
from typing import Any, Literal, NamedTuple, Self, overload

from lowcarb.core.estimate import Estimate
from lowcarb.core.footprint import Footprint
from lowcarb.core.units import GIGA, J_PER_KWH, KILO, MEGA, MILLI, PERCENT
from lowcarb.errors import SettingError

What = Literal["energy", "carbon", "cost"]

STORED_UNIT: Mapping[What, str] = {"energy": "J", "carbon": "g", "cost": "USD"}
"""What a limit is stored in; carbon is grams of CO2 equivalent."""
FIELDS: Mapping[What, str] = {"energy": "energy_j", "carbon": "operational_g", "cost": "cost"}
"""The field of a footprint, and of an outlook, that a budget goes by."""
UNITS: Mapping[str, tuple[What, float]] = {
    "mJ": ("energy", MILLI), "J": ("energy", 1.0), "kJ": ("energy", KILO), "MJ": ("energy", MEGA),
    "GJ": ("energy", GIGA), "mWh": ("energy", MILLI * J_PER_KWH / KILO), "Wh": ("energy", J_PER_KWH / KILO),
    "kWh": ("energy", J_PER_KWH), "MWh": ("energy", J_PER_KWH * KILO), "GWh": ("energy", J_PER_KWH * MEGA),
    "mg": ("carbon", MILLI), "g": ("carbon", 1.0), "kg": ("carbon", KILO), "t": ("carbon", MEGA),
    "kt": ("carbon", GIGA), "USD": ("cost", 1.0), "$": ("cost", 1.0), "US$": ("cost", 1.0),
}  # fmt: skip
"""What may be written behind an amount, and one of it in the stored unit."""
EXPECTED = "an amount with its unit, such as '500 g', '2 kWh' or '3 USD'"
FOREIGN = frozenset({"AUD", "CAD", "CHF", "CNY", "DKK", "EUR", "GBP", "INR", "JPY", "KRW", "NOK", "RMB", "SEK", "SGD"})
"""Codes of currencies that a person may write, to say why they are refused."""

WARN_SHARE = 0.8
"""Share of a budget at which a person is told. `assumed`: late enough to have an outlook, early enough to act on it."""
LEAST_PROGRESS = 0.01
"""Share of the work over which marks say nothing yet of the rest. `assumed`."""
LEAST_MARKS = 3
"""Two stretches: a spread needs as many."""
MOST_MARKS = 64
MOST_STRETCHES = 8
"""Marks are taken together into so many stretches, since a reading is late by up to an interval at each end of one."""
STUDENT_T = (3.078, 1.886, 1.638, 1.533, 1.476, 1.440, 1.415)
"""Student's t by degrees of freedom from 1, two-sided 80 % (any table of its quantiles, 0.90 one-sided)."""

_AMOUNT = re.compile(r"(US\$|USD|\$)?\s*((?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)(.*)", re.ASCII | re.IGNORECASE)
_CARBON = re.compile(r"CO2(?:-?eq?)?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit on what a run may take.

    Raises:
        SettingError: the limit is not a finite amount above zero, or the unit is not one of its quantity.
    """

    what: What
    """Energy of the devices, carbon of their electricity, or money."""
    limit: float
    """[J, gCO2e or USD]."""
    unit: str = ""
    """The unit that a person wrote it in and is told it in; the stored one unless given."""

    def __post_init__(self) -> None:
        if self.what not in STORED_UNIT:
            raise SettingError("budget", self.what, f"one of {', '.join(STORED_UNIT)}")
        if not (isfinite(self.limit) and self.limit > 0):
            raise SettingError("budget", self.limit, "a finite amount above zero")
        if not self.unit:
            object.__setattr__(self, "unit", STORED_UNIT[self.what])
        if self.unit not in UNITS or UNITS[self.unit][0] != self.what:
            known = ", ".join(name for name, (what, _) in UNITS.items() if what == self.what)
            raise SettingError("budget", self.unit, f"a unit of {self.what}: {known}")

    def __str__(self) -> str:
        return self.amount(self.limit, digits=6)

    def amount(self, value: float, digits: int) -> str:
        """An amount [J, gCO2e or USD] with so many significant digits, in the unit of this budget."""
        return f"{float(f'{value / UNITS[self.unit][1]:.{digits}g}'):.12g} {self.unit}"

    def as_dict(self) -> dict[str, object]:
        """The JSON form, by field name; `Budget(**document)` is the way back."""
        return {"what": self.what, "limit": self.limit, "unit": self.unit}


def parse_budget(value: object) -> Budget | None:
    """The budget that a person wrote, such as `500 g`, `0.5 kgCO2e`, `2 kWh` or `$3`; None of None.

    Upper and lower case may be mixed, but for a milli, which is no mega: `KWH` is kWh, `mj` is refused.

    Raises:
        SettingError: it is no such amount; a bare number is none, nor is money other than US dollars.
    """
    if value is None or isinstance(value, Budget):
        return value
    found = _AMOUNT.fullmatch(unicodedata.normalize("NFKC", value).strip()) if isinstance(value, str) else None
    if found is None:
        raise SettingError("budget", value, _expected(value))
    sign, number, rest = found.groups()
    unit = _unit("".join(rest.split()).replace("·", ""))
    if sign:
        unit = "USD" if not rest.strip() or unit == "USD" else None
    if unit is None:
        raise SettingError("budget", value, _expected(value))
    what, size = UNITS[unit]
    try:
        return Budget(what, float(number) * size, unit)
    except SettingError:
        raise SettingError("budget", value, EXPECTED) from None


def _unit(text: str) -> str | None:
    """The unit that was meant, by its one name; None if there is none. A milli has to be written as one."""
    bare = _CARBON.sub("", text)
    near = (name for name in UNITS if name.casefold() == bare.casefold() and "m" not in (name[0], bare[0]))
    unit = bare if bare in UNITS else next(near, None)
    if unit is None or (bare != text and UNITS[unit][0] != "carbon"):
        return None
    return "USD" if UNITS[unit][0] == "cost" else unit


def _expected(value: object) -> str:
    """What may be given; and where it was money of another country, why not that."""
    text = value.upper().replace("US$", "") if isinstance(value, str) else ""
    signed = any(unicodedata.category(sign) == "Sc" for sign in text.replace("$", "")) or re.search(r"[A-Z]\$", text)
    if not signed and FOREIGN.isdisjoint(re.findall("[A-Z]+", text)):
        return EXPECTED
    return f"{EXPECTED}; prices are in USD, and lowcarb knows no exchange rates"


def spent(budget: Budget, footprint: Footprint) -> float | None:
    """What a footprint takes of a budget [J, gCO2e or USD], mid estimate; None where that is not known."""
    taken: Estimate | None = getattr(footprint, FIELDS[budget.what])
    return None if taken is None else taken.mid


def can_be_kept(budget: Budget, footprint: Footprint) -> bool:
    """Whether it is known what is spent: without a rent or a price of electricity, money is not."""
    return spent(budget, footprint) is not None


class Mark(NamedTuple):
    """What had been taken when so much of the work was done: mid estimates."""

    progress: float
    energy_j: float
    operational_g: float
    cost: float | None
    at_s: float


class Marks(Sequence[Mark]):
    """The marks of a run, at most 64: when there are more, every second one goes, and of later ones every second stays.

    A mark is made when progress has grown: the first when there is any, so that start-up comes before it. Progress that
    goes back is another count of the work, and begins anew.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[int, Mark]] = []
        self._added, self._every = 0, 1

    def add(self, progress: float, footprint: Footprint, at_s: float) -> None:
        """Take down a footprint so far, at a share of the work, 0 to 1, and a time [s] of the monotonic clock."""
        last = self._kept[-1][1].progress if self._kept else 0.0
        if progress < last:
            self._kept, self._added, self._every, last = [], 0, 1, 0.0
        if not progress > last:
            return
        cost = None if footprint.cost is None else footprint.cost.mid
        mark = Mark(progress, footprint.energy_j.mid, footprint.operational_g.mid, cost, at_s)
        self._thin()
        self._kept.append((self._added, mark))
        self._added += 1
        if len(self._kept) > MOST_MARKS:
            self._every *= 2
            newest = self._kept.pop()
            self._thin()
            self._kept.append(newest)

    def _thin(self) -> None:
        self._kept = [one for one in self._kept if one[0] % self._every == 0]

    def __len__(self) -> int:
        return len(self._kept)

    @overload
    def __getitem__(self, index: int) -> Mark: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Mark]: ...
    def __getitem__(self, index: int | slice) -> Mark | Sequence[Mark]:
        return [mark for _, mark in self._kept][index]


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a whole run will have taken, by how it has gone so far."""

    energy_j: Estimate | None
    operational_g: Estimate | None
    cost: Estimate | None
    left_s: Estimate
    """Time from the last progress to the end [s]."""
    progress: float
    """Share of the work that is done, 0 to 1."""

    def over(self, budget: Budget) -> bool:
        """Whether more than the budget will have been taken, mid estimate; no where that is not known."""
        taken = self.taken(budget)
        return taken is not None and taken.mid > budget.limit

    def taken(self, budget: Budget) -> Estimate | None:
        """What will have been taken of what a budget limits [J, gCO2e or USD]."""
        found: Estimate | None = getattr(self, FIELDS[budget.what])
        return found

    def as_dict(self) -> dict[str, object]:
        """The JSON form, by field name."""
        figures = {name: getattr(self, name) for name in (*FIELDS.values(), "left_s")}
        return {name: one.as_dict() if one else None for name, one in figures.items()} | {"progress": self.progress}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """The outlook whose JSON form this is."""
        figures = {name: document[name] and Estimate.from_dict(document[name]) for name in (*FIELDS.values(), "left_s")}
        return cls(progress=float(document["progress"]), **figures)


def outlook(marks: Iterable[Mark], footprint: Footprint, progress: float) -> Outlook | None:
    """What a run will have taken in all, by the formula at the head of this module.

    Args:
        marks: what had been taken when, oldest first.
        footprint: what is taken now.
        progress: share of the work that was last said to be done, 0 to 1. Where the newest mark is of this progress,
            `now` in the formula is what that mark says, since what came after it is work that nobody has told of yet.

    Returns:
        The outlook, never less than now, and now itself at progress 1; None where there are fewer than three marks, or
        they lie within 1 % of the work, and where nothing is known to be taken.
    """
    seen: list[Mark] = []
    for mark in marks:
        if mark.progress <= progress and (not seen or mark.progress > seen[-1].progress):
            seen.append(mark)
    if len(seen) < LEAST_MARKS or seen[-1].progress - seen[0].progress < LEAST_PROGRESS * (1.0 - 1e-9):
        return None
    energy_j, operational_g, cost = (_in_all(name, seen, footprint, progress) for name in FIELDS.values())
    if energy_j is operational_g is cost is None:
        return None
    left_s = _rate(seen, [mark.at_s for mark in seen]).scale(max(0.0, 1.0 - progress))
    return Outlook(energy_j, operational_g, cost, left_s, progress)


def _in_all(name: str, marks: Sequence[Mark], footprint: Footprint, progress: float) -> Estimate | None:
    """What will have been taken of one figure; None where it is unknown, or nothing is known to be taken."""
    now: Estimate | None = getattr(footprint, name)
    values: list[float] = [value for mark in marks if (value := getattr(mark, name)) is not None]
    if now is None or now.mid <= 0 or len(values) < len(marks):
        return None
    if progress >= 1:
        return now
    done = min(values[-1], now.mid) if marks[-1].progress == progress else now.mid
    rate = _rate(marks, values)
    low, mid, high = (max(now.mid, done + bound * (1.0 - progress)) for bound in (rate.low, rate.mid, rate.high))
    return Estimate(low * (now.low / now.mid), mid, high * (now.high / now.mid), now.basis).on("modelled")


def _rate(marks: Sequence[Mark], values: Sequence[float]) -> Estimate:
    """How much a whole of work takes, by the stretches between marks: `r` of the formula; never below zero."""
    stretches = min(MOST_STRETCHES, len(marks) - 1)
    ends = [round(i * (len(marks) - 1) / stretches) for i in range(stretches + 1)]
    works = [marks[b].progress - marks[a].progress for a, b in pairwise(ends)]
    rates = [(values[b] - values[a]) / work for (a, b), work in zip(pairwise(ends), works, strict=True)]
    whole = marks[-1].progress - marks[0].progress
    mid = max(0.0, (values[-1] - values[0]) / whole)
    spread = sum(work / whole * (rate - mid) ** 2 for rate, work in zip(rates, works, strict=True))
    deviation = sqrt(spread * stretches / (stretches - 1))
    aside = STUDENT_T[stretches - 2] * deviation * sqrt(1.0 + 1.0 / stretches)
    return Estimate(max(0.0, mid - aside), mid, mid + aside, "modelled")


def tell(budget: Budget, footprint: Footprint, coming: Outlook | None) -> str:
    """How a budget stands, in a line for a person.

    `80 % of the budget of 500 g is used after 43 % of the work; it would take about 930 g (880 to 990 g) in all`
    """
    used = spent(budget, footprint)
    if used is None:
        return (
            f"the budget of {budget} cannot be kept: what is spent is not known, "
            "as there is neither a rent of the devices nor a price of electricity"
        )
    if used < budget.limit:
        text = f"{_percent(used / budget.limit)} of the budget of {budget} is used"
    else:
        text = f"the budget of {budget} is used up ({budget.amount(used, digits=3)} taken)"
    if coming is None:
        return text
    text += f" after {_percent(coming.progress)} of the work"
    taken = coming.taken(budget)
    if taken is None or coming.progress >= 1:
        return text
    digits = 2 if taken.high - taken.low > 0.1 * taken.mid else 3
    low, mid, high = (budget.amount(bound, digits) for bound in (taken.low, taken.mid, taken.high))
    inside = f" ({low.partition(' ')[0]} to {high})" if low != high else ""
    return f"{text}; it would take about {mid}{inside} in all"


def _percent(share: float) -> str:
    """A share in percent; never 0 or 100 unless it is."""
    text = f"{PERCENT * share:.0f} %"
    if text == "0 %" and share > 0:
        return "under 1 %"
    return "over 99 %" if text == "100 %" and share < 1 else text
