"""Many forecasts, or many contrasts of devices, from a CSV file: a result for each row, in order."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

from lowcarb.catalogue import Catalogue
from lowcarb.cli.console import say
from lowcarb.cli.rows import Cells, answer_rows
from lowcarb.core.contrast import Contrast, Job, contrast_job
from lowcarb.core.estimate import Estimate, weakest
from lowcarb.core.forecast import Forecast, Scenario, device_count, forecast_run, peak_of
from lowcarb.core.site import Site
from lowcarb.core.spread import of_estimate, spread_around
from lowcarb.core.units import G_PER_KG, J_PER_KWH, S_PER_HOUR
from lowcarb.errors import CatalogueError, SettingError

SCENARIO_COLUMNS = (
    "params", "active_params", "tokens", "layers", "width", "length", "family", "precision", "device", "count", "site",
    "pue", "intensity_g_per_kwh", "accelerator_hours", "tokens_per_s", "watts",
)  # fmt: skip
"""Columns of a file of scenarios, named as the options are."""
PAIR_COLUMNS = (
    "model", "phase", "framework", "precision", "batch", "seq_len", "params", "device", "throughput", "other_device",
    "watts",
)  # fmt: skip
"""Columns of a file of jobs measured on one device and wanted on another."""


def forecast_rows(path: Path, default: Site | None = None) -> list[dict[str, Any]]:
    """The forecast of each scenario of a file, as documents.

    Args:
        path: the file; `-` is standard input.
        default: where rows without a site run; a world average if not given.

    Raises:
        DataError: the file, or rows of it, cannot be used.
    """
    catalogue = Catalogue.load()
    elsewhere = default or catalogue.unknown_site()
    return answer_rows(
        path,
        lambda cells: forecast_document(forecast_run(_scenario(cells, catalogue, elsewhere))),
        columns=SCENARIO_COLUMNS, needed=("params", "tokens", "device"),
    )  # fmt: skip


def contrast_rows(path: Path) -> list[dict[str, Any]]:
    """What each job of a file does on its other device, as documents.

    Raises:
        DataError: the file, or rows of it, cannot be used.
    """
    catalogue = Catalogue.load()

    def answer(cells: Cells) -> dict[str, Any]:
        job = Job(
            model=cells.text("model") or "", phase=cells.text("phase") or "train", framework=cells.text("framework"),
            precision=cells.text("precision") or "", batch=cells.count("batch"), seq_len=cells.count("seq_len"),
            params=cells.number("params"),
        )  # fmt: skip
        device = catalogue.device(cells.needed_text("device"))
        other = catalogue.device(cells.needed_text("other_device"))
        return contrast_document(
            contrast_job(job, device, other, throughput=cells.number("throughput"), watts=cells.number("watts"))
        )

    return answer_rows(path, answer, columns=PAIR_COLUMNS, needed=("device", "other_device"))


def forecast_document(forecast: Forecast) -> dict[str, Any]:
    """The JSON form of a forecast by totals, in the units that people publish such runs in."""
    footprint, scenario = forecast.footprint, forecast.scenario
    per_hour, per_kg = 1.0 / S_PER_HOUR, 1.0 / G_PER_KG
    return {
        "precision": peak_of(scenario.device, scenario.precision)[0],
        "accelerator_hours": forecast.accelerator_hours.as_dict(),
        "duration_h": _scaled(forecast.duration_s, per_hour),
        "power_w": forecast.power_w.as_dict(),
        "energy_kwh": {
            "accelerator": _scaled(forecast.accelerator_j, 1.0 / J_PER_KWH),
            "node": _scaled(forecast.node_j, 1.0 / J_PER_KWH),
            "facility": _scaled(forecast.facility_j, 1.0 / J_PER_KWH),
        },
        "operational_kg": _scaled(footprint.operational_g, per_kg),
        "operational_kg_by_scope": {
            scope: _scaled(carbon, per_kg) for scope, carbon in carbon_by_scope(forecast).items()
        },
        # As most papers count: devices × PUE, their hosts left out.
        "operational_kg_of_devices": _scaled(
            footprint.operational_g, per_kg * forecast.accelerator_j.mid / forecast.node_j.mid
        ),
        "embodied_kg": _scaled(footprint.embodied_g, per_kg),
        "water_l": _scaled(footprint.water_l, 1.0),
        "cost_usd": _scaled(footprint.cost, 1.0),
        "dominant": forecast.dominant,
        "fits": forecast.fits,
        "remedies": list(forecast.remedies),
    }


def carbon_by_scope(forecast: Forecast) -> dict[str, Estimate]:
    """Operational carbon [gCO2e] by what it counts, scopes named as the energy's are.

    accelerator, node, facility: mean power of the devices, with their share of hosts, with the building.
    published: accelerators as most publications count them, rated power × hours × PUE. Runs draw less than the rated
    power, and their hosts draw on top. A TPU's rated power says little: its publisher measures it with its host, so
    its published carbon is the facility's.
    """
    site, device = forecast.scenario.site, forecast.scenario.device
    grid = site.intensity_g_per_kwh
    carbon = {
        "accelerator": _carbon(forecast.accelerator_j, grid),
        "node": _carbon(forecast.node_j, grid),
        "facility": forecast.footprint.operational_g,
    }
    if device.kind == "tpu" or device.tdp_w is None:
        return carbon | {"published": carbon["facility"]}
    rated = forecast.accelerator_hours.scale(device.tdp_w * S_PER_HOUR)
    return carbon | {"published": _carbon(rated, grid, site.pue)}


def _carbon(energy_j: Estimate, grid: Estimate, pue: Estimate | None = None) -> Estimate:
    """Carbon [gCO2e] of an energy [J], the spreads of energy, grid and building being independent."""
    parts = [energy_j, grid] + ([pue] if pue is not None else [])
    mid = energy_j.mid * grid.mid * (pue.mid if pue is not None else 1.0) / J_PER_KWH
    basis = weakest(part.basis for part in parts)
    if not mid > 0.0:
        return Estimate.exact(0.0, basis)
    return spread_around(mid, [of_estimate("part", part) for part in parts], basis)


def contrast_document(contrast: Contrast) -> dict[str, Any]:
    """The JSON form of a job on another device."""
    return {
        "other_throughput": _scaled(contrast.other_throughput, 1.0),
        "other_watts": contrast.other_watts.as_dict(),
        "speed_ratio": contrast.speed_ratio.as_dict(),
        "energy_ratio": contrast.energy_ratio.as_dict(),
        "bound": contrast.bound,
        "why": contrast.why,
    }


def _scenario(cells: Cells, catalogue: Catalogue, default: Site) -> Scenario:
    scenario = Scenario(
        params=cells.needed("params"), tokens=cells.needed("tokens"),
        device=catalogue.device(cells.needed_text("device")),
        site=_site(cells, catalogue, default), count=cells.count("count"), active_params=cells.number("active_params"),
        layers=cells.count("layers"), width=cells.count("width"), length=cells.count("length"),
        family=cells.text("family"), precision=cells.text("precision"),
        accelerator_hours=cells.number("accelerator_hours"), tokens_per_s=cells.number("tokens_per_s"),
        watts=cells.number("watts"),
    )  # fmt: skip
    return replace(scenario, site=catalogue.housed(scenario.site, device_count(scenario)))


def _site(cells: Cells, catalogue: Catalogue, default: Site) -> Site:
    """The site of a row, with the row's own intensity and PUE where it states them."""
    name, intensity, pue = cells.text("site"), cells.number("intensity_g_per_kwh"), cells.number("pue")
    try:
        site = catalogue.site(name) if name is not None else default
    except CatalogueError as error:
        # The row states its grid, so that its place decides nothing but the water.
        if intensity is None:
            raise
        say(f"{error}; its own intensity of {intensity:g} g/kWh stands")
        site = default
    return given(site, intensity, pue)


def given(site: Site, intensity_g_per_kwh: float | None, pue: float | None) -> Site:
    """A site with figures that the user states in place of the catalogue's.

    Raises:
        SettingError: a negative intensity, a PUE below 1, or no finite number.
    """
    for name, value in (("intensity_g_per_kwh", intensity_g_per_kwh), ("pue", pue)):
        if value is not None and not isfinite(value):
            raise SettingError(name, value, "a finite number")
    stated: dict[str, Any] = {}
    if intensity_g_per_kwh is not None:
        stated["intensity_g_per_kwh"] = Estimate.exact(intensity_g_per_kwh, "catalogue")
        stated["declared"] = True
    if pue is not None:
        stated["pue"] = Estimate.exact(pue, "catalogue")
    return replace(site, **stated) if stated else site


def _scaled(figure: Estimate | None, factor: float) -> dict[str, float | str] | None:
    return None if figure is None else figure.scale(factor).as_dict()
