"""Well-known models: what was published on their training, beside what lowcarb would have forecast.

Every published figure is a row: accelerator-hours, energy, carbon. None is left out, also where no forecast can be made
or where the two are not the same quantity; a row then says why.

A forecast is made from the totals of the run (parameters, tokens, device, number of devices), with the PUE and the grid
that the publication used where it says so. Where the hours are published too, a second one starts from those: what it
misses is power, building and grid, the rest is hours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import ceil
from statistics import median
from typing import Any, Literal

from lowcarb.catalogue import Catalogue, Published
from lowcarb.core.estimate import Estimate
from lowcarb.core.forecast import Forecast, Scenario, device_count, forecast_run, peak_of
from lowcarb.core.site import Site
from lowcarb.core.units import PERCENT, S_PER_HOUR
from lowcarb.core.workload import FLOPS_PER_PARAMETER_AND_TOKEN
from lowcarb.errors import SettingError
from lowcarb.report.format import number

Quantity = Literal["hours", "energy", "carbon"]
QUANTITIES: tuple[Quantity, ...] = ("hours", "energy", "carbon")
TITLES = {"hours": "Accelerator-hours", "energy": "Energy", "carbon": "Carbon"}
UNITS = {"hours": "h", "energy": "J", "carbon": "g"}
"""Stored unit of a quantity."""
NO_HOSTS = ("rated", "measured-device")
"""Bases of power that hold the device alone, so that what was computed from them leaves the hosts out."""
LARGE_PART = 1.15
"""From this ratio on, hours or the rest are named as what a miss comes from."""
POWER_CAVEATS = {
    "rated": "published at rated power, which runs do not draw",
    "sampled-elsewhere": "published power is of another machine",
    "assumed": "published power is assumed",
}
BEARS_ON: Mapping[str, tuple[Quantity, ...]] = {"power": ("energy", "carbon"), "carbon": ("carbon",)}
"""By the word that a remark begins with: what it bears on. Others bear on all."""
CARBON_CAVEATS = {
    "market": "market-based zero: beside it stands the location's grid",
    "net": "published grid is net of carbon-free electricity bought",
    "unclear": "accounting not stated",
}
ANY_NUMBER = 1e9
NO_BUILDING = Estimate.exact(1.0, "catalogue")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One published figure beside its forecast."""

    id: str
    name: str
    year: int
    quantity: Quantity
    scope: str
    """What is counted: devices, node, facility, devices × PUE, or a life cycle."""
    published: float
    """In hours, joules or grams CO2e."""
    forecast: Estimate | None
    """From the run's totals, in the same scope; None where they are not published."""
    given_hours: Estimate | None
    """From the published hours; None where there are none, and of hours themselves."""
    why: tuple[str, ...]
    """What explains a miss, or why there is no forecast."""
    basis: str
    """Of the published figure."""
    sources: tuple[str, ...]

    @property
    def error(self) -> float | None:
        """Forecast over published, less one; None where either is missing, or zero was published."""
        return _error(self.forecast, self.published)

    @property
    def error_given_hours(self) -> float | None:
        """The same of the forecast that starts from the published hours."""
        return _error(self.given_hours, self.published)

    @property
    def inside(self) -> bool | None:
        """Whether the forecast's interval holds the published figure; None where there is no error to speak of."""
        if self.forecast is None or not self.published:
            return None
        return self.forecast.low <= self.published <= self.forecast.high

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "id": self.id,
            "name": self.name,
            "year": self.year,
            "quantity": self.quantity,
            "unit": UNITS[self.quantity],
            "scope": self.scope,
            "published": self.published,
            "published_basis": self.basis,
            "forecast": self.forecast.as_dict() if self.forecast else None,
            "error": self.error,
            "inside": self.inside,
            "forecast_given_hours": self.given_hours.as_dict() if self.given_hours else None,
            "error_given_hours": self.error_given_hours,
            "why": list(self.why),
            "sources": list(self.sources),
        }


@dataclass(frozen=True, slots=True)
class Summary:
    """How far the forecasts of one quantity are off, over all rows that have one."""

    quantity: Quantity
    published: int
    compared: int
    median: float
    """Of the absolute error."""
    ninth_decile: float
    """Nine absolute errors in ten are no larger."""
    inside: int
    """Intervals that hold the published figure."""

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "quantity": self.quantity, "published": self.published, "compared": self.compared,
            "median_absolute_error": self.median, "ninth_decile_absolute_error": self.ninth_decile,
            "inside": self.inside,
        }  # fmt: skip


