"""`track`: meter, site and ledger put together around a piece of work.

    with track("fine-tune") as t:
        with t.phase("train"):
            ...
    t.footprint()

Law 2: after construction nothing here raises into the program, or holds it up for longer than two seconds at the start
and five at the end; `check_budget` alone raises, as that is what it is for. What goes wrong is logged once and kept
among the faults of the attempt.
"""

from __future__ import annotations

import atexit
import functools
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from lowcarb.core.budget import Budget, Outlook
from lowcarb.core.documents import plain
from lowcarb.core.energy import Energy
from lowcarb.core.footprint import Footprint
from lowcarb.core.hardware import Machine
from lowcarb.core.site import Site
from lowcarb.ledger.base import Ledger, Status
from lowcarb.sensors.base import Sensor
from lowcarb.tracker.books import OTHER, Phase
from lowcarb.tracker.ending import ENDINGS, status_of
from lowcarb.tracker.figures import Reckoning
from lowcarb.tracker.following import Following, follower_of
from lowcarb.tracker.guard import Guard
from lowcarb.tracker.own import Own
from lowcarb.tracker.plan import Attribution, Plan, TrackCatalogue, make_plan
from lowcarb.tracker.stack import Block, Stack
from lowcarb.tracker.watch import exceeded

UNTOLD = "ended without `stop` or `with`: an exit code is not seen, so it may have failed"
"""The fault of an attempt that its program's exit has ended: `sys.exit(3)` leaves no trace that could be found then."""

Function = TypeVar("Function", bound=Callable[..., Any])
Figure = TypeVar("Figure")


