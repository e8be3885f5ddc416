"""Advice to run elsewhere: the same run at another site, or on another device. Each with both sides."""

from __future__ import annotations

from collections.abc import Iterable

from lowcarb.core.advise import LEAST_SAVING, Advice, Evidence, saving_of
from lowcarb.core.contrast import Job, contrast_job
from lowcarb.core.estimate import BASES, Estimate
from lowcarb.core.hardware import Device
from lowcarb.core.site import Site
from lowcarb.errors import LowcarbError

MOST_SITES = 3
MOST_DEVICES = 3


def site_advice(here: Site, others: Iterable[Site], cost: str, how: str) -> tuple[Advice, ...]:
    """The greenest other sites: carbon by the ratio of grid intensity × PUE.

    Only sites whose carbon is counted the same way are compared, each grid once.

    Args:
        here: where the run is; its wide average where nobody said.
        others: places it could be.
        cost: what moving takes, for the drawbacks.
        how: what to type, with `{site}` for the id.
    """
    first = here.intensity_g_per_kwh * here.pue
    if first.low <= 0.0:
        return ()
    found = [
        ((site.intensity_g_per_kwh * site.pue) / first, site)
        for site in others
        if site.id != here.id and site.accounting == here.accounting
    ]
    found.sort(key=lambda one: (one[0].mid, one[1].id))
    chosen: list[Advice] = []
    grids: set[float] = set()
    for ratio, site in found:
        grid = site.intensity_g_per_kwh.mid
        if len(chosen) == MOST_SITES or ratio.mid >= 1.0 - LEAST_SAVING:
            break
        if grid in grids:
            continue
        grids.add(grid)
        chosen.append(_site(here, site, ratio, cost, how))
    return tuple(chosen)


def _site(here: Site, site: Site, ratio: Estimate, cost: str, how: str) -> Advice:
    sure = here.declared and BASES.index(ratio.basis) <= BASES.index("catalogue")
    told = (
        f"{site.intensity_g_per_kwh.mid:.0f} gCO2e/kWh × PUE {site.pue.mid:.2f}, here "
        f"{here.intensity_g_per_kwh.mid:.0f} × {here.pue.mid:.2f}"
    )
    unknown = () if here.declared else ("nobody said where it runs now, so the saving may be none",)
    return Advice(
        f"greener-site:{site.id}", f"the same run at {site.name} ({site.id})", (), saving_of(ratio), "carbon",
        Estimate.exact(0.0, "modelled"), ("the training stays as it is: same quality, same energy",),
        (
            "data must be allowed to go there, and be brought there", cost,
            "a yearly average: what more load really adds may come from other plants", *unknown,
        ),
        (Evidence("published" if sure else "assumed", told, ", ".join(site.sources)),), how.format(site=site.id),
    )  # fmt: skip


def device_advice(
    job: Job, device: Device, others: Iterable[Device], how: str, *, watts: float | None = None
) -> tuple[Advice, ...]:
    """Other devices that surely take less energy for the job; both sides of each. Devices that lack figures are left.

    Args:
        job: what is run.
        device: on what it ran.
        others: on what it could.
        how: what to type, with `{device}` for the id.
        watts: its mean power [W], where it was read.
    """
    found = []
    for other in others:
        if other.id == device.id:
            continue
        try:
            contrast = contrast_job(job, device, other, watts=watts)
        except (LowcarbError, ValueError):
            continue
        if contrast.energy_ratio.high < 1.0:
            found.append((contrast, other))
    found.sort(key=lambda one: (one[0].energy_ratio.mid, one[1].id))
    return tuple(
        Advice(
            f"other-device:{other.id}", f"the same run on {other.name} ({other.id})", (),
            saving_of(contrast.energy_ratio), "energy", Estimate.exact(0.0, "modelled"),
            (f"{contrast.speed_ratio.mid:.2g}× the speed",),
            (
                "modelled, hosts left out; the carbon of making it is not in this figure",
                *(() if other.price_per_hour else ("no price known: perhaps not for rent by the hour",)),
            ),
            (Evidence("assumed", contrast.why, "lowcarb.core.contrast, fitted on published runs"),),
            how.format(device=other.id),
        )
        for contrast, other in found[:MOST_DEVICES]
    )  # fmt: skip
