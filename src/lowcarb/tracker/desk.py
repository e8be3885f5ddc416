"""The tracker's writing desk: what goes into the journal while a run is on, and where it goes from there.

The journal holds all there is; whoever opens the ledger next takes it in (`lowcarb.tracker.recover`). So a training
loads no database, waits for none, and loses nothing to one that is away. A ledger that is given as an object is at
work already, and is written to at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import RLock

from lowcarb.core.documents import machine_as_dict
from lowcarb.core.energy import Reading
from lowcarb.core.hardware import Machine
from lowcarb.core.units import NS_PER_S
from lowcarb.ledger import home, open_ledger
from lowcarb.ledger.base import Ledger, Status
from lowcarb.ledger.home import LEDGER_FILE
from lowcarb.tracker.books import EnergyBetween, Entry
from lowcarb.tracker.document import Ending, begin, document_of, enter
from lowcarb.tracker.guard import Guard
from lowcarb.tracker.journal import Header, Journal
from lowcarb.tracker.pauses import Pauses
from lowcarb.tracker.plan import Plan
from lowcarb.tracker.recover import journal_path, put_away


@dataclass(frozen=True, slots=True)
class Closing:
    """How and when an attempt ended."""

    status: Status
    at_s: float
    cpu_s: float
    """Processor time at the end [s]."""
    meter_cpu_s: float | None
    """Processor time that metering took [s]."""
    pauses: Pauses
    """When nothing was read."""


class Desk:
    """Journal and ledger of one attempt, and what was counted and noted. Nothing here raises.

    Attributes:
        home: directory of journals and ledger, once it is found.
        tokens, steps: counts so far.
        notes: facts by key.
    """

    def __init__(self, plan: Plan, guard: Guard) -> None:
        self.home: Path | None = None
        self.tokens, self.steps = 0, 0
        self._plan, self._guard = plan, guard
        self._journal = Journal(guard)
        self.notes: dict[str, object] = {}
        self._counting = RLock()

    def prepare(self) -> None:
        """Find the home."""
        self.home = self._plan.home or self._guard.run("home", home, None)

    def open(self, header: Header) -> None:
        """Begin the journal."""
        if self.home is not None:
            self._journal.open(journal_path(self.home, header.attempt_id), header)

    def equip(self, header: Header) -> None:
        """Keep what is read and what is missing, now that it is known, and when the run began."""
        self._guard.run("journal", lambda: self._journal.equip(header), None)

    def begin(self, header: Header) -> None:
        """Show the attempt as running in a ledger that is at work."""
        ledger = self._at_work()
        if ledger is not None:
            self._guard.run("ledger", lambda: begin(ledger, header), None)

    def machine(self, machine: Machine) -> None:
        """Keep what is known of the machine now."""
        self._journal.add({"machine": machine_as_dict(machine)})

    def mark(self, name: str, at_s: float, cpu_s: float) -> None:
        """Have it written with the next readings that it is this phase from this time on."""
        self._journal.mark(name, at_s, cpu_s)

    def count(self, tokens: int, steps: int) -> None:
        """Count so many more."""
        with self._counting:
            self.tokens += tokens
            self.steps += steps

    def note(self, key: str, value: object) -> None:
        """Keep a fact for the document, and for the journal."""
        self.notes[key] = value
        self._journal.add({"note": [key, value]})

    def write(self, batches: Sequence[Sequence[Reading]], at_s: float, cpu_s: float) -> None:
        """Put readings into the journal, with the counts and the processor time [s] at this time [s]."""
        for readings in batches[:-1]:
            self._journal.keep(readings, self.tokens, self.steps, at_s, cpu_s)
        self._journal.write(batches[-1], self.tokens, self.steps, at_s, cpu_s)

    def close(self, header: Header, entries: Sequence[Entry], closing: Closing, energy: EnergyBetween) -> None:
        """End the journal; and enter the attempt in a ledger that is at work, or where there is no whole journal."""
        faults = self._guard.faults()
        times = {"at_s": closing.at_s, "cpu_s": closing.cpu_s}
        self._guard.run("journal", lambda: self._journal.write((), self.tokens, self.steps, **times), None)
        end = {"end": closing.status, **times, "faults": list(faults), "meter_cpu_s": closing.meter_cpu_s}
        written = self._guard.run("journal", lambda: self._journal.end(end), False)  # noqa: FBT003  # if it fails
        if written and self._at_work() is None:
            return
        ending = Ending(
            status=closing.status,
            ended_ns=header.started_ns + round((closing.at_s - header.started_s) * NS_PER_S),
            tokens=self.tokens,
            steps=self.steps,
            notes=self.notes,
            faults=self._guard.faults(),
            meter_cpu_s=closing.meter_cpu_s,
            pauses=closing.pauses,
        )
        entered = self._guard.run("ledger", lambda: self._enter(header, entries, ending, energy), False)  # noqa: FBT003  # if it fails
        if entered and self.home is not None:
            put_away(journal_path(self.home, header.attempt_id))

    def _at_work(self) -> Ledger | None:
        named = self._plan.ledger
        return None if named is None or isinstance(named, (str, Path)) else named

    def _enter(self, header: Header, entries: Sequence[Entry], ending: Ending, energy: EnergyBetween) -> bool:
        named = self._plan.ledger
        # The header's name of it lacks the password.
        where = named if isinstance(named, str) else header.ledger or (self.home / LEDGER_FILE if self.home else None)
        ledger = self._at_work() or open_ledger(where)
        enter(ledger, header, ending, document_of(header, entries, ending, energy))
        if ledger is not self._plan.ledger:
            ledger.close()
        return True
