"""The report of one run, tracked or a single trial: its document, and that as a page or as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from lowcarb.catalogue import Catalogue
from lowcarb.core.documents import energy_from_dict, machine_as_dict, machine_from_dict, site_as_dict, site_from_dict
from lowcarb.core.energy import Energy
from lowcarb.core.estimate import total
from lowcarb.core.footprint import Footprint, footprint_from_dict, measured_footprint
from lowcarb.core.hardware import Machine
from lowcarb.core.site import Site
from lowcarb.core.units import s_from_ns
from lowcarb.errors import CatalogueError
from lowcarb.ledger.base import Attempt, Ledger, Run
from lowcarb.report.everyday import everyday
from lowcarb.report.facts import decisive
from lowcarb.report.run_page import render_run_html, render_run_markdown
from lowcarb.report.study import NO_SITE
from lowcarb.report.where import drawn

SCHEMA_VERSION = 1

__all__ = ["render_run_html", "render_run_markdown", "run_document"]


def run_document(ledger: Ledger, run: Run, catalogue: Catalogue, site: Site | None = None) -> dict[str, Any]:
    """All that the ledger knows of one run, as one JSON-ready mapping.

    Args:
        ledger: that has it.
        run: a tracked run, or a single trial of a study.
        catalogue: for sources and familiar things.
        site: where all of it is priced; each attempt at its own site where None.

    Returns:
        Run, attempts (oldest first), the decisive attempt's phases, power, machine, site and scores, and the totals of
        all attempts. What is not known is None. The energy of attempts is added up; two that overlap in time count
        twice here, and `lowcarb ledger list` counts each joule once.
    """
    attempts = ledger.attempts(run.id)
    chosen = decisive(attempts)
    document: Mapping[str, Any] = chosen.document if chosen else {}
    notes: Mapping[str, Any] = document.get("notes") or {}
    result: Mapping[str, Any] = notes.get("result") or {}
    place = _site(document, site)
    machine = machine_from_dict(document["machine"]) if document.get("machine") else None
    footprints = [one for one in (_footprint(attempt.document, site) for attempt in attempts) if one is not None]
    carbon, energy = _carbon(footprints), total(one.energy_j for one in footprints) if footprints else None
    familiar = everyday(carbon, energy, catalogue.equivalents())
    used = {name for one in footprints for name in one.sources}
    used |= {name for one in familiar for name in one["sources"]}
    own = _footprint(document, site)
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "run",
        "run": {
            "id": run.id, "name": run.name, "kind": run.kind, "study": run.study, "created_ns": run.created_ns,
            "began": _time(run.created_ns),
        },
        "site": {**site_as_dict(place), "note": None if place.declared else NO_SITE} if place else None,
        "machine": machine_as_dict(machine) if machine else None,
        "attempts": [_attempt(attempt, site) for attempt in attempts],
        "status": chosen.status if chosen else None,
        "footprint": own.as_dict() if own else None,
        "phases": [_phase(one, machine, place) for one in document.get("phases") or ()],
        "power": document.get("power") or [],
        "forecast": notes.get("forecast"),
        "scores": result.get("scores") or {},
        "training": result.get("training") or {},
        "tokens": document.get("tokens") or None,
        "steps": document.get("steps") or None,
        "coverage": _energy(document).coverage if document.get("energy") else None,
        "faults": list(document.get("faults") or ()),
        "missing": list((document.get("meter") or {}).get("missing") or ()),
        "attribution": document.get("attribution"),
        "totals": {
            "energy_j": energy.as_dict() if energy else None,
            "carbon_g": carbon.as_dict() if carbon else None,
            "operational_g": total(one.operational_g for one in footprints).as_dict() if footprints else None,
            "duration_s": sum(one.duration_s.mid for one in footprints) if footprints else None,
            "measured_share": _measured_share(footprints),
            "unmetered": len(attempts) - len(footprints),
        },
        "everyday": familiar,
        "sources": _sources(catalogue, sorted(used)),
    }  # fmt: skip


def _energy(document: Mapping[str, Any]) -> Energy:
    return energy_from_dict(document["energy"])


def _site(document: Mapping[str, Any], site: Site | None) -> Site | None:
    return site or (site_from_dict(document["site"]) if document.get("site") else None)


def _footprint(document: Mapping[str, Any], site: Site | None) -> Footprint | None:
    """The footprint of an attempt, priced at a site where one is given; None while nothing is known of it."""
    if site is not None and document.get("energy") and document.get("machine"):
        return measured_footprint(_energy(document), machine_from_dict(document["machine"]), site)
    held = document.get("footprint")
    return footprint_from_dict(held) if held else None


def _carbon(footprints: Sequence[Footprint]) -> Any:
    """Carbon of the electricity and, where it is known, of making the machine [gCO2e]; None of nothing."""
    parts = [one.operational_g for one in footprints]
    parts += [one.embodied_g for one in footprints if one.embodied_g is not None]
    return total(parts) if parts else None


def _measured_share(footprints: Sequence[Footprint]) -> float | None:
    whole = sum(one.energy_j.mid for one in footprints)
    return sum(one.measured_share * one.energy_j.mid for one in footprints) / whole if whole > 0 else None


def _attempt(attempt: Attempt, site: Site | None) -> dict[str, Any]:
    footprint = _footprint(attempt.document, site)
    notes: Any = attempt.document.get("notes") or {}
    ended_ns = attempt.ended_ns
    return {
        "id": attempt.id,
        "number": attempt.number,
        "status": attempt.status,
        "began": _time(attempt.started_ns),
        "length_s": None if ended_ns is None else s_from_ns(ended_ns - attempt.started_ns),
        "footprint": footprint.as_dict() if footprint else None,
        "error": notes.get("error"),
    }


def _phase(phase: Mapping[str, Any], machine: Machine | None, site: Site | None) -> dict[str, Any]:
    energy = energy_from_dict(phase["energy"])
    footprint = measured_footprint(energy, machine, site).as_dict() if machine and site else phase.get("footprint")
    return {
        "name": phase["name"],
        "wall_s": phase["wall_s"],
        "cpu_s": phase["cpu_s"],
        "footprint": footprint,
        "devices": drawn(energy),
    }


def _time(at_ns: int) -> str:
    return datetime.fromtimestamp(s_from_ns(at_ns), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _sources(catalogue: Catalogue, names: Sequence[str]) -> list[dict[str, Any]]:
    """The sources that the catalogue still has: a ledger may be older than it."""
    found = []
    for name in names:
        try:
            found.append(catalogue.source(name).as_dict())
        except CatalogueError:
            continue
    return found
