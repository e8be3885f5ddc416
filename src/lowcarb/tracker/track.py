"""`track`: meter, site and ledger put together around a piece of work.

    with track("fine-tune") as t:
        with t.phase("train"):
            ...
    t.footprint()

Law 2: after construction nothing here raises into the program, or holds it up for longer than `START_S` and `STOP_S`.
What goes wrong is logged once and kept among the faults of the attempt.
"""

from __future__ import annotations

import atexit
import functools
import inspect
import os
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from threading import Lock
from types import TracebackType
from typing import Any, ClassVar, Literal, Self, TypeVar

from lowcarb.core.documents import plain
from lowcarb.core.energy import GAP_INTERVALS, Reading
from lowcarb.core.footprint import Footprint, measured_footprint
from lowcarb.core.hardware import Machine
from lowcarb.core.site import Site
from lowcarb.ledger.base import Ledger, Status
from lowcarb.sensors.base import Sensor
from lowcarb.tracker.books import OTHER, Books, Entry, Phase, merged
from lowcarb.tracker.desk import Desk
from lowcarb.tracker.ending import ENDINGS, status_of
from lowcarb.tracker.guard import Guard
from lowcarb.tracker.journal import Header
from lowcarb.tracker.plan import Plan, TrackCatalogue, make_plan
from lowcarb.tracker.process import cpu_s, slept_s, this_process
from lowcarb.tracker.rig import Rig

START_S = 1.9
"""How long `start` waits for sensors, journal and ledger [s]; what is late joins in the background."""
STOP_S = 4.5
"""How long `stop` waits for the last reading and the ledger [s]; what is late is in the journal."""
REFRESH_RATIO = 50.0
"""A live figure is computed anew after so many times the time that it took: at most 2 % of the program's."""
WITHIN = "LOWCARB_ATTEMPT"
"""Environment variable that tells a program which attempt it runs inside of."""


Function = TypeVar("Function", bound=Callable[..., Any])
Figures = tuple[tuple[Phase, ...], Footprint]


