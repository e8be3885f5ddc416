"""An attempt that has a meter, a journal and a row in the ledger of its own."""

from __future__ import annotations

import os
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock, RLock
from typing import Any

from lowcarb.core.budget import Budget, Outlook
from lowcarb.core.energy import Reading
from lowcarb.ledger import home, ledger_name
from lowcarb.ledger.base import Status
from lowcarb.tracker.books import OTHER, Books, Entry
from lowcarb.tracker.desk import Closing, Desk
from lowcarb.tracker.ending import ENDINGS
from lowcarb.tracker.figures import Figures, Reckoning
from lowcarb.tracker.guard import Guard
from lowcarb.tracker.journal import WRITE_S, Header
from lowcarb.tracker.pauses import Pauses
from lowcarb.tracker.plan import Plan
from lowcarb.tracker.process import cpu_s, slept_s, this_process
from lowcarb.tracker.ranks import WITHIN, launched_key, local_ranks, meeting_point, socket_path
from lowcarb.tracker.rig import Rig
from lowcarb.tracker.stack import Stack
from lowcarb.tracker.watch import Watch
from lowcarb.tracker.wire import Listener

START_S = 1.9
"""How long a start waits for sensors and journal [s]; what is late joins in the background."""
STOP_S = 4.5
"""How long a stop waits for the last reading and the ledger [s]; what is late is in the journal."""
DESCRIBE_AFTER_S = 0.05
"""How long after the start it is found out what the machine is [s]."""
DESCRIBE_S = 1.0
"""How long the end waits until it is known what the machine is [s]."""
BOOK_S = WRITE_S + 0.05
"""Time between two times that readings are put into journal and books [s], and written at once: together
they cost a part of what they cost one by one. All are there within a second, and those of each second each second."""
SLEPT_FROM_S = 1.0
"""The two clocks that tell of a suspension are read one after the other; less than this is no sleep [s]."""

_running: list[str] = []
"""Attempts that are under way in this process, outermost first."""
_around: list[str | None] = [None]
"""What the environment said before the outermost of them began: the attempt that this process runs inside of."""
_started: dict[str, int] = {}
"""How many attempts of each name this process has started."""


