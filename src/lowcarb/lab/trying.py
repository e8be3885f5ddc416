"""Trainings of a search: each once, under the meter, in the ledger, with every joule on the bill.

What a training costs is compared by processor seconds where its power is only modelled from them: both sides share the
model, so it cancels in their ratio, and what else the machine does at the time does not enter. Where power is measured,
or a graphics card does the work, joules are compared.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, NamedTuple

from lowcarb.core.search import Stack
from lowcarb.core.trial import Result, Trial
from lowcarb.errors import BudgetExceeded
from lowcarb.lab.base import Runner, Step, Stopped
from lowcarb.lab.study import CHECK_S, Bench, train_under
from lowcarb.ledger.base import Attempt, Status
from lowcarb.report.records import TRAIN, record_of
from lowcarb.tracker.track import Tracker, track

Bill = Literal["search", "confirmation", "contribution"]
"""What a training is for."""
Currency = Literal["cpu", "energy"]
"""What trainings are compared by: processor seconds, or joules."""
Stop = Callable[[Step, float], str | None]
"""From a step and what the training phase took until then: why to stop, or None."""

SETTLED = "settled"
"""The note of a training that is not tried again: it was stopped on purpose, or would end as it did."""
HOPELESS: tuple[Status, ...] = ("diverged", "out_of_memory")
"""How a training ends that would end the same way another time."""


class Cost(NamedTuple):
    """What something took."""

    energy_j: float = 0.0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    carbon_g: float = 0.0
    money: float | None = 0.0
    """[USD]; None where a price is not known."""

    def plus(self, other: Cost) -> Cost:
        """Both together; a sum with something unknown in it is unknown."""
        return Cost(
            self.energy_j + other.energy_j, self.cpu_s + other.cpu_s, self.wall_s + other.wall_s,
            self.carbon_g + other.carbon_g,
            None if self.money is None or other.money is None else self.money + other.money,
        )  # fmt: skip

    def times(self, factor: float) -> Cost:
        """So many of it."""
        money = None if self.money is None else self.money * factor
        return Cost(
            self.energy_j * factor, self.cpu_s * factor, self.wall_s * factor, self.carbon_g * factor, money
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """What a whole search may take; None is no limit."""

    energy_j: float | None = None
    carbon_g: float | None = None
    money: float | None = None
    wall_s: float | None = None

    def each(self, spent: Cost) -> list[tuple[str, float, float, str]]:
        """The limits that there are: what, limit, spent, unit. What is not known is over any limit."""
        rows = (
            ("energy", self.energy_j, spent.energy_j, "J"),
            ("carbon", self.carbon_g, spent.carbon_g, "gCO2e"),
            ("money", self.money, math.inf if spent.money is None else spent.money, "USD"),
            ("time", self.wall_s, spent.wall_s, "s"),
        )
        return [(what, limit, used, unit) for what, limit, used, unit in rows if limit is not None]

    def share(self, cost: Cost) -> float:
        """The largest share of a limit that a cost is; zero where there is no limit."""
        return max((used / limit for _, limit, used, _ in self.each(cost)), default=0.0)


@dataclass(frozen=True, slots=True)
class Try:
    """A training as the ledger has it."""

    status: Status
    result: Result
    phases: Mapping[str, Cost]
    """By name, of the attempt that counts."""
    whole: Cost
    """Of all phases of all attempts."""
    step: int | None
    """Where it was stopped on purpose; None where it was not."""
    steps: int | None
    first: Cost
    """What the first step took: it makes ready what later steps use."""
    reason: str | None

    @property
    def train(self) -> Cost:
        """Of its training phase."""
        return self.phases.get(TRAIN, Cost())

    @property
    def done(self) -> bool:
        """Whether it can be compared."""
        return self.result.complete


@dataclass(slots=True)
class Workshop:
    """Trains for one search and keeps its bill."""

    study: str
    runner: Runner
    bench: Bench
    limits: Limits
    tell: Callable[[str], None]
    currency: Currency = "energy"
    spent: dict[Bill, Cost] = field(default_factory=dict)
    tries: int = 0
    trained: int = 0
    """Trainings that this call really ran; the others were in the ledger."""
    _began_s: float = field(default_factory=time.monotonic)

    @property
    def total(self) -> Cost:
        """All that was spent, earlier calls included, but for the time, which is this call's."""
        whole = Cost()
        for cost in self.spent.values():
            whole = whole.plus(cost)
        return whole._replace(wall_s=time.monotonic() - self._began_s)

    def value(self, cost: Cost) -> float:
        """A cost in the currency."""
        return cost.cpu_s if self.currency == "cpu" else cost.energy_j

    @property
    def joules(self) -> float:
        """Joules of one unit of the currency, by all that was spent."""
        whole = self.total
        return whole.energy_j / whole.cpu_s if self.currency == "cpu" and whole.cpu_s > 0.0 else 1.0

    def settle_currency(self) -> None:
        """Take what fits this machine: joules where a sensor reads them or a card works, else processor seconds."""
        cards = any(one.device.kind not in ("cpu", "dram", "machine") for one in self.bench.machine.devices)
        channels = [channel for sensor in self.bench.sensors for channel in sensor.channels()]
        measured = any(channel.basis == "measured" for channel in channels)
        self.currency = "energy" if cards or measured or not channels else "cpu"

    def run(self, trial: Trial, stack: Stack, part: Bill, *, stop: Stop | None = None, name: str = "") -> Try:
        """The training of a trial: from the ledger if it is there, else run now. Failures are results too.

        Args:
            trial: with all levers of the stack pulled.
            stack: what was pulled, for the record.
            part: whose bill it is on.
            stop: looks at every step and may end it.
            name: what tells this try from the full training of the same trial; empty for that one.

        Raises:
            BudgetExceeded: a limit was reached; the training under way is marked.
            KeyboardInterrupt: from the user.
        """
        key = f"{trial.key}:{name}" if name else trial.key
        self.tries += 1
        found = self._attempts(key)
        decisive = [one for one in found if self._settled(one)]
        if not decisive:
            try:
                self._train(trial, key, stack, part, stop, probe=bool(name))
                self.trained += 1
            finally:
                attempts = self._attempts(key)
                self._book(part, attempts)
        else:
            attempts = found
            self._book(part, found)
        return self._read(trial, attempts)

    def _settled(self, attempt: Attempt) -> bool:
        """Whether it need not be tried again: what one search gave up as dominated may be the best of another."""
        note = _notes(attempt).get(SETTLED)
        if attempt.status == "done" or note is None:
            return attempt.status == "done"
        return bool(note.get("probe", True)) or note.get("search") == self.study

    def _book(self, part: Bill, attempts: Sequence[Attempt]) -> None:
        for attempt in attempts:
            self.spent[part] = self.spent.get(part, Cost()).plus(_cost_of(attempt))

    def _attempts(self, key: str) -> Sequence[Attempt]:
        run = self.bench.ledger.run(key)
        return self.bench.ledger.attempts(run.id) if run is not None else ()

    def _read(self, trial: Trial, attempts: Sequence[Attempt]) -> Try:
        whole = Cost()
        for attempt in attempts:
            whole = whole.plus(_cost_of(attempt))
        last = next((one for one in reversed(attempts) if self._settled(one)), attempts[-1])
        record = record_of(trial, [last])
        # A training that was stopped on purpose has a cost to go by, but no scores.
        phases = {str(one["name"]): _phase_cost(one) for one in _phases(last)}
        energy = self.value(phases.get(TRAIN, Cost()))
        note = _notes(last).get(SETTLED) or {}
        return Try(
            last.status, replace(record.result, energy_j=energy), phases, whole, note.get("step"),
            note.get("steps"), Cost(*note.get("first", ())), note.get("reason") or record.error,
        )  # fmt: skip

    def _train(self, trial: Trial, key: str, stack: Stack, part: Bill, stop: Stop | None, *, probe: bool) -> None:
        """One attempt: nothing that a training does ends the search."""
        bench = self.bench
        tracker = track(
            trial.name, kind="trial", key=key, study=self.study, site=bench.site, interval_s=bench.interval_s,
            ledger=bench.ledger, sensors=bench.sensors, machine=bench.machine, catalogue=bench.catalogue,
        )  # fmt: skip
        tracker.note("trial", asdict(trial))
        tracker.note("reduce", {"part": part, "stack": [str(one) for one in stack]})
        with tracker:
            status, message = train_under(trial, self.runner, tracker, self._watch(tracker, stop, probe=probe))
            if status in HOPELESS:
                tracker.note(SETTLED, {"reason": message})

    def _watch(self, tracker: Tracker, stop: Stop | None, *, probe: bool) -> Callable[[Step], None]:
        looked_s = -math.inf
        first = Cost()

        def on_step(step: Step) -> None:
            nonlocal looked_s, first
            now_s = time.monotonic()
            if now_s - looked_s >= CHECK_S:
                looked_s = now_s
                self._within_limits(tracker)
            if stop is None:
                return
            taken = self._so_far(tracker)
            if step.step == 1:
                first = taken
            reason = stop(step, self.value(taken))
            if reason is not None:
                told = {"step": step.step, "steps": step.steps, "first": first, "reason": reason, "probe": probe}
                tracker.note(SETTLED, told | {"search": self.study})
                raise Stopped(reason)

        return on_step

    def _within_limits(self, tracker: Tracker) -> None:
        footprint = tracker.footprint()
        now = Cost(
            footprint.energy_j.mid,
            0.0,
            0.0,
            footprint.operational_g.mid,
            footprint.cost.mid if footprint.cost else None,
        )
        for what, limit, used, unit in self.limits.each(self.total.plus(now)):
            if used >= limit:
                raise BudgetExceeded(what, limit, used, unit)

    @staticmethod
    def _so_far(tracker: Tracker) -> Cost:
        phase = next((one for one in tracker.phases() if one.name == TRAIN), None)
        return Cost() if phase is None else Cost(phase.energy.energy_j.mid, phase.cpu_s, phase.wall_s)


def _notes(attempt: Attempt) -> Mapping[str, Any]:
    notes: Mapping[str, Any] = attempt.document.get("notes") or {}  # type: ignore[assignment]
    return notes


def _phases(attempt: Attempt) -> Sequence[Mapping[str, Any]]:
    phases: Sequence[Mapping[str, Any]] = attempt.document.get("phases") or []  # type: ignore[assignment]
    return phases


def _phase_cost(phase: Mapping[str, Any]) -> Cost:
    footprint = phase["footprint"]
    price = footprint["cost"]
    return Cost(
        float(footprint["energy_j"]["mid"]), float(phase["cpu_s"]), float(phase["wall_s"]),
        float(footprint["operational_g"]["mid"]), float(price["mid"]) if price else None,
    )  # fmt: skip


def _cost_of(attempt: Attempt) -> Cost:
    whole = Cost()
    for phase in _phases(attempt):
        whole = whole.plus(_phase_cost(phase))
    return whole
