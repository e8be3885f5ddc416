"""`lowcarb ledger compare`: runs side by side, and what may honestly be said of their ratios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from lowcarb.cli.console import Json, LedgerPath, emit, out, show
from lowcarb.cli.ledger_book import carbon_of, opened, run_of, together
from lowcarb.core.estimate import Estimate
from lowcarb.core.units import s_from_ns
from lowcarb.errors import SettingError
from lowcarb.ledger.base import Attempt, Run
from lowcarb.report.format import exactly, quantity

Names = Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Runs by id, or the beginning of one.")]
FIGURES = {"energy_j": "J", "operational_g": "g"}


@dataclass(frozen=True, slots=True)
class Side:
    """A run as it is compared: its attempts together."""

    run: Run
    status: str
    attempts: int
    duration_s: float | None
    """Of all attempts that ended [s]."""
    energy_j: Estimate | None
    operational_g: Estimate | None
    measured_share: float | None
    facts: Mapping[str, tuple[str, ...]]
    """What must be equal for a ratio to mean the runs: boundary, attribution, site, basis, machine, program."""

    def figure(self, name: str) -> Estimate | None:
        """Energy or carbon."""
        return self.energy_j if name == "energy_j" else self.operational_g


@dataclass(frozen=True, slots=True)
class Ratio:
    """A figure of a run over that of the first."""

    mid: float | None
    interval: Estimate | None
    """By interval arithmetic, so on the wide side; None where none can honestly be given."""
    verdict: str
    """less, more, undecided, not comparable, or unknown."""


def side_of(run: Run, attempts: Sequence[Attempt]) -> Side:
    """A run with its attempts together, each joule once."""
    whole, _ = together(attempts)
    known = [one for one in attempts if one.document.get("footprint")]
    documents: list[Any] = [one.document for one in known]
    energies = [(d["footprint"]["energy_j"]["mid"], d["footprint"].get("measured_share") or 0.0) for d in documents]
    weight = sum(energy_j for energy_j, _ in energies)
    return Side(
        run=run,
        status=attempts[-1].status if attempts else "running",
        attempts=len(attempts),
        duration_s=sum(s_from_ns(a.ended_ns - a.started_ns) for a in attempts if a.ended_ns is not None) or None,
        energy_j=whole.energy_j if known else None,
        operational_g=carbon_of(known, whole.shares),
        measured_share=sum(energy_j * share for energy_j, share in energies) / weight if weight > 0 else None,
        facts={
            "boundary": _distinct(_boundary(document) for document in documents),
            "attribution": _distinct(document.get("attribution") or "machine" for document in documents),
            "site": _distinct(_site(document) for document in documents),
            "basis": _distinct(document["footprint"]["energy_j"]["basis"] for document in documents),
            "machine": _distinct((document.get("machine") or {}).get("name") or "" for document in documents),
            "program": _distinct(_program(document) for document in documents),
        },
    )  # fmt: skip


def ratio_of(name: str, one: Side, first: Side) -> Ratio:
    """A figure of a run over that of the first one, with its interval where one can honestly be given.

    None is given where the two do not count the same things: other devices, or a machine against a process.
    """
    figure, base = one.figure(name), first.figure(name)
    if figure is None or base is None or base.mid <= 0:
        return Ratio(None, None, "unknown")
    mid = figure.mid / base.mid
    if any(one.facts[fact] != first.facts[fact] for fact in ("boundary", "attribution")):
        return Ratio(mid, None, "not comparable")
    if base.low <= 0:
        return Ratio(mid, None, "undecided")
    interval = figure / base
    return Ratio(mid, interval, "less" if interval.high < 1.0 else "more" if interval.low > 1.0 else "undecided")


def notes_of(one: Side, first: Side) -> list[str]:
    """How two runs differ in what their figures mean."""
    told = {
        "boundary": "other devices are counted",
        "attribution": "one counts a machine, the other a process",
        "site": "at another site: the carbon is of the place too",
        "basis": "known on another basis",
        "machine": "on another machine",
        "program": "metered by another program",
    }
    notes = [
        f"{words} ({', '.join(one.facts[fact]) or 'unknown'}; first {', '.join(first.facts[fact]) or 'unknown'})"
        for fact, words in told.items()
        if one.facts[fact] != first.facts[fact]
    ]
    if one.status != first.status:
        notes.append(f"it is {one.status}, the first {first.status}")
    return notes


def compare(names: Names, *, ledger: LedgerPath = None, json: Json = False) -> None:
    """Runs side by side, each with its ratio to the first one.

    A ratio has an interval only where both count the same things, and an interval that holds 1 decides nothing. Runs of
    one study are better compared on pairs: `lowcarb study show`.
    """
    if len(names) < 2:
        raise SettingError("run", ", ".join(names), "two runs or more")
    book = opened(ledger, there=True)
    try:
        runs = [run_of(book, name) for name in names]
        sides = [side_of(run, book.attempts(run.id)) for run in runs]
    finally:
        book.close()
    first = sides[0]
    if json:
        emit({"runs": [_told(one, first) for one in sides]}, kind="compare")
        return
    show("", ("", *(one.run.name for one in sides)), _rows(sides), right=tuple(range(1, len(sides) + 1)))
    for one in sides[1:]:
        for note in notes_of(one, first):
            out().print(f"{one.run.name} ({one.run.id[:12]}): {note}", markup=False, soft_wrap=True)


def _rows(sides: Sequence[Side]) -> list[tuple[str, ...]]:
    first = sides[0]
    rows = [
        ("id", *(one.run.id[:12] for one in sides)),
        ("status", *(one.status for one in sides)),
        ("attempts", *(str(one.attempts) for one in sides)),
        ("time", *(quantity(exactly(one.duration_s), "s") for one in sides)),
    ]
    for name, title in (("energy_j", "energy"), ("operational_g", "carbon")):
        rows.append((title, *(_figure(one.figure(name), FIGURES[name]) for one in sides)))
        ratios = [ratio_of(name, one, first) for one in sides[1:]]
        rows.append((f"{title} / first", "1", *(_ratio(ratio) for ratio in ratios)))
    rows.append(("measured", *(_percent(one.measured_share) for one in sides)))
    shown = ("basis", "site", "attribution", "boundary", "machine")
    rows += [(fact, *(", ".join(one.facts[fact]) for one in sides)) for fact in shown]
    return rows


def _figure(figure: Estimate | None, unit: str) -> str:
    if figure is None:
        return "unknown"
    return quantity(figure, unit)


def _ratio(ratio: Ratio) -> str:
    if ratio.mid is None:
        return ratio.verdict
    interval = f" ({ratio.interval.low:.3g} to {ratio.interval.high:.3g})" if ratio.interval else ""
    return f"{ratio.mid:.3g}{interval} {ratio.verdict}"


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.0%}"


def _told(one: Side, first: Side) -> dict[str, Any]:
    ratios = {name: ratio_of(name, one, first) for name in FIGURES}
    return {
        "id": one.run.id,
        "name": one.run.name,
        "kind": one.run.kind,
        "study": one.run.study,
        "status": one.status,
        "attempts": one.attempts,
        "duration_s": one.duration_s,
        "energy_j": one.energy_j.as_dict() if one.energy_j else None,
        "operational_g": one.operational_g.as_dict() if one.operational_g else None,
        "measured_share": one.measured_share,
        "facts": {name: list(values) for name, values in one.facts.items()},
        "ratios": {
            name: {
                "mid": ratio.mid,
                "interval": ratio.interval.as_dict() if ratio.interval else None,
                "verdict": ratio.verdict,
            }
            for name, ratio in ratios.items()
        }
        if one is not first
        else None,
        "notes": notes_of(one, first) if one is not first else [],
    }


def _distinct(values: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(value) for value in values))


def _boundary(document: Any) -> str:
    """The kinds of devices that the energy covers, in one order."""
    return "+".join(sorted(set(str(document["footprint"].get("scope") or "").split("+"))))


def _program(document: Any) -> str:
    return str((document.get("provenance") or {}).get("program") or "lowcarb")


def _site(document: Any) -> str:
    site = document.get("site") or {}
    return str(site.get("id")) if site.get("declared") else "unknown"
