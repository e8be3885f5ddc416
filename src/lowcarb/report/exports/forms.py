"""What the forms of other bodies have in common: their times, their units, and what the account's energy is."""

from __future__ import annotations

from datetime import UTC, datetime

from lowcarb.core.estimate import Estimate, total
from lowcarb.core.units import MEGA, NS_PER_S, kwh_from_j
from lowcarb.report.exports.account import Account
from lowcarb.report.format import writable


def known_energy_j(account: Account) -> Estimate | None:
    """Energy of all attempts [J], also where nobody knows their carbon; None where no energy is known."""
    if account.whole is not None:
        return account.whole.energy_j
    known = [one.energy_j for one in account.outcomes if one.energy_j is not None]
    return total(known) if known else None


def kwh(energy_j: Estimate) -> float:
    """The mid energy [kWh]."""
    return kwh_from_j(energy_j.mid)


def tonnes(mass_g: Estimate) -> float:
    """The mid mass [t] of a mass in grams."""
    return mass_g.mid / MEGA


def when(account: Account) -> datetime | None:
    """When the account was closed: the last end, else the first start. Never the present, so a form stays the same."""
    at_ns = account.ended_ns if account.ended_ns is not None else account.began_ns
    return utc(at_ns)


def utc(at_ns: int | None) -> datetime | None:
    """A time in whole seconds, UTC."""
    return None if at_ns is None else datetime.fromtimestamp(at_ns // NS_PER_S, UTC)


def kilowatt_hours(energy_j: Estimate) -> str:
    """Interval and basis of an energy: `1.05 to 1.2 kWh, modelled`."""
    return f"{kwh_from_j(energy_j.low):.4g} to {kwh_from_j(energy_j.high):.4g} kWh, {energy_j.basis}"


def share(account: Account) -> str:
    """The measured share as a number from 0 to 1; `not known` where it is not."""
    return "not known" if account.measured_share is None else f"{account.measured_share:.4f}"


def text(value: str) -> str:
    """A name as it is, without half a surrogate pair, which no file can hold."""
    return writable(value)