class Tracker:
    """One attempt under the meter: a context manager, a decorator, or `start` and `stop`. Made by `track`.

    A program that ends without `stop` is recorded all the same, at its exit. A forked child records nothing.
    """

    _running: ClassVar[list[str]] = []
    """Attempts that are under way in this process, outermost first."""

    def __init__(self, plan: Plan) -> None:
        self.attempt_id = uuid.uuid4().hex
        self._plan = plan
        self._guard = Guard()
        self._rig = Rig(plan, self._guard)
        self._books = Books(self._rig.energy)
        self._desk = Desk(plan, self._guard)
        self._lock = Lock()
        self._open_phases: list[_PhaseBlock] = []
        self._status: Status | None = None
        self._state: Literal["new", "running", "ended"] = "new"
        self._pid = os.getpid()
        self._started_ns, self._slept_s, self._within = 0, 0.0, os.environ.get(WITHIN)
        self._end: tuple[float, float] | None = None
        self._figures: tuple[float, float, object, Figures] | None = None
        self._final: Figures | None = None

    # The verbs.

    def start(self) -> Self:
        """Begin to measure; takes at most 2 s. Does nothing the second time."""
        if self._state == "new":
            self._state, self._pid = "running", os.getpid()
            self._started_ns, self._slept_s = time.time_ns(), slept_s()
            self._within = self._running[-1] if self._running else self._within
            self._running.append(self.attempt_id)
            atexit.register(self._stop_at_exit)
            self._guard.within(START_S, "start", self._set_up)
            self._begin()
        else:
            self._guard.record("start: an attempt is started once; make another tracker for another attempt")
        return self

    def stop(self, status: Status = "done") -> Footprint:
        """End the attempt, write it to the ledger, and give its footprint; takes at most 5 s.

        A status that was set by `end_as` comes before this one. Does nothing the second time.
        """
        if self._state == "running" and self._mine():
            self._state = "ended"
            self._end = time.monotonic(), cpu_s()
            self._status = self._status or status
            if self.attempt_id in self._running:
                self._running.remove(self.attempt_id)
            atexit.unregister(self._stop_at_exit)
            self._guard.within(STOP_S, "stop", self._wind_up)
        return self.footprint()

    def phase(self, name: str) -> _PhaseBlock:
        """A context manager: the time inside it belongs to this phase. Opened inside another, it takes its time."""
        return _PhaseBlock(self, self._guard.run("phase", lambda: str(name), OTHER))

    def tokens(self, count: int) -> None:
        """Count so many more tokens as trained on."""
        self._guard.run("tokens", lambda: self._count(tokens=int(count)), None)

    def steps(self, count: int = 1) -> None:
        """Count so many more optimizer steps."""
        self._guard.run("steps", lambda: self._count(steps=int(count)), None)

    def note(self, key: str, value: object) -> None:
        """Put a fact into the document of the attempt, also before `start`; what JSON cannot say is kept as text."""
        self._guard.run("note", lambda: self._note(str(key), plain(value, str)), None)

    def end_as(self, status: Status) -> None:
        """Let the attempt end with this status, whatever it would have been."""
        self._guard.run("end_as", lambda: self._set_status(status), None)

    # The figures.

    def footprint(self) -> Footprint:
        """The footprint so far, and in the end the whole."""
        return self._now()[1]

    def phases(self) -> tuple[Phase, ...]:
        """The phases so far, in the order in which they were first opened; they sum to the footprint."""
        return self._now()[0]

    def power_w(self) -> float | None:
        """Mean power over the last few intervals [W]; None where it is not known."""
        return self._rig.power_w() if self._state == "running" and self._mine() else None

    def faults(self) -> tuple[str, ...]:
        """What went wrong with metering so far, one line a kind; empty if all is well."""
        return (*self._guard.faults(), *(self._rig.faults() if self._live() else ()))

    @property
    def status(self) -> Status | None:
        """How the attempt stands; None before it is started."""
        return None if self._state == "new" else "running" if self._state == "running" else self._status

    # Context manager and decorator.

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(status_of(error))

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

    # Start and end, in a thread that the program waits for only so long.

    def _set_up(self) -> None:
        self._rig.open(self._take)
        self._desk.prepare()
        if self._is_over():
            return
        self._begin()
        header = self._header()
        self._desk.open(header)
        self._rig.start()
        self._desk.begin(header)
        if self._is_over():
            self._rig.stop()

    def _begin(self) -> None:
        self._books.begin(time.monotonic(), cpu_s())

    def _wind_up(self) -> None:
        at_s, end_cpu_s = self._end or (time.monotonic(), cpu_s())
        self._rig.stop()
        if (slept := slept_s() - self._slept_s) > 1.0:
            self._guard.record(f"the machine slept for {slept:.0f} s, which are in no figure")
        entries = self._books.until(at_s, end_cpu_s)
        self._final = self._guard.run("figures", lambda: self._applied(entries), None)
        status = self._status or "done"
        self._desk.close(self._header(), entries, status, at_s, end_cpu_s, self._rig.cost_cpu_s)

    def _header(self) -> Header:
        plan = self._plan
        began_s, began_cpu_s = self._books.began or (time.monotonic(), cpu_s())
        return Header(
            attempt_id=self.attempt_id,
            key=plan.key or self.attempt_id,
            kind=plan.kind,
            name=plan.name,
            study=plan.study,
            within=self._within,
            process=this_process(),
            started_ns=self._started_ns,
            started_s=began_s,
            started_cpu_s=began_cpu_s,
            interval_s=plan.interval_s,
            machine=self._rig.machine,
            site=plan.site,
            channels=self._rig.channels,
        )

    def _stop_at_exit(self) -> None:
        # The interpreter leaves here the exception that it ended with; at a prompt it may be an old one.
        error = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)
        self.stop(status_of(error))

    # What the verbs do.

    def _mine(self) -> bool:
        """Whether this is the process that was started, and not a forked child of it."""
        return self._state == "new" or os.getpid() == self._pid

    def _is_over(self) -> bool:
        return self._state == "ended"

    def _live(self) -> bool:
        return self._state == "running" and self._mine()

    def _takes_facts(self) -> bool:
        return self._state != "ended" and self._mine()

    def _take(self, readings: tuple[Reading, ...]) -> None:
        """The meter's sink."""
        self._guard.run("books", lambda: self._books.seen(readings), None)
        self._desk.write(readings, time.monotonic(), cpu_s())

    def _count(self, tokens: int = 0, steps: int = 0) -> None:
        if tokens < 0 or steps < 0:
            raise ValueError("a count only grows")
        if self._takes_facts():
            with self._lock:
                self._desk.tokens += tokens
                self._desk.steps += steps

    def _note(self, key: str, value: object) -> None:
        if self._takes_facts():
            self._desk.note(key, value)

    def _set_status(self, status: Status) -> None:
        if status not in ENDINGS:
            raise ValueError(f"{status!r} is no status that an attempt can end with")
        self._status = status

    def _turn(self, block: _PhaseBlock, *, opens: bool) -> None:
        """Open or leave a phase; it is then the phase opened last that is still open."""
        if not self._live():
            return
        with self._lock:
            if opens:
                self._open_phases.append(block)
            elif block in self._open_phases:
                self._open_phases.remove(block)
            name = self._open_phases[-1].name if self._open_phases else OTHER
            at_s, now_cpu_s = time.monotonic(), cpu_s()
            self._books.turn_to(name, at_s, now_cpu_s)
            self._desk.mark(name, at_s, now_cpu_s)
        self._rig.mark()

    def _now(self) -> Figures:
        # In a forked child the books' locks may be held by threads that it does not have.
        if not self._mine() or self._books.began is None:
            return self._unseen()
        return self._guard.run("figures", self._reckon, None) or self._unseen()

    def _reckon(self) -> Figures:
        if self._final is not None:
            return self._final
        now_s, turns = time.monotonic(), (self._books.turns, self._end)
        if self._figures is not None:
            made_s, took_s, made_turns, figures = self._figures
            if made_turns == turns and now_s - made_s < REFRESH_RATIO * took_s:
                return figures
        at_s, at_cpu_s = self._end or (self._seen_s(now_s), cpu_s())
        figures = self._applied(self._books.until(at_s, at_cpu_s))
        self._figures = now_s, time.monotonic() - now_s, turns, figures
        return figures

    def _applied(self, entries: Sequence[Entry]) -> Figures:
        """Machine and site applied to the books."""
        machine, site = self._rig.machine, self._plan.site
        total = merged([entry.energy for entry in entries])
        return tuple(entry.phase(machine, site) for entry in entries), measured_footprint(total, machine, site)

    def _seen_s(self, now_s: float) -> float:
        """The time of the last reading [s]: between two of them nothing is known yet. Now, if none has come lately."""
        horizon_s = self._books.horizon_s()
        recent = horizon_s is not None and now_s - horizon_s < GAP_INTERVALS * self._plan.interval_s
        return horizon_s if recent and horizon_s is not None else now_s

    def _unseen(self) -> Figures:
        began_s = self._books.began[0] if self._books.began else time.monotonic()
        energy = self._rig.unseen(began_s, time.monotonic() if self._books.began else began_s)
        return (), measured_footprint(energy, self._rig.machine, self._plan.site)


