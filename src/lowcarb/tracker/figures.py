"""A tracker's figures: what its books come to on its machine at its site, live and in the end."""

from __future__ import annotations

import time
from collections.abc import Sequence

from lowcarb.core.energy import GAP_INTERVALS, Energy, with_lag
from lowcarb.core.footprint import Footprint, measured_footprint
from lowcarb.tracker.books import Books, Entry, Phase, merged
from lowcarb.tracker.guard import Guard
from lowcarb.tracker.plan import Plan
from lowcarb.tracker.rig import Rig, unseen_energy

REFRESH_RATIO = 50.0
"""A live figure is computed anew after so many times the time that it took: at most 2 % of the program's."""

Reckoning = tuple[tuple[Phase, ...], Footprint, Energy]
"""Phases, and the footprint and energy that they sum to."""


class Figures:
    """Phases and footprint of an attempt. Nothing here raises."""

    def __init__(self, plan: Plan, rig: Rig, books: Books, guard: Guard) -> None:
        self._plan, self._rig, self._books, self._guard = plan, rig, books, guard
        self._cached: tuple[float, float, object, Reckoning] | None = None
        self._final: Reckoning | None = None

    def now(self, cpu_s: float, ended_s: float | None = None) -> Reckoning:
        """Up to the last reading or the end [s], at this processor time [s]; once closed, the whole."""
        if self._books.began is None:
            return self.unseen()
        return self._final or self._guard.run("figures", lambda: self._live(cpu_s, ended_s), None) or self.unseen()

    def close(self, at_s: float, cpu_s: float) -> tuple[Entry, ...]:
        """The books up to the end [s], from which all figures are from now on."""
        entries = self._books.until(at_s, cpu_s)
        self._final = self._guard.run("figures", lambda: self._applied(entries), None)
        return entries

    def unseen(self) -> Reckoning:
        """Figures of a time that nobody looked at: assumed, and as wide as can be."""
        began_s = self._books.began[0] if self._books.began else time.monotonic()
        energy = unseen_energy(began_s, time.monotonic() if self._books.began else began_s)
        return (), measured_footprint(energy, self._rig.machine, self._plan.site), energy

    def _live(self, cpu_s: float, ended_s: float | None) -> Reckoning:
        now_s, turns = time.monotonic(), (self._books.turns, ended_s)
        if self._cached is not None:
            made_s, took_s, made_turns, reckoning = self._cached
            if made_turns == turns and now_s - made_s < REFRESH_RATIO * took_s:
                return reckoning
        reckoning = self._applied(self._books.until(ended_s or self._seen_s(now_s), cpu_s))
        self._cached = now_s, time.monotonic() - now_s, turns, reckoning
        return reckoning

    def _applied(self, entries: Sequence[Entry]) -> Reckoning:
        """Machine and site applied to the books."""
        machine, site = self._rig.machine, self._plan.site
        total = with_lag(merged([entry.energy for entry in entries]))
        phases = tuple(entry.phase(machine, site) for entry in entries)
        return phases, measured_footprint(total, machine, site), total

    def _seen_s(self, now_s: float) -> float:
        """The time of the last reading [s]: between two of them nothing is known yet. Now, if none has come lately."""
        horizon_s = self._books.horizon_s()
        recent = horizon_s is not None and now_s - horizon_s < GAP_INTERVALS * self._plan.interval_s
        return horizon_s if recent and horizon_s is not None else now_s