@cache
def well_known() -> tuple[Comparison, ...]:
    """Every published figure of the catalogue that ships, beside its forecast."""
    return comparisons(Catalogue.load())


def comparisons(catalogue: Catalogue, runs: Iterable[Published] | None = None) -> tuple[Comparison, ...]:
    """Every published figure of some runs, all of the catalogue unless given: hours, then energy, then carbon."""
    rows = catalogue.published() if runs is None else tuple(runs)
    return tuple(row for quantity in QUANTITIES for run in rows for row in _compared(catalogue, run, quantity))


def unpublished(catalogue: Catalogue) -> tuple[Published, ...]:
    """Runs of the catalogue with neither hours nor energy nor carbon."""
    with_figures = {row.id for row in comparisons(catalogue)}
    return tuple(run for run in catalogue.published() if run.id not in with_figures)


def summaries(rows: Sequence[Comparison]) -> tuple[Summary, ...]:
    """Median and ninth decile of the absolute error, and how many intervals hold, by quantity."""
    found = []
    for quantity in QUANTITIES:
        mine = [row for row in rows if row.quantity == quantity]
        errors = sorted(abs(row.error) for row in mine if row.error is not None)
        if errors:
            inside = sum(row.inside is True for row in mine if row.error is not None)
            ninth = errors[ceil(0.9 * len(errors)) - 1]
            found.append(Summary(quantity, len(mine), len(errors), median(errors), ninth, inside))
    return tuple(found)


def _error(forecast: Estimate | None, published: float) -> float | None:
    return forecast.mid / published - 1.0 if forecast and published else None


def _compared(catalogue: Catalogue, run: Published, quantity: Quantity) -> Iterable[Comparison]:
    published = {"hours": run.accelerator_hours, "energy": run.energy_j, "carbon": run.co2_g}[quantity]
    if published is None:
        return
    scope = _scope(run, quantity)
    problem = _problem(run, scope, quantity)
    before = given = None
    if scope != "life cycle":
        site = _site(catalogue, run, scope)
        try:
            if run.params and run.tokens:
                before = _figure(run, catalogue, site, quantity, scope)
            if run.accelerator_hours and quantity != "hours":
                given = _figure(run, catalogue, site, quantity, scope, hours=run.accelerator_hours)
        except SettingError as error:
            problem = f"no forecast: {error}"
    row = Comparison(
        run.id, run.name, run.year, quantity, scope, published, before, given, (), run.basis, run.sources
    )  # fmt: skip
    yield replace(row, why=tuple([problem] if problem else []) + _why(catalogue, run, row))


def _scope(run: Published, quantity: Quantity) -> str:
    """What a published figure counts."""
    if quantity == "hours":
        return "devices"
    stated = run.energy_scope if quantity == "energy" else run.co2_scope
    if stated == "life-cycle":
        return "life cycle"
    if stated == "facility" and (run.power_basis in NO_HOSTS or run.energy_scope == "accelerator"):
        return "devices × PUE"
    return {"accelerator": "devices", "node": "node"}.get(stated or "", "facility")


def _problem(run: Published, scope: str, quantity: Quantity) -> str:
    """Why no forecast from totals can be made; empty where one can."""
    if scope == "life cycle":
        return "no forecast: a life cycle is more than a training"
    if run.device is None:
        return "no forecast: no single device was named"
    if run.params and run.tokens:
        return ""
    lacking = "tokens were" if run.params else "several models were published together and their tokens were"
    return f"no forecast from totals: {lacking} not published" + (
        "" if quantity == "hours" or run.accelerator_hours is None else "; one from the hours stands beside"
    )


def _site(catalogue: Catalogue, run: Published, scope: str) -> Site:
    """The site with the PUE and the grid of the publication where it states them."""
    site = catalogue.site(run.site) if run.site else catalogue.unknown_site()
    if run.intensity_g_per_kwh:
        site = replace(site, intensity_g_per_kwh=Estimate.exact(run.intensity_g_per_kwh, "catalogue"))
    if scope in ("devices", "node"):
        return replace(site, pue=NO_BUILDING)
    return replace(site, pue=Estimate.exact(run.pue, "catalogue")) if run.pue else site


