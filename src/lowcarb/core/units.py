"""Unit types, and the only conversion factors in the repository.

One stored unit per dimension: second, joule, watt, gram CO2e, litre, FLOP, byte; grid intensity per
kilowatt-hour, because that is what sources print; money in US dollars. A field's name carries its unit
(`energy_j`, `intensity_g_per_kwh`). Other units are for people and are made at the edge, by these functions.
"""

from __future__ import annotations

from typing import NewType

Joules = NewType("Joules", float)
Watts = NewType("Watts", float)
Seconds = NewType("Seconds", float)
Grams = NewType("Grams", float)

J_PER_KWH = 3.6e6
"""Exact: 1 kW × 3600 s (SI Brochure, 9th edition, table 8)."""
S_PER_MINUTE = 60.0
S_PER_HOUR = 3600.0
HOURS_PER_YEAR = 8766.0
"""Of 365.25 days."""
S_PER_YEAR = HOURS_PER_YEAR * S_PER_HOUR
G_PER_KG = 1e3
BYTES_PER_GB = 1e9
BYTES_PER_GIB = 2.0**30
FLOP_PER_TFLOP = 1e12
NS_PER_S = 1_000_000_000
NS_PER_HOUR = 3_600 * NS_PER_S
US_PER_S = 1e6
"""Control groups count microseconds."""
UJ_PER_J = 1e6
"""RAPL counts microjoules."""
MJ_PER_J = 1e3
"""NVML counts millijoules (and milliwatts)."""
PERCENT = 100.0
MICRO, MILLI, KILO, MEGA, GIGA, TERA, PETA, EXA = 1e-6, 1e-3, 1e3, 1e6, 1e9, 1e12, 1e15, 1e18
"""SI prefixes (SI Brochure, 9th edition, table 7), to write figures for people."""


def kwh_from_j(energy_j: float) -> float:
    """Energy [kWh] of an energy in joules."""
    return energy_j / J_PER_KWH


def j_from_kwh(energy_kwh: float) -> float:
    """Energy [J] of an energy in kilowatt-hours."""
    return energy_kwh * J_PER_KWH


def hours_from_s(duration_s: float) -> float:
    """Duration [h] of a duration in seconds."""
    return duration_s / S_PER_HOUR


def s_from_hours(duration_h: float) -> float:
    """Duration [s] of a duration in hours."""
    return duration_h * S_PER_HOUR


def s_from_years(duration_years: float) -> float:
    """Duration [s] of a duration in years of 365.25 days."""
    return duration_years * S_PER_YEAR


def s_from_ns(time_ns: int) -> float:
    """Time [s] of a time in nanoseconds."""
    return time_ns / NS_PER_S
