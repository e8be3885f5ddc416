"""What is told of runs, totals and live runs, as JSON: the API gives it, and the pages are made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lowcarb.catalogue import Catalogue
from lowcarb.core.contrast import Job, contrast_job
from lowcarb.core.documents import machine_from_dict, site_from_dict
from lowcarb.core.estimate import Estimate
from lowcarb.core.footprint import operational_g
from lowcarb.core.hours import Hour
from lowcarb.dashboard.live import Live
from lowcarb.dashboard.problems import Problem
from lowcarb.errors import CatalogueError, LowcarbError
from lowcarb.ledger.base import Attempt, Ledger, Run
from lowcarb.ledger.query import Row, Sum
from lowcarb.report.facts import decisive, run_facts

USUAL_SITES = ("fra", "swe", "deu", "usa", "ind", "pol", "world")
USUAL_DEVICES = ("t4", "a100-sxm4-80gb", "h100-sxm5-80gb")


def row_dict(row: Row) -> dict[str, Any]:
    """A run of a list."""
    return {
        **run_dict(row.run), "attempts": row.attempts, "status": row.status, "started_ns": row.started_ns,
        "ended_ns": row.ended_ns, "energy_j": row.energy_j, "operational_g": row.operational_g, "site": row.site,
        "tags": dict(row.tags),
    }  # fmt: skip


def run_dict(run: Run) -> dict[str, Any]:
    """What a run is."""
    return {
        "id": run.id, "key": run.key, "kind": run.kind, "name": run.name, "study": run.study,
        "created_ns": run.created_ns,
    }  # fmt: skip


def attempt_dict(attempt: Attempt) -> dict[str, Any]:
    """An attempt in full."""
    return {
        "id": attempt.id, "number": attempt.number, "status": attempt.status, "started_ns": attempt.started_ns,
        "ended_ns": attempt.ended_ns, "energy_j": attempt.energy_j, "operational_g": attempt.operational_g,
        "document": attempt.document,
    }  # fmt: skip


def sum_dict(one: Sum) -> dict[str, Any]:
    """What a group of runs took."""
    return {
        "key": one.key, "runs": one.runs, "energy_j": one.energy_j, "operational_g": one.operational_g,
        "unknown": one.unknown,
    }  # fmt: skip


def live_dict(live: Live) -> dict[str, Any]:
    """A run at work."""
    coming, spending = live.coming, live.spending
    outlook = coming.outlook if coming else None
    return {
        "attempt": live.header.attempt_id, "run": live.run_id, "name": live.header.name, "study": live.header.study,
        "started_ns": live.header.started_ns, "elapsed_s": live.elapsed_s, "phase": live.phase,
        "power_w": live.power_w, "footprint": live.footprint.as_dict(), "tokens": live.tokens, "steps": live.steps,
        "site": live.header.site.id, "silent_s": live.silent_s, "power": [dict(one) for one in live.power],
        "progress": coming.progress if coming else None, "ends_ns": coming.ends_ns if coming else None,
        "ends_within_s": list(coming.within_s) if coming and coming.within_s else None,
        "outlook_energy_j": _figure(outlook.energy_j if outlook else None),
        "outlook_operational_g": _figure(outlook.operational_g if outlook else None),
        "outlook_cost": _figure(outlook.cost if outlook else None),
        "budget": {**spending.budget.as_dict(), "spent": spending.spent} if spending else None,
        "forecast": live.forecast.as_dict() if live.forecast else None,
    }  # fmt: skip


def _figure(value: Estimate | None) -> dict[str, Any] | None:
    return value.as_dict() if value else None


def tags_of(ledger: Ledger, run: Run) -> dict[str, str]:
    """A run's tags."""
    return dict(ledger.tag(run.id, {}))


def chosen_document(ledger: Ledger, run: Run) -> Mapping[str, Any]:
    """The document of the attempt that a run's result rests on; empty where there is none."""
    found = decisive(ledger.attempts(run.id))
    return found.document if found else {}