def _figure(
    run: Published, catalogue: Catalogue, site: Site, quantity: Quantity, scope: str, *, hours: float | None = None
) -> Estimate | None:
    """The figure of a run from its totals, or from its hours; None where no device was named."""
    if run.device is None:
        return None
    scenario = Scenario(
        # Where the hours are given, parameters and tokens decide nothing.
        params=run.params or ANY_NUMBER,
        tokens=run.tokens or ANY_NUMBER,
        device=catalogue.device(run.device),
        site=site,
        count=run.count,
        active_params=run.flop_params,
        layers=run.layers,
        width=run.width,
        family=run.arch,
        precision=run.precision,
        accelerator_hours=hours,
    )
    housed = replace(scenario, site=catalogue.housed(site, device_count(scenario)))
    return _of(forecast_run(housed), quantity, scope)


def _of(made: Forecast, quantity: Quantity, scope: str) -> Estimate:
    """The figure of a forecast in a scope."""
    if quantity == "hours":
        return made.accelerator_hours
    if quantity == "energy" and scope in ("devices", "node"):
        return made.accelerator_j if scope == "devices" else made.node_j
    whole = made.facility_j if quantity == "energy" else made.footprint.operational_g
    return whole.scale(made.accelerator_j.mid / made.node_j.mid) if scope.startswith("devices") else whole


def _why(catalogue: Catalogue, run: Published, row: Comparison) -> tuple[str, ...]:
    """What explains a miss: first where it lies, then what the publication says of itself."""
    parts = [_where(row), _share_of_peak(catalogue, run, row)]
    if row.quantity != "hours" and "power: " not in run.remark:
        parts.append(POWER_CAVEATS.get(run.power_basis or "", ""))
    if row.quantity == "carbon":
        parts += [_unstated(run, row), CARBON_CAVEATS.get(run.co2_accounting or "", "")]
    if run.count is None and run.device and row.forecast:
        parts.append("number of devices not published: a usual one stands in")
    return tuple(part for part in (*parts, *_remarks(run, row.quantity)) if part)


def _remarks(run: Published, quantity: Quantity) -> Iterable[str]:
    """What the table remarks, without what does not bear on the quantity."""
    for remark in run.remark.split("; "):
        about, colon, _ = remark.partition(": ")
        if not colon or quantity in BEARS_ON.get(about, QUANTITIES):
            yield remark


def _where(row: Comparison) -> str:
    """The parts of the product that a miss comes from, where the interval does not hold the published figure."""
    if row.quantity == "hours" or row.forecast is None or row.inside is not False:
        return ""
    if row.given_hours is None:
        return f"hours and power together ×{number(row.forecast.mid / row.published, 2)}: hours were not published"
    hours, rest = row.forecast.mid / row.given_hours.mid, row.given_hours.mid / row.published
    parts = [("hours", hours), ("power, building and grid" if row.quantity == "carbon" else "power", rest)]
    named = [f"{name} ×{number(ratio, 2)}" for name, ratio in parts if max(ratio, 1.0 / ratio) >= LARGE_PART]
    return f"from {' and '.join(named)}"


def _share_of_peak(catalogue: Catalogue, run: Published, row: Comparison) -> str:
    """The share of the device's peak that published and forecast hours come to, where they are far apart."""
    if row.quantity != "hours" or row.inside is not False or row.forecast is None:
        return ""
    if run.device is None or run.tokens is None or run.flop_params is None:
        return ""
    peak = peak_of(catalogue.device(run.device), run.precision)[1]
    shares = [
        PERCENT * FLOPS_PER_PARAMETER_AND_TOKEN * run.flop_params * run.tokens / (hours * S_PER_HOUR * peak)
        for hours in (row.published, row.forecast.mid)
    ]
    return f"published hours come to {shares[0]:.2g} % of the peak at 6ND, the forecast's to {shares[1]:.2g} %"


def _unstated(run: Published, row: Comparison) -> str:
    """What of building and grid the publication leaves open."""
    if row.scope in ("devices", "node", "life cycle"):
        return ""
    unstated = [name for name, value in (("PUE", run.pue), ("grid", run.intensity_g_per_kwh)) if value is None]
    return f"{' and '.join(unstated)} not published: the catalogue's stand in" if unstated else ""
