"""`Account`: what an export is about, one run or a study with all its trials, failed and preliminary ones included.

Every export reads this and nothing else, so all of them tell the same figures: each joule once, priced at one site
where the reader names one, and otherwise where each attempt ran.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from lowcarb.catalogue import Catalogue
from lowcarb.core.estimate import Estimate, total
from lowcarb.core.footprint import Footprint
from lowcarb.core.hardware import Machine
from lowcarb.core.hours import Hour
from lowcarb.core.site import Site
from lowcarb.core.source import Source
from lowcarb.core.units import J_PER_KWH
from lowcarb.errors import CatalogueError, SettingError
from lowcarb.ledger.base import Attempt, Ledger, Run
from lowcarb.report.exports.place import Place, place_of
from lowcarb.report.exports.spending import (
    Spent,
    coverage_of,
    hours_of,
    kinds_of,
    phase_footprint,
    phases_of,
    shared,
    sources_of,
    spent_of,
    wall_clock_s,
    whole_footprint,
)
from lowcarb.report.exports.tallies import (
    PRELIMINARY,
    ArmUse,
    DeviceUse,
    Drawn,
    Outcome,
    Phase,
    arms_of,
    devices_of,
    drawn_of,
    energy_of,
    outcomes_of,
)
from lowcarb.report.exports.trained import Quality, Trained, trained_of
from lowcarb.report.exports.words import boundary_words
from lowcarb.report.facts import decisive, lost_attempts
from lowcarb.report.records import TRAIN, read_study

MOST_RUNS = 100_000
ID_SHOWN = 12
"""Characters of an id, as the ledger's list shows them."""


@dataclass(frozen=True, slots=True)
class Market:
    """What a contract, a supplier or a residual mix says of the electricity."""

    intensity_g_per_kwh: Estimate
    instrument: str
    """Which of them, in words."""


@dataclass(frozen=True, slots=True)
class Account:
    """A run, or a study. Unknown is None, never zero."""

    kind: Literal["run", "study"]
    id: str
    title: str
    question: str | None
    """Of a study."""
    run_ids: tuple[str, ...]
    attempts: int
    began_ns: int | None
    """The first start [ns, UTC]."""
    ended_ns: int | None
    """The last end [ns, UTC]; None while something runs."""
    wall_clock_s: float | None
    """Time during which at least one attempt ran, on whatever machine [s]."""
    outcomes: tuple[Outcome, ...]
    """By how attempts ended: done first, then preliminary, then the others."""
    whole: Footprint | None
    """All attempts, each joule once."""
    training: Footprint | None
    """The phase `train` of the attempts that the results rest on; None where no phase was marked so."""
    phases: tuple[Phase, ...]
    """All attempts by phase."""
    arms: tuple[ArmUse, ...]
    """What a training of each arm took, mean over the done ones; empty for a run that is no trial."""
    drawn: tuple[Drawn, ...]
    """All attempts by kind of device."""
    lost_j: Estimate | None
    """Energy of attempts that no result rests on [J]."""
    counted_twice_j: float
    """What plain addition would have counted too much [J]."""
    devices: tuple[DeviceUse, ...]
    machines: tuple[Machine, ...]
    """Each once, the last used first."""
    virtual: bool | None
    sites: tuple[Site, ...]
    """Where attempts are priced, each once."""
    place: Place | None
    """Of the one site; None where there are several, or nobody said."""
    market: Market | None
    market_g: Estimate | None
    """Operational carbon of the whole by `market`, PUE included [gCO2e]."""
    hours: tuple[Hour, ...]
    """Energy by UTC hour [J]."""
    trained: Trained
    measured_share: float | None
    """Share of the energy that was read off a sensor, 0 to 1."""
    coverage: float | None
    """Share of the time that readings cover, 0 to 1."""
    attribution: str | None
    """`machine`: all that it drew; `process`: the share of the process in processor and memory."""
    boundary: str
    """What the energy covers and what not, in a sentence or two."""
    sources: tuple[Source, ...]
    software: Mapping[str, str]
    """Version by package."""
    notes: tuple[str, ...]
    """What a reader has to know besides."""

    @property
    def site(self) -> Site | None:
        """Where all was priced; None where attempts are priced at several sites, or at none."""
        return self.sites[0] if len(self.sites) == 1 else None

    @property
    def machine(self) -> Machine | None:
        """The machine last used."""
        return self.machines[0] if self.machines else None

    @property
    def location_g(self) -> Estimate | None:
        """Operational carbon of the whole, location-based, PUE included [gCO2e]; None of a market's figure alone."""
        if self.whole is None or any(site.accounting == "market" for site in self.sites):
            return None
        return self.whole.operational_g

    @property
    def made(self) -> Footprint | None:
        """Training of the results alone, where it was marked; else the whole."""
        return self.training or self.whole

    @property
    def qualities(self) -> tuple[Quality, ...]:
        """Scores of what was trained."""
        return self.trained.qualities


