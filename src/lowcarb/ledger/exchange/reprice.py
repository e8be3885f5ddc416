"""The carbon of a run at another site, or by newer figures, from its energy by hour.

What was recorded stays: the answer is kept beside it, in the document's list `repriced`, one entry a site and year.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lowcarb.core.documents import site_as_dict
from lowcarb.core.estimate import Estimate, total
from lowcarb.core.footprint import operational_g
from lowcarb.core.hours import Hour
from lowcarb.core.site import Site
from lowcarb.ledger.base import Attempt

REPRICED = "repriced"


@dataclass(frozen=True, slots=True)
class Repriced:
    """An attempt's carbon, as recorded and anew."""

    attempt: Attempt
    before_g: Estimate | None
    """As recorded [gCO2e]."""
    after_g: Estimate
    """Anew [gCO2e]."""
    hours: int
    """Hours of the clock whose energy went in; 0 where only the whole is known."""
    site: Site

    def as_dict(self, at_ns: int) -> dict[str, object]:
        """What the document keeps: the answer, the site that it is for, and when it was computed [ns, UTC]."""
        return {
            "at_ns": at_ns,
            "site": site_as_dict(self.site),
            "operational_g": self.after_g.as_dict(),
            "hours": self.hours,
        }


def reprice(attempt: Attempt, site: Site) -> Repriced | None:
    """The carbon of an attempt at a site; None where its energy is not known.

    Each hour's energy is taken with the site's intensity and PUE, as a forecast or a new run there would be.
    """
    document: Mapping[str, Any] = attempt.document
    footprint = document.get("footprint")
    if not footprint:
        return None
    hours = [Hour.from_dict(hour) for hour in document.get("hours") or ()]
    energies = [hour.energy_j for hour in hours] or [Estimate.from_dict(footprint["energy_j"])]
    before = footprint.get("operational_g")
    return Repriced(
        attempt=attempt,
        before_g=Estimate.from_dict(before) if before else None,
        after_g=total(operational_g(energy_j, site) for energy_j in energies),
        hours=len(hours),
        site=site,
    )


def annotated(one: Repriced, at_ns: int) -> dict[str, object]:
    """The attempt's document with the answer beside what was recorded; an older answer for the same site gives way."""
    document: Mapping[str, Any] = one.attempt.document
    entry = one.as_dict(at_ns)
    others = [old for old in document.get(REPRICED) or () if old["site"]["id"] != one.site.id]
    return {**document, REPRICED: [*others, entry]}
