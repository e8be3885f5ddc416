"""Rows of `published.csv` as records."""

from __future__ import annotations

from typing import get_args

from lowcarb.catalogue.records import (
    CarbonAccounting,
    CarbonScope,
    EnergyBasis,
    EnergyScope,
    HoursBasis,
    PowerBasis,
    Published,
)
from lowcarb.catalogue.tables import Row, basis, choice, count, optional, sources
from lowcarb.core.units import J_PER_KWH, KILO, MEGA


def published(row: Row) -> Published:
    """The record of a row.

    Raises:
        ValueError: a cell is not a number, or a word that is none of the allowed ones.
    """
    energy_mwh, co2_t = optional(row["energy_mwh"]), optional(row["co2_t"])
    return Published(
        id=row["id"],
        name=row["name"],
        family=row["family"],
        year=int(row["year"]),
        organisation=row["organisation"],
        params=optional(row["params"]),
        active_params=optional(row["active_params"]),
        flop_params=optional(row["flop_params"]),
        tokens=optional(row["tokens"]),
        arch=choice(row["arch"], ("encoder", "decoder", "encoder-decoder", "moe", "recurrent")),
        layers=count(row["layers"]),
        width=count(row["width"]),
        precision=row["precision"],
        device=row["device"] or None,
        count=count(row["count"]),
        accelerator_hours=optional(row["accelerator_hours"]),
        hours_basis=choice(row["hours_basis"], get_args(HoursBasis)) if row["hours_basis"] else None,
        power_w=optional(row["power_w"]),
        power_basis=choice(row["power_basis"], get_args(PowerBasis)) if row["power_basis"] else None,
        pue=optional(row["pue"]),
        intensity_g_per_kwh=optional(row["intensity_g_per_kwh"]),
        site=row["site"] or None,
        energy_j=None if energy_mwh is None else energy_mwh * KILO * J_PER_KWH,
        energy_scope=choice(row["energy_scope"], get_args(EnergyScope)) if row["energy_scope"] else None,
        energy_basis=choice(row["energy_basis"], get_args(EnergyBasis)) if row["energy_basis"] else None,
        co2_g=None if co2_t is None else co2_t * MEGA,
        co2_scope=choice(row["co2_scope"], get_args(CarbonScope)) if row["co2_scope"] else None,
        co2_accounting=choice(row["co2_accounting"], get_args(CarbonAccounting)) if row["co2_accounting"] else None,
        remark=row["remark"],
        sources=sources(row),
        basis=basis(row),
    )