def account_of(
    ledger: Ledger, name: str, catalogue: Catalogue, site: Site | None = None, *, market: Market | None = None
) -> Account:
    """The account of a study or a run.

    Args:
        ledger: that has it.
        name: a study's id; or a run's id, the beginning of one, its key, or an attempt's id.
        catalogue: for the sources, and the site of an attempt that has none.
        site: where everything is priced; each attempt at its own site where None.
        market: contract, supplier or residual mix, for the market-based figure; not known where None.

    Raises:
        SettingError: the ledger has neither a run nor a study of this name; the error names near ones.
    """
    runs = ledger.runs(study=name, limit=MOST_RUNS) if name else ()
    if runs:
        return _study_account(ledger, name, runs, catalogue, site, market)
    run = (ledger.run(name) or run_of_attempt(ledger, name)) if name else None
    if run is None:
        raise SettingError("run or study", name, _known(ledger, name))
    attempts = ledger.attempts(run.id)
    chosen = decisive(attempts)
    lost = {one.id for one in lost_attempts(attempts)}
    spent = [_spent(one, chosen, lost, site) for one in attempts]
    return _account(_Subject("run", run.id, run.name, None, (run.id,)), spent, catalogue, market)


def run_of_attempt(ledger: Ledger, attempt_id: str) -> Run | None:
    """The run whose attempt has an id that begins so, among the newest; None where there is none."""
    for run in ledger.runs(limit=10_000):
        if any(attempt.id.startswith(attempt_id) for attempt in ledger.attempts(run.id)):
            return run
    return None


@dataclass(frozen=True, slots=True)
class _Subject:
    """What an account is of."""

    kind: Literal["run", "study"]
    id: str
    title: str
    question: str | None
    run_ids: tuple[str, ...]


def _study_account(
    ledger: Ledger, name: str, runs: Sequence[Run], catalogue: Catalogue, site: Site | None, market: Market | None
) -> Account:
    """All runs of a study: those of its present version, and those that went before."""
    found = read_study(ledger, name)
    # A trial that another study ran first is a run of that one.
    present = {run.id: run for record in (found[1] if found else ()) if (run := ledger.run(record.trial.key))}
    everything = {**{run.id: run for run in runs}, **present}
    spent = []
    for run in sorted(everything.values(), key=lambda one: (one.created_ns, one.id)):
        attempts = ledger.attempts(run.id)
        current = run.id in present if found else not any(_is_search(one) for one in attempts)
        chosen = decisive(attempts) if current else None
        lost = {one.id for one in (lost_attempts(attempts) if current else attempts)}
        spent += [_spent(one, chosen, lost, site) for one in attempts]
    question = found[0].question if found else None
    return _account(_Subject("study", name, name, question or None, tuple(everything)), spent, catalogue, market)


def _is_search(attempt: Attempt) -> bool:
    """Whether a training only served to look for a recipe."""
    held: Any = attempt.document.get("notes")
    reduce = held.get("reduce") if isinstance(held, Mapping) else None
    return isinstance(reduce, Mapping) and reduce.get("part") == "search"


def _spent(attempt: Attempt, chosen: Attempt | None, lost: Iterable[str], site: Site | None) -> Spent:
    is_chosen = chosen is not None and attempt.id == chosen.id
    status = PRELIMINARY if attempt.status == "done" and not is_chosen else attempt.status
    # What a later attempt went on from is a part of its training.
    resumed = chosen is not None and attempt.id not in lost and attempt.status not in ("done", "running")
    gone = attempt.id in lost or status == PRELIMINARY
    return spent_of(attempt, status, counts=is_chosen or resumed, lost=gone, site=site)


