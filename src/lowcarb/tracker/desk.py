"""The tracker's writing desk: what goes into the journal while a run is on, and into the ledger in the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lowcarb.core.energy import Reading
from lowcarb.core.units import NS_PER_S
from lowcarb.ledger import home, open_ledger
from lowcarb.ledger.base import Ledger, Status
from lowcarb.ledger.home import LEDGER_FILE
from lowcarb.tracker.books import Entry
from lowcarb.tracker.document import Ending, begin, document_of, enter
from lowcarb.tracker.guard import Guard
from lowcarb.tracker.journal import Header, Journal
from lowcarb.tracker.plan import Plan
from lowcarb.tracker.recover import journal_path, put_away


class Desk:
    """Journal and ledger of one attempt, and what was counted and noted. Nothing here raises.

    Attributes:
        tokens, steps: counts so far.
    """

    def __init__(self, plan: Plan, guard: Guard) -> None:
        self.tokens, self.steps = 0, 0
        self._plan, self._guard = plan, guard
        self._journal = Journal(guard)
        self._notes: dict[str, object] = {}
        self._home: Path | None = None
        self._ledger: Ledger | None = None

    def prepare(self) -> None:
        """Find the home and open the ledger."""
        self._home = self._plan.home or self._guard.run("home", home, None)
        self._guard.run("ledger", self._open_ledger, None)

    def open(self, header: Header) -> None:
        """Begin the journal."""
        if self._home is not None:
            self._journal.open(journal_path(self._home, header.attempt_id), header)

    def begin(self, header: Header) -> None:
        """Show the attempt in the ledger as running."""
        self._guard.run("ledger", lambda: begin(self._open_ledger(), header), None)

    def mark(self, name: str, at_s: float, cpu_s: float) -> None:
        """Have it written with the next readings that it is this phase from this time on."""
        self._journal.mark(name, at_s, cpu_s)

    def note(self, key: str, value: object) -> None:
        """Keep a fact for the document, and for the journal."""
        self._notes[key] = value
        self._journal.add({"note": [key, value]})

    def write(self, readings: Sequence[Reading], at_s: float, cpu_s: float) -> None:
        """Put readings into the journal, with the counts and the processor time [s] at this time [s]."""
        self._journal.add({"counts": [self.tokens, self.steps], "at_s": at_s, "cpu_s": cpu_s})
        self._journal.write(readings)

    def close(
        self,
        header: Header,
        entries: Sequence[Entry],
        status: Status,
        at_s: float,
        cpu_s: float,
        meter_cpu_s: float | None,
    ) -> None:
        """End the journal, enter the attempt in the ledger, and put the journal away if that went well."""
        counts = {"counts": [self.tokens, self.steps], "at_s": at_s, "cpu_s": cpu_s}
        end = {"end": status, "at_s": at_s, "cpu_s": cpu_s}
        self._journal.add(counts)
        self._journal.end({**end, "faults": list(self._guard.faults()), "meter_cpu_s": meter_cpu_s})
        ending = Ending(
            status=status,
            ended_ns=header.started_ns + round((at_s - header.started_s) * NS_PER_S),
            tokens=self.tokens,
            steps=self.steps,
            notes=self._notes,
            faults=self._guard.faults(),
            meter_cpu_s=meter_cpu_s,
        )
        entered = self._guard.run("ledger", lambda: self._enter(header, entries, ending), False)  # noqa: FBT003
        if entered and self._home is not None:
            put_away(journal_path(self._home, header.attempt_id))

    def _enter(self, header: Header, entries: Sequence[Entry], ending: Ending) -> bool:
        ledger = self._open_ledger()
        enter(ledger, header, ending, document_of(header, entries, ending))
        if ledger is not self._plan.ledger:
            ledger.close()
        return True

    def _open_ledger(self) -> Ledger:
        if self._ledger is None:
            named = self._plan.ledger
            if named is None:
                # Where there is no home, opening the user's own ledger says why.
                named = self._home / LEDGER_FILE if self._home else None
            self._ledger = open_ledger(named) if named is None or isinstance(named, Path) else named
        return self._ledger