class Tracker:
    """One attempt under the meter: a context manager, a decorator, or `start` and `stop`. Made by `track`.

    A program that ends without `stop` is recorded all the same, at its exit. A forked child records nothing. Where
    a tracker in another process of the same job leads, this one follows it: it has no meter and no row in the ledger,
    its phases and counts become the leader's, and its figures are the leader's.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._guard = Guard()
        self._own = Own(plan, self._guard)
        self._following: Following | None = None
        self._status: Status | None = None
        self._leaving: Status | None = None
        """How the `with` block ends, should nobody come to say so: an interrupt may come at the moment of its end."""
        self._state: Literal["new", "running", "ended"] = "new"
        self._pid = os.getpid()
        self._nothing = self._own.unseen()
        """Figures of no time at all: where nothing can be reckoned any more."""
        if plan.forecast is not None:
            self.note("forecast", plan.forecast.as_dict())

    # The verbs.

    def start(self) -> Self:
        """Begin to measure; takes at most 2 s. Does nothing the second time."""
        if self._state == "new":
            self._state, self._pid = "running", os.getpid()
            atexit.register(self._stop_at_exit)
            try:
                self._following = self._guard.run("leader", self._follow, None)
                self._guard.run("start", self._begin, None)
            except BaseException as error:  # an interrupt: `with` is not entered, so nobody else ends the attempt
                self._state, self._status = "ended", status_of(error)
                self._finish_beside()
                raise
        else:
            self._guard.record("start: an attempt is started once; make another tracker for another attempt")
        return self

    def stop(self, status: Status = "done") -> Footprint:
        """End the attempt, write it down, and give its footprint; takes at most 5 s.

        A status that was set by `end_as` comes before this one, and a budget that was reached before `done`. Does
        nothing the second time.
        """
        if self._state == "running" and self._mine():
            self._status = self._status or ("over_budget" if status == "done" and self.over_budget else status)
            self._state = "ended"
            try:
                self._finish()
            except BaseException:  # an interrupt is the program's; the attempt is written down all the same
                self._finish_beside()
                raise
            atexit.unregister(self._stop_at_exit)
        return self.footprint()

    def phase(self, name: str) -> _PhaseBlock:
        """A context manager: the time inside it belongs to this phase. Opened inside another, it takes its time."""
        return _PhaseBlock(self, self._guard.run("phase", lambda: str(name), OTHER))

    def turn_to(self, name: str) -> None:
        """From now on it is this phase, wherever no block is open; for programs that are told of events."""
        self._change(Stack.ground, name)

    def tokens(self, count: int) -> None:
        """Count so many more tokens as trained on."""
        self._guard.run("tokens", lambda: self._count(tokens=int(count)), None)

    def steps(self, count: int = 1) -> None:
        """Count so many more optimizer steps."""
        self._guard.run("steps", lambda: self._count(steps=int(count)), None)

    def progress(self, share: float) -> None:
        """Say how much of the work is done, 0 to 1; what the whole will have taken follows from it (`outlook`)."""
        self._guard.run("progress", lambda: self._progress(float(share)), None)

    def note(self, key: str, value: object) -> None:
        """Put a fact into the document of the attempt, also before `start`; what JSON cannot say is kept as text."""
        self._guard.run("note", lambda: self._note(str(key), plain(value, str)), None)

    def end_as(self, status: Status) -> None:
        """Let the attempt end with this status, whatever it would have been."""
        self._guard.run("end_as", lambda: self._set_status(status), None)

    def check_budget(self) -> None:
        """Raise BudgetExceeded if the budget was reached: for loops that are to end by it."""
        if self.over_budget and (budget := self._asked(lambda: self._work.budget)):
            raise exceeded(budget, self.footprint())

    # The figures.

    def footprint(self) -> Footprint:
        """The footprint so far, and in the end the whole."""
        return self._reckoning()[1]

    def energy(self) -> Energy:
        """The energy so far, device by device; of no device where another tracker leads."""
        return self._reckoning()[2]

    def phases(self) -> tuple[Phase, ...]:
        """The phases so far, in the order in which they were first opened; they sum to the footprint."""
        return self._reckoning()[0]

    def power_w(self) -> float | None:
        """Mean power over the last few intervals [W]; None where it is not known."""
        return self._asked(self._work.power_w) if self._live() else None

    def outlook(self) -> Outlook | None:
        """What the whole run will have taken, by its progress; None while too little of it is done to say."""
        return self._asked(lambda: self._work.outlook) if self._state != "new" and self._mine() else None

    @property
    def over_budget(self) -> bool:
        """Whether the budget was reached. Costs next to nothing to ask at each step."""
        return self._state != "new" and self._mine() and bool(self._asked(lambda: self._work.over_budget))

    def faults(self) -> tuple[str, ...]:
        """What went wrong with metering so far, one line a kind; empty if all is well."""
        return (*self._guard.faults(), *(self._work.faults() if self._live() else ()))

    @property
    def meter_cpu_s(self) -> float | None:
        """Processor time that metering has taken here so far [s]; None where another tracker leads."""
        return None if self.follows else self._asked(lambda: self._own.cost_cpu_s)

    @property
    def status(self) -> Status | None:
        """How the attempt stands; None before it is started."""
        return None if self._state == "new" else "running" if self._state == "running" else self._status

    @property
    def follows(self) -> bool:
        """Whether another tracker leads."""
        return self._following is not None

    @property
    def attempt_id(self) -> str:
        """The attempt's id in the ledger: the leader's, where another tracker leads and has said so."""
        return self._asked(lambda: self._work.attempt_id) or self._own.attempt_id

    @property
    def recorded(self) -> bool:
        """Whether its energy is on record: its own, or that of the tracker that it follows.

        One that was to follow and found nobody has a wide guess for a footprint, and is no part of any total.
        """
        return not self.follows or self._asked(lambda: self._work.attempt_id) is not None

    @property
    def leads_at(self) -> Path | None:
        """The socket at which followers find whoever leads; None where nobody does."""
        return self._work.leads_at

    @property
    def own(self) -> Own:
        """What measures, where no other tracker leads: for those who run the work in other processes."""
        return self._own

    # Context manager and decorator.

    def __enter__(self) -> Self:
        self._leaving = "interrupted"
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving = status_of(error)
        self.stop(self._leaving)

    def __call__(self, function: Function) -> Function:
        """The function, each call of it an attempt of its own."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def wait(*args: object, **named: object) -> object:
                with Tracker(self._plan):
                    return await function(*args, **named)

            return wait  # type: ignore[return-value]  # same signature

        @functools.wraps(function)
        def call(*args: object, **named: object) -> object:
            with Tracker(self._plan):
                return function(*args, **named)

        return call  # type: ignore[return-value]  # same signature

    # What the verbs do.

    @property
    def _work(self) -> Own | Following:
        return self._following or self._own

    def _begin(self) -> None:
        if self._following is not None:
            for key, value in self._own.notes.items():
                self._following.note(key, value)
        self._work.start()

    def _asked(self, figure: Callable[[], Figure]) -> Figure | None:
        """A figure, or None where it cannot be had: another process may have gone, or talk nonsense."""
        return self._guard.run("figures", figure, None)

    def _follow(self) -> Following | None:
        follower = follower_of(self._plan, os.environ)
        return None if follower is None else Following(follower, self._plan, self._guard)

    def _finish(self) -> None:
        """End the work, once however often it is asked for."""
        ending = self._status or "done"
        self._guard.run("stop", lambda: self._work.stop(ending), None)

    def _finish_beside(self) -> None:
        """End it while the program goes on; its exit waits for it."""
        self._guard.beside("stop", self._finish)

    def _stop_at_exit(self) -> None:
        if self._state == "ended" and self._mine():
            self._finish()
            return
        # The interpreter leaves here the exception that it ended with; at a prompt it may be an old one.
        error = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)
        if error is None and self._leaving is None:
            self._guard.record(UNTOLD)
        self.stop(self._leaving or status_of(error))

    def _mine(self) -> bool:
        """Whether this is the process that was started, and not a forked child of it."""
        return self._state == "new" or os.getpid() == self._pid

    def _live(self) -> bool:
        return self._state == "running" and self._mine()

    def _takes_facts(self) -> bool:
        return self._state != "ended" and self._mine()

    def _count(self, tokens: int = 0, steps: int = 0) -> None:
        if tokens < 0 or steps < 0:
            raise ValueError("a count only grows")
        if self._takes_facts():
            self._work.count(tokens, steps)

    def _change(self, how: Callable[[Stack, Any], None], what: object) -> None:
        if self._live():
            self._guard.run("phase", lambda: how(self._work.stack, what), None)

    def _progress(self, share: float) -> None:
        if self._live():
            self._work.progress(share)

    def _note(self, key: str, value: object) -> None:
        if self._takes_facts():
            self._work.note(key, value)

    def _set_status(self, status: Status) -> None:
        if status not in ENDINGS:
            raise ValueError(f"{status!r} is no status that an attempt can end with")
        self._status = status

    def _reckoning(self) -> Reckoning:
        # In a forked child the books' locks may be held by threads that it does not have.
        figures = self._asked(self._work.reckoning) if self._mine() else None
        return figures or self._asked(self._work.unseen) or self._nothing