class Own:
    """Meter, books, journal and ledger of one attempt; and the leader of those who follow it.

    Attributes:
        attempt_id: its id in the ledger.
        stack: its phases.
        leads_at: the socket at which followers find it, where it was told to lead.
        cpu_clock: gives the processor time that is booked on phases [s].
        on_over_budget: called once, from another thread, when the budget is reached.
        heard: how its followers' work ended, as they said themselves.
    """

    def __init__(self, plan: Plan, guard: Guard) -> None:
        self.attempt_id = uuid.uuid4().hex
        self.leads_at: Path | None = None
        self.cpu_clock: Callable[[], float] = cpu_s
        self.on_over_budget: Callable[[], object] = lambda: None
        self.heard: Status | None = None
        self.stack = Stack(self._turn)
        self._plan, self._guard = plan, guard
        self._rig = Rig(plan, guard)
        self._books = Books(self._rig.energy)
        self._desk = Desk(plan, guard)
        self._figures = Figures(plan, self._rig, self._books, guard)
        self._pauses = Pauses(plan.interval_s)
        self._watch = Watch(plan.budget)
        self._listener: Listener | None = None
        self._counted: dict[str, tuple[int, int]] = {}
        self._started_ns, self._slept_s = 0, 0.0
        self._within: str | None = None
        self._key = plan.key
        self._end: tuple[float, float] | None = None
        self._describing, self._described = False, Event()
        self._set, self._ending = Event(), Event()
        self._closing, self._closed = Lock(), False
        self._unwritten: deque[tuple[Reading, ...]] = deque()
        self._unbooked: deque[tuple[Reading, ...]] = deque()
        self._booking = RLock()
        self._written_s = 0.0

    # From start to end.

    def start(self) -> None:
        """Begin to measure."""
        self._started_ns, self._slept_s = time.time_ns(), slept_s()
        if not _running:
            _around[0] = os.environ.get(WITHIN)
        self._within = _running[-1] if _running else _around[0]
        self._key = self._key or self._guard.run("ranks", self._launched_key, None)
        _running.append(self.attempt_id)
        self._guard.beside("start", self._get_going)
        if not self._set.wait(START_S):
            self._guard.record(f"start: not done within {START_S:g} s")
        self._guard.run("start", self._begin, None)
        # Programs that are started from now on run inside of this attempt.
        os.environ[WITHIN] = self.attempt_id

    def stop(self, status: Status) -> None:
        """Take the last reading, and write all down. Asked for again, it waits until that is done."""
        self._end = self._end or (time.monotonic(), self._cpu_s())
        self._ending.set()
        self._leave_environment()
        self._guard.within(STOP_S, "stop", lambda: self._close(status))

    def _get_going(self) -> None:
        """Set up, and describe the machine in the same thread, as another takes a moment to begin."""
        self._describing = True
        try:
            self._guard.run("start", self._set_up, None)
        finally:
            self._set.set()
        # Not at once: the program is about to go on, and would wait for the interpreter.
        self._ending.wait(DESCRIBE_AFTER_S)
        self._describe()

    def _set_up(self) -> None:
        self._desk.prepare()
        # The journal first: who is killed while a driver takes its time to be opened has a row too.
        self._guard.run("journal", lambda: self._desk.open(self._header()), None)
        if self._plan.budget is not None:
            self.note("budget", self._plan.budget.as_dict())
        self._rig.open(self._take)
        self._guard.run("start", self._begin, None)
        header = self._guard.run("header", self._header, None)
        if header is not None:
            self._desk.equip(header)
        self._rig.start()
        self._guard.run("leader", self._lead, None)
        if header is not None:
            self._desk.begin(header)
        if self._is_over():
            self._rig.stop()

    def _describe(self) -> None:
        """Find out what the machine is: nothing waits for it but the end."""
        self._rig.describe(self._desk.machine)
        self._described.set()

    def _is_over(self) -> bool:
        return self._end is not None

    def _begin(self) -> None:
        self._books.begin(time.monotonic(), self._cpu_s())

    def _cpu_s(self) -> float:
        """Processor time now [s]; where it cannot be had, as it was at the start."""
        return self._guard.run("processor time", self.cpu_clock, self._books.began[1] if self._books.began else 0.0)

    def _close(self, status: Status) -> None:
        with self._closing:
            if not self._closed:
                self._wind_up(status)
                self._closed = True

    def _wind_up(self, status: Status) -> None:
        at_s, end_cpu_s = self._end or (time.monotonic(), self._cpu_s())
        if self._listener is not None:
            self._guard.run("leader", self._listener.close, None)
        self._rig.stop()
        self._guard.run("books", self._write, None)
        self._guard.run("budget", lambda: self._tell_outlook(at_s, last=True), None)
        if self._describing:
            self._described.wait(DESCRIBE_S)
        if (slept := slept_s() - self._slept_s) > SLEPT_FROM_S:
            self._guard.record(f"the machine slept for {slept:.0f} s, which are in no figure")
        entries = self._guard.run("figures", lambda: self._figures.close(at_s, end_cpu_s), tuple[Entry, ...]())
        closing = Closing(status, at_s, end_cpu_s, self._rig.cost_cpu_s, self._pauses)
        self._desk.close(self._header(), entries, closing, self._rig.energy)

    def _header(self) -> Header:
        plan = self._plan
        began_s, began_cpu_s = self._books.began or (time.monotonic(), self._cpu_s())
        return Header(
            attempt_id=self.attempt_id,
            key=self._key or self.attempt_id,
            kind=plan.kind,
            name=plan.name,
            study=plan.study,
            within=self._within,
            ledger=ledger_name(plan.ledger) if isinstance(plan.ledger, (str, Path)) else None,
            process=this_process(),
            started_ns=self._started_ns,
            started_s=began_s,
            started_cpu_s=began_cpu_s,
            interval_s=plan.interval_s,
            attribution=plan.attribution,
            machine=self._rig.machine,
            site=plan.site,
            channels=self._rig.channels,
            missing=self._rig.missing,
        )

    def _launched_key(self) -> str | None:
        ordinal = _started.get(self._plan.name, 0)
        _started[self._plan.name] = ordinal + 1
        return launched_key(os.environ, self._plan.name, ordinal)

    def _leave_environment(self) -> None:
        with suppress(ValueError):
            _running.remove(self.attempt_id)
        if os.environ.get(WITHIN) == self.attempt_id:
            outer = _running[-1] if _running else _around[0]
            if outer is None:
                del os.environ[WITHIN]
            else:
                os.environ[WITHIN] = outer

    # Facts.

    def count(self, tokens: int, steps: int) -> None:
        """Count so many more."""
        self._desk.count(tokens, steps)

    def progress(self, share: float) -> None:
        """So much of the work is done, 0 to 1. Raises ValueError where it is no share."""
        self._watch.progress(share)

    def note(self, key: str, value: object) -> None:
        """A fact for the document."""
        self._desk.note(key, value)

    @property
    def notes(self) -> Mapping[str, object]:
        """The facts so far."""
        return self._desk.notes

    def _turn(self, name: str, at_s: float) -> None:
        now_cpu_s = self._cpu_s()
        self._books.turn_to(name, at_s, now_cpu_s)
        self._desk.mark(name, at_s, now_cpu_s)
        self._rig.mark()

    def _take(self, readings: tuple[Reading, ...]) -> None:
        """The meter's sink."""
        self._unwritten.append(readings)
        self._unbooked.append(readings)
        now_s = time.monotonic()
        if now_s - self._written_s < BOOK_S and not self._watch.needed:
            return
        self._written_s = now_s
        self._guard.run("books", self._write, None)
        if self._watch.needed and self._end is None:
            self._guard.run("budget", self._look, None)

    def _write(self) -> None:
        """Put what was read into the journal and the books: the journal first, as it can be read anew."""
        batches = [self._unwritten.popleft() for _ in range(len(self._unwritten))]
        if batches:
            self._desk.write(batches, time.monotonic(), self._cpu_s())
        self._book()

    def _book(self) -> None:
        """Put what was read into the books, as who asks for figures does too: he waits for no disk."""
        with self._booking:
            while self._unbooked:
                readings = self._unbooked.popleft()
                self._pauses.seen(max([reading.at_s for reading in readings]))
                self._books.seen(readings)

    def _look(self) -> None:
        now_s = time.monotonic()
        reached = self._watch.look(self.reckoning()[1], now_s)
        self._tell_outlook(now_s)
        if reached:
            if self._listener is not None:
                self._listener.tell({"over_budget": True})
            self.on_over_budget()

    def _tell_outlook(self, at_s: float, *, last: bool = False) -> None:
        """Have the journal say how the run will end, for those who look at it from outside."""
        if (coming := self._watch.news(at_s, last=last)) is not None:
            self.note("outlook", coming)

    # Figures.

    def reckoning(self) -> Reckoning:
        """Phases and footprint so far, and in the end the whole."""
        self._guard.run("books", self._book, None)
        at_s, now_cpu_s = self._end or (None, self._cpu_s())
        return self._figures.now(now_cpu_s, at_s)

    def unseen(self) -> Reckoning:
        """The same for a process that may not look: a wide guess."""
        return self._figures.unseen()

    def power_w(self) -> float | None:
        """Mean power over the last few intervals [W]; None where it is not known."""
        return self._rig.power_w()

    def faults(self) -> tuple[str, ...]:
        """What went wrong with reading, until the end hands it to the guard."""
        return self._rig.faults() if self._end is None else ()

    @property
    def cost_cpu_s(self) -> float | None:
        """Processor time that metering has taken so far [s]."""
        return self._rig.cost_cpu_s

    @property
    def budget(self) -> Budget | None:
        """The budget that is kept."""
        return self._plan.budget

    @property
    def over_budget(self) -> bool:
        """Whether it was reached."""
        return self._watch.over

    @property
    def outlook(self) -> Outlook | None:
        """What the whole run will have taken."""
        return self._watch.outlook

    # Those who follow.

    def lead(self) -> Path:
        """Lead, from the start on, whoever is told of the socket that this gives; and the other ranks, if there are."""
        here = self._plan.home or home()
        self.leads_at = meeting_point(here) if local_ranks(os.environ) > 1 else socket_path(here, self.attempt_id)
        return self.leads_at

    @property
    def followers(self) -> int:
        """How many follow at present."""
        return self._listener.followers if self._listener else 0

    def _lead(self) -> None:
        path = self.leads_at
        if path is None and local_ranks(os.environ) > 1 and _running[:1] == [self.attempt_id] and self._desk.home:
            path = meeting_point(self._desk.home)
        if path is not None:
            listener = Listener(path, self.attempt_id, self._hear)
            listener.open()
            self._listener = listener

    def _hear(self, said: Mapping[str, Any]) -> Mapping[str, object] | None:
        """Take in what a follower says, in the listener's thread."""
        if "ask" in said:
            return self._answer(said["ask"])
        if self._end is not None:
            return None
        if "phase" in said:
            self.stack.ground(str(said["phase"]), float(said["at_s"]))
        elif "counts" in said:
            self._hear_counts(str(said["who"]), *(int(count) for count in said["counts"]))
        elif "progress" in said:
            self.progress(float(said["progress"]))
        elif "note" in said:
            key, value = said["note"]
            self.note(str(key), value)
        elif "end" in said:
            self.stack.ground(OTHER)
            self.heard = said["end"] if said["end"] in ENDINGS else None
        return None

    def _hear_counts(self, who: str, tokens: int, steps: int) -> None:
        before_tokens, before_steps = self._counted.get(who, (0, 0))
        self._counted[who] = tokens, steps
        self.count(max(0, tokens - before_tokens), max(0, steps - before_steps))

    def _answer(self, number: object) -> Mapping[str, object]:
        outlook, budget = self.outlook, self.budget
        return {
            "answer": number,
            "footprint": self.reckoning()[1].as_dict(),
            "power_w": self.power_w(),
            "over_budget": self.over_budget,
            "budget": budget.as_dict() if budget else None,
            "outlook": outlook.as_dict() if outlook else None,
        }