def comparison(ledger: Ledger, runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Runs side by side, each beside the first: figures with intervals, and their ratios.

    The bounds of a ratio are those of both figures taken together, as if nothing were common to them: on the wide
    side. Where two runs are priced at one site, its intensity cancels, so that the ratio of carbon is that of energy.
    """
    found: list[dict[str, Any]] = []
    first: Mapping[str, Any] = {}
    for number, run in enumerate(runs):
        document = chosen_document(ledger, run)
        footprint = document.get("footprint") or {}
        if number == 0:
            first = document
        base = first.get("footprint") or {}
        same = bool(document.get("site")) and document.get("site") == first.get("site")
        energy_ratio = ratio_of(footprint.get("energy_j"), base.get("energy_j")) if number else None
        found.append({
            **run_dict(run), "footprint": footprint or None, "tokens": document.get("tokens"),
            "wall_s": document.get("wall_s"), "energy_ratio": energy_ratio,
            "carbon_ratio": energy_ratio if same or not number
            else ratio_of(footprint.get("operational_g"), base.get("operational_g")),
            "time_ratio": ratio_of(footprint.get("duration_s"), base.get("duration_s")) if number else None,
        })  # fmt: skip
    return found


def ratio_of(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """One figure over another; None where either is unknown, or the other may be nothing."""
    if not one or not other:
        return None
    try:
        return (Estimate.from_dict(dict(one)) / Estimate.from_dict(dict(other))).as_dict()
    except (ValueError, ZeroDivisionError):
        return None


def elsewhere(
    ledger: Ledger, run: Run, catalogue: Catalogue, sites: Sequence[str], devices: Sequence[str]
) -> dict[str, Any]:
    """A run at other sites and on other devices.

    Raises:
        Problem: nothing is known of the run's energy yet, or there is no such site or device.
    """
    document = chosen_document(ledger, run)
    if not document.get("energy") or not document.get("footprint"):
        raise Problem(404, "nothing is known of this run's energy yet", "run")
    return {
        "run": run.id,
        "energy_j": document["footprint"]["energy_j"],
        "operational_g": document["footprint"]["operational_g"],
        "site": document["site"]["id"],
        "site_name": document["site"]["name"],
        "sites": _sites(document, catalogue, sites or USUAL_SITES, strict=bool(sites)),
        "devices": _devices(ledger, run, document, catalogue, devices or USUAL_DEVICES, strict=bool(devices)),
    }


def _sites(
    document: Mapping[str, Any], catalogue: Catalogue, names: Sequence[str], *, strict: bool
) -> list[dict[str, Any]]:
    hours = [Hour.from_dict(one).energy_j for one in document.get("hours", ())]
    here = site_from_dict(document["site"])
    first = here.intensity_g_per_kwh * here.pue
    found = []
    for name in names:
        try:
            site = catalogue.site(name)
        except CatalogueError:
            if strict:
                raise
            continue
        energies = hours or [Estimate.from_dict(document["footprint"]["energy_j"])]
        carbon = operational_g(energies[0], site)
        for energy_j in energies[1:]:
            carbon += operational_g(energy_j, site)
        ratio = (site.intensity_g_per_kwh * site.pue) / first if first.low > 0 and site.id != here.id else None
        found.append({
            "site": site.id, "name": site.name, "operational_g": carbon.as_dict(), "ratio": _figure(ratio),
            "accounting": site.accounting, "year": site.year,
        })  # fmt: skip
    return sorted(found, key=lambda one: one["operational_g"]["mid"])


def _devices(
    ledger: Ledger, run: Run, document: Mapping[str, Any], catalogue: Catalogue, names: Sequence[str], *, strict: bool
) -> list[dict[str, Any]]:
    """By device: ratios of energy and speed, or why there are none."""
    attempts = ledger.attempts(run.id)
    cards = run_facts(run.id, run.name, attempts).cards
    notes = document.get("notes") or {}
    devices = [_device(catalogue, name, strict=strict) for name in names]
    if cards is None:
        why = "it ran on processors, or on cards of several kinds: there is nothing to project from"
        return [{"device": one.id, "name": one.name, "why_not": why} for one in devices if one]
    kinds = machine_from_dict(document["machine"]).devices
    device = next(one.device for one in kinds if one.device.id == cards.device)
    job = Job(
        model=str(notes.get("model") or ""), phase="train", framework=None,
        precision=str(notes.get("precision") or ""), params=notes.get("parameters"),
    )  # fmt: skip
    found: list[dict[str, Any]] = []
    for other in devices:
        if other is None:
            continue
        told: dict[str, Any] = {"device": other.id, "name": other.name}
        try:
            contrast = contrast_job(job, device, other, watts=cards.mean_w)
            told |= {
                "energy_ratio": contrast.energy_ratio.as_dict(), "speed_ratio": contrast.speed_ratio.as_dict(),
                "why": contrast.why,
            }  # fmt: skip
        except (LowcarbError, ValueError) as error:
            told["why_not"] = str(error)
        found.append(told)
    return found


def _device(catalogue: Catalogue, name: str, *, strict: bool) -> Any:
    try:
        return catalogue.device(name)
    except CatalogueError:
        if strict:
            raise
        return None
