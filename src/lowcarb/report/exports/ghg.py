"""GHG Protocol scope 2: always two figures, location-based and market-based.

(Scope 2 Guidance, World Resources Institute 2015: chapter 6 gives the two methods and the order of factors, chapter 7
what has to be disclosed.) Where no contract, supplier or residual mix is told, the market-based figure falls
back to the location's, and that is disclosed. Whether this is the reader's scope 2 or scope 3 is for the reader to say.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from lowcarb.core.estimate import Estimate
from lowcarb.core.site import Site
from lowcarb.core.units import J_PER_KWH, s_from_ns
from lowcarb.errors import SettingError
from lowcarb.report.exports import words
from lowcarb.report.exports.account import Account

STANDARD = "GHG Protocol Scope 2 Guidance (2015), amendment to the Corporate Standard"
FALLBACK = (
    "No contract, supplier factor or residual mix was told, so the location's average stands in. "
    "It may count renewable electricity that others have claimed."
)
WHOSE = (
    "Electricity that you buy is your scope 2. A rented machine's or a cloud's is the operator's scope 2 and usually "
    "your scope 3, category 1 or 8."
)
LIFECYCLE = (
    "The intensity is of the whole life cycle: it holds fuel supply and the making of power stations, which belong to "
    "scope 3, category 3. Take a direct factor for scope 2 alone."
)
DIRECT = "The intensity is of direct emissions alone; fuel supply and grid losses belong to scope 3, category 3."


def render_ghg(account: Account) -> str:
    """The two figures as JSON, with energy by hour so that other methods can be applied later.

    Raises:
        SettingError: no carbon is known, or it is priced by a market's factor without a location's.
    """
    return words.json_text(ghg_document(account))


def ghg_document(account: Account) -> dict[str, Any]:
    """The two figures and what has to be told with them.

    Raises:
        SettingError: no carbon is known, or it is priced by a market's factor without a location's.
    """
    whole, location = account.whole, account.location_g
    if whole is None or location is None:
        raise SettingError("ghg", account.title, "a run or study of which energy and location-based carbon are known")
    return {
        "schema_version": 1,
        "kind": "ghg-scope-2",
        "standard": STANDARD,
        "subject": {"kind": account.kind, "id": account.id, "title": words.one_line(account.title)},
        "period": {"began": _utc(account.began_ns), "ended": _utc(account.ended_ns)},
        "electricity_kwh": _bought_kwh(account),
        "machine_energy_kwh": whole.energy_j.scale(1.0 / J_PER_KWH).as_dict(),
        "location_based": {
            "g": location.as_dict(),
            "factors": [_factor(site) for site in account.sites],
            "remarks": _remarks(account.sites),
        },
        "market_based": _market_based(account, location),
        "whose_scope": WHOSE,
        "not_included": "carbon of making the hardware (scope 3), see the field below; offsets; avoided emissions",
        "embodied_g": whole.embodied_g.as_dict() if whole.embodied_g else None,
        "hourly": [
            {"hour": _utc(one.start_ns), "machine_energy_kwh": one.energy_j.scale(1.0 / J_PER_KWH).as_dict()}
            for one in account.hours
        ],
        "place": words.where(account),
        "boundary": account.boundary,
        "measured_share": account.measured_share,
        "measured": words.measured(account),
        "energy_from": whole.method,
        "attempts": words.attempts(account),
        "notes": list(account.notes),
        "sources": [source.as_dict() for source in account.sources],
        "made_by": words.MAKER,
    }


def _market_based(account: Account, location: Estimate) -> dict[str, Any]:
    market = account.market
    if market is not None and account.market_g is not None:
        return {
            "g": account.market_g.as_dict(),
            "factor_g_per_kwh": market.intensity_g_per_kwh.as_dict(),
            "instrument": words.one_line(market.instrument),
            "fallback": False,
            "disclosure": "The factor and the instrument are as the user told them; nobody checked them here.",
        }
    return {
        "g": location.as_dict(),
        "factor_g_per_kwh": None,
        "instrument": "location's average",
        "fallback": True,
        "disclosure": FALLBACK,
    }


def _bought_kwh(account: Account) -> dict[str, float | str] | None:
    """Electricity with the building's share [kWh]; None where several sites have several PUEs."""
    if account.whole is None or account.site is None:
        return None
    return (account.whole.energy_j * account.site.pue).scale(1.0 / J_PER_KWH).as_dict()


def _factor(site: Site) -> dict[str, Any]:
    return {
        "site": site.id,
        "name": words.one_line(site.name),
        "declared": site.declared,
        "g_per_kwh": site.intensity_g_per_kwh.as_dict(),
        "accounting": site.accounting,
        "year": site.year,
        "pue": site.pue.as_dict(),
    }


def _remarks(sites: tuple[Site, ...]) -> list[str]:
    found = []
    for accounting, remark in (("location, lifecycle", LIFECYCLE), ("location, direct", DIRECT)):
        if any(site.accounting == accounting for site in sites):
            found.append(remark)
    return found


def _utc(at_ns: int | None) -> str | None:
    return None if at_ns is None else datetime.fromtimestamp(s_from_ns(at_ns), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