class _PhaseBlock(Block):
    """The time of a `with` block, booked on a phase."""

    def __init__(self, tracker: Tracker, name: str) -> None:
        super().__init__(name)
        self._tracker = tracker

    def __enter__(self) -> None:
        self._tracker._change(Stack.open, self)  # noqa: SLF001  # a part of the tracker

    def __exit__(self, *error: object) -> None:
        self._tracker._change(Stack.close, self)  # noqa: SLF001


def track(  # noqa: PLR0913  # each is a fact of the work, and nearly all have a good default
    name: str,
    *,
    kind: Literal["trial", "track"] = "track",
    key: str | None = None,
    study: str | None = None,
    site: Site | str | None = None,
    interval_s: float = 1.0,
    ledger: Ledger | str | os.PathLike[str] | None = None,
    sensors: Sequence[Sensor] | None = None,
    machine: Machine | None = None,
    catalogue: TrackCatalogue | None = None,
    home: str | os.PathLike[str] | None = None,
    budget: Budget | str | None = None,
    attribution: Attribution = "machine",
    joins: bool = False,
    forecast: Footprint | str | os.PathLike[str] | None = None,
) -> Tracker:
    """A tracker for one attempt at a piece of work: use it in `with`, as a decorator, or by `start` and `stop`.

    Args:
        name: for people; any text.
        kind: `trial` in a study, else `track`.
        key: what makes two runs the same work: attempts of one key are one run. Without it, each attempt is a run;
            under torchrun, the attempts of a job that was started anew are one.
        study: the study that it belongs to.
        site: where it runs, as a catalogue id or a Site; None where that is unknown: a wide estimate.
        interval_s: time between readings [s], 0.01 to 3600.
        ledger: where it is kept, as a Ledger, a file's path or a `postgresql://` URL; the user's own where None. It is
            taken in when that is next opened by lowcarb; until then it is in the journal.
        sensors: what is read; what this machine has where None. They are not closed.
        machine: what it runs on; this machine where None.
        catalogue: where sites and devices are looked up; the package's own where None.
        home: directory of journal and ledger; `lowcarb.ledger.home()` where None.
        budget: what it may take, such as `500 g`, `2 kWh` or `3 USD`: warns at 80 %, and see `over_budget`,
            `check_budget` and `outlook`.
        attribution: `machine` for all that this machine draws, or `process` for the share of this process and its
            children in processor and memory.
        joins: follow the tracker that this program runs under, if there is one, instead of keeping a row of its own.
        forecast: what it is expected to take, as a Footprint or the path of what `lowcarb forecast --json` printed;
            reports then hold the outcome against it.

    Raises:
        SettingError: a setting is not what it may be.
        CatalogueError: the catalogue has no such site.
    """
    return Tracker(
        make_plan(
            name,
            kind=kind,
            key=key,
            study=study,
            site=site,
            interval_s=interval_s,
            ledger=ledger,
            sensors=sensors,
            machine=machine,
            catalogue=catalogue,
            home=home,
            budget=budget,
            attribution=attribution,
            joins=joins,
            forecast=forecast,
        )
    )
