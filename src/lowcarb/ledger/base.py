"""The seam to the memory: runs, their attempts, and what a ledger can do with them.

A *run* is one piece of work, known by its key (a trial's content hash, or a name and a time). An *attempt* is one go at
it: a killed and restarted run is one run with two attempts, and the energy of both is on the bill. Times are integer
UTC nanoseconds. `lowcarb.ledger.memory` is the public fake.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from lowcarb.ledger.query import Page, Query, Sum

Status = Literal["running", "done", "failed", "interrupted", "out_of_memory", "diverged", "over_budget"]
"""How an attempt stands: `interrupted` was ended from outside (Ctrl-C, a signal, a kill, a power cut); `diverged`
met a loss that is not a number."""


@dataclass(frozen=True, slots=True)
class Run:
    """One piece of work."""

    id: str
    key: str
    """What makes two runs the same work: unique in a ledger."""
    kind: Literal["trial", "track"]
    name: str
    study: str | None
    created_ns: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One go at a run."""

    id: str
    run_id: str
    number: int
    """1 for the first."""
    status: Status
    started_ns: int
    ended_ns: int | None
    energy_j: float | None
    """Metered energy, mid estimate [J]: a column to sort and sum by; the document holds the estimate."""
    operational_g: float | None
    document: Mapping[str, object]
    """All the rest, as JSON: machine, site, phases with energies and footprints, and for a trial its result."""


class Ledger(Protocol):
    """Remembers runs and attempts.

    All methods may be called from any thread. A name is data: it is stored unchanged, whatever characters it has.

    Raises:
        LedgerError: the ledger cannot be opened, read or written.
    """

    def begin(
        self,
        *,
        attempt_id: str,
        key: str,
        kind: Literal["trial", "track"],
        name: str,
        study: str | None,
        started_ns: int,
    ) -> Attempt:
        """A new attempt, `running`, of the run with this key; the run is made at its first attempt.

        Beginning with an attempt id that is there already gives that attempt back, so that a journal can be taken in
        twice.
        """
        ...

    def finish(self, attempt_id: str, *, status: Status, ended_ns: int, document: Mapping[str, object]) -> Attempt:
        """The attempt with its outcome. `energy_j` and `operational_g` are read from the document's `footprint`."""
        ...

    def runs(self, *, kind: str | None = None, study: str | None = None, limit: int = 100) -> Sequence[Run]:
        """Runs, newest first."""
        ...

    def run(self, id_or_key: str) -> Run | None:
        """The run with this id, unambiguous beginning of an id, or key."""
        ...

    def attempts(self, run_id: str) -> Sequence[Attempt]:
        """A run's attempts, oldest first."""
        ...

    def page(self, query: Query, *, limit: int = 50, after: str | None = None) -> Page:
        """Runs that a query asks for, a page at a time.

        Args:
            query: which, and in what order.
            limit: rows of the page, at most `lowcarb.ledger.query.MOST_ROWS`.
            after: the `next` of the page before; None for the first page.

        Raises:
            SettingError: `after` is none, or of another order.
        """
        ...

    def sums(self, query: Query, by: str) -> Sequence[Sum]:
        """Sums of the runs that a query asks for, by `month`, `study`, `site`, `status`, `kind` or `tag:NAME`.

        In the order of their keys; the order of the query does not matter.

        Raises:
            SettingError: it is none of these.
        """
        ...

    def tag(self, run_id: str, changes: Mapping[str, str | None]) -> Mapping[str, str]:
        """A run's tags after these changes; None removes one. Without changes, what they are.

        Raises:
            LedgerError: there is no such run.
        """
        ...

    def add_readings(self, attempt_id: str, readings: Sequence[tuple[str, int, float]]) -> None:
        """Keep readings of an attempt: channel, time [ns, UTC], value [J or W]. One that is there already stays.

        Raises:
            LedgerError: there is no such attempt.
        """
        ...

    def readings(self, attempt_id: str) -> Sequence[tuple[str, int, float]]:
        """The readings of an attempt by time, then channel; one that failed is not a number."""
        ...

    def vacuum(self) -> None:
        """Give back the space of what was removed, and reckon the sums anew."""
        ...

    def close(self) -> None:
        """Let go of the file or connection. May be called twice."""
        ...