def _account(subject: _Subject, spent: Sequence[Spent], catalogue: Catalogue, market: Market | None) -> Account:
    known, together = shared(spent)
    resting = [one for one in known if one.counts]
    if subject.kind == "study":
        resting = _with_result(resting)
    metered = [one for one in known if one.energy_j is not None]
    whole = whole_footprint(known, together)
    sites = _each(one.site for one in metered)
    machines = _machines(known)
    attributions = {str(held) for one in metered if (held := one.attempt.document.get("attribution"))}
    attribution = attributions.pop() if len(attributions) == 1 else None
    phases = [(name, phase_footprint(known, name)) for name in phases_of(known)]
    ends = [one.attempt.ended_ns for one in known]
    return Account(
        kind=subject.kind,
        id=subject.id,
        title=subject.title,
        question=subject.question,
        run_ids=subject.run_ids,
        attempts=len(known),
        began_ns=min((one.attempt.started_ns for one in known), default=None),
        ended_ns=None if None in ends else max((end for end in ends if end is not None), default=None),
        wall_clock_s=wall_clock_s(metered),
        outcomes=outcomes_of(known),
        whole=whole,
        training=phase_footprint(resting, TRAIN),
        phases=tuple(Phase(name, footprint) for name, footprint in phases if footprint is not None),
        arms=arms_of(resting),
        drawn=drawn_of(metered),
        lost_j=energy_of(one for one in known if one.lost),
        counted_twice_j=together.counted_twice_j,
        devices=devices_of(known),
        machines=machines,
        virtual=machines[0].virtual if machines else None,
        sites=sites,
        place=place_of(sites[0]) if len(sites) == 1 else None,
        market=market,
        market_g=_market_g(metered, market),
        hours=hours_of(metered),
        trained=trained_of([one.attempt for one in resting]),
        measured_share=whole.measured_share if whole else None,
        coverage=coverage_of(metered) if metered else None,
        attribution=attribution,
        boundary=boundary_words(tuple(dict.fromkeys(kind for one in metered for kind in kinds_of(one))), attribution),
        sources=_sources(catalogue, sources_of(metered)),
        software={name: version for machine in reversed(machines) for name, version in machine.software.items()},
        notes=_notes(known, sites, machines),
    )


def _with_result(spent: Sequence[Spent]) -> list[Spent]:
    """Of a study, only what a done trial rests on."""
    done = {one.attempt.run_id for one in spent if one.status == "done"}
    return [one for one in spent if one.attempt.run_id in done]


def _machines(spent: Sequence[Spent]) -> tuple[Machine, ...]:
    return tuple({one.machine.id: one.machine for one in reversed(spent) if one.machine}.values())


def _each(sites: Iterable[Site | None]) -> tuple[Site, ...]:
    return tuple(dict.fromkeys(site for site in sites if site is not None))


def _market_g(spent: Sequence[Spent], market: Market | None) -> Estimate | None:
    if market is None or not spent or any(one.site is None for one in spent):
        return None
    return total(
        (one.energy_j * one.site.pue * market.intensity_g_per_kwh).scale(1.0 / J_PER_KWH)
        for one in spent
        if one.energy_j is not None and one.site is not None
    )


def _sources(catalogue: Catalogue, names: Iterable[str]) -> tuple[Source, ...]:
    """The sources that the catalogue still has: a ledger may be older than it."""
    found = []
    for name in names:
        try:
            found.append(catalogue.source(name))
        except CatalogueError:
            continue
    return tuple(found)


def _notes(spent: Sequence[Spent], sites: Sequence[Site], machines: Sequence[Machine]) -> tuple[str, ...]:
    unmetered = sum(one.energy_j is None for one in spent)
    notes = []
    if unmetered:
        notes.append(f"the energy of {unmetered} of {len(spent)} attempts is not known and in no sum")
    if any(not site.declared for site in sites):
        notes.append("nobody said where this ran: a world average stands in, with a wide interval")
    if len(sites) > 1:
        notes.append(f"priced at {len(sites)} sites, each attempt where it ran")
    if len(machines) > 1:
        notes.append(f"{len(machines)} machines were used")
    return tuple(notes)


def _known(ledger: Ledger, name: str) -> str:
    """What to ask for instead: studies by their ids, runs of a like name by theirs."""
    runs = ledger.runs(limit=1000)
    asked = {run.name: f"{run.id[:ID_SHOWN]} (named {run.name!r})" for run in reversed(runs)}
    asked |= {run.study: repr(run.study) for run in runs if run.study}
    near = get_close_matches(name, asked, n=3, cutoff=0.5)
    if near:
        return f"one that the ledger has, such as {', '.join(asked[one] for one in near)}"
    return "a study's id, or a run's id or the beginning of it: `lowcarb ledger list` shows them"