class _PhaseBlock:
    """The time of a `with` block, booked on a phase."""

    def __init__(self, tracker: Tracker, name: str) -> None:
        self._tracker, self.name = tracker, name

    def __enter__(self) -> None:
        self._turn(opens=True)

    def __exit__(self, *error: object) -> None:
        self._turn(opens=False)

    def _turn(self, *, opens: bool) -> None:
        tracker = self._tracker
        tracker._guard.run("phase", lambda: tracker._turn(self, opens=opens), None)  # noqa: SLF001


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
) -> Tracker:
    """A tracker for one attempt at a piece of work: use it in `with`, as a decorator, or by `start` and `stop`.

    Args:
        name: for people; any text.
        kind: `trial` in a study, else `track`.
        key: what makes two runs the same work: attempts of one key are one run. Without it, each attempt is a run.
        study: the study that it belongs to.
        site: where it runs, as a catalogue id or a Site; None where that is unknown: a wide estimate.
        interval_s: time between readings [s], 0.01 to 3600.
        ledger: where it is kept, as a Ledger or a file's path; the user's own where None.
        sensors: what is read; what this machine has where None. They are not closed.
        machine: what it runs on; this machine where None.
        catalogue: where sites and devices are looked up; the package's own where None.
        home: directory of journal and ledger; `lowcarb.ledger.home()` where None.

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
        )
    )
