"""An attempt that is another process's: what happens here is told to the leader, and the figures are its."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lowcarb.core.budget import Budget, Outlook
from lowcarb.core.energy import Energy
from lowcarb.core.footprint import Footprint, footprint_from_dict, measured_footprint
from lowcarb.ledger.base import Status
from lowcarb.ledger.home import home
from lowcarb.tracker.figures import Reckoning
from lowcarb.tracker.guard import Guard
from lowcarb.tracker.plan import Plan
from lowcarb.tracker.ranks import LEADER, local_rank, meeting_point
from lowcarb.tracker.rig import unknown_machine, unseen_energy
from lowcarb.tracker.stack import Stack
from lowcarb.tracker.wire import Follower

FRESH_S = 0.2
"""An answer of the leader is good for so long [s]."""
NOT_FOUND = "the first process of this job on this node has no tracker to follow: nothing was recorded here"


class Following:
    """The follower's side of `lowcarb.tracker.own.Own`.

    Attributes:
        stack: its phases, told to the leader where this process speaks for the job.
    """

    def __init__(self, follower: Follower, plan: Plan, guard: Guard) -> None:
        self.stack = Stack(follower.phase)
        self._follower, self._site, self._guard = follower, plan.site, guard
        self._began_s = time.monotonic()
        self._final: Footprint | None = None

    @property
    def leads_at(self) -> Path:
        """The leader's socket."""
        return self._follower.path

    @property
    def attempt_id(self) -> str | None:
        """The leader's attempt, where it is known."""
        self._follower.poll()
        return self._follower.attempt_id

    def start(self) -> None:
        """Nothing to open: the meter is the leader's."""

    def stop(self, status: Status) -> None:
        """Say how it ended, and hang up."""
        self._final = self._guard.run("figures", self._asked, None)
        self._follower.end(status)
        if self._follower.attempt_id is None:
            self._guard.record(NOT_FOUND)

    def count(self, tokens: int, steps: int) -> None:
        """Count so many more."""
        self._follower.count(tokens, steps)

    def progress(self, share: float) -> None:
        """So much of the work is done, 0 to 1."""
        self._follower.progress(share)

    def note(self, key: str, value: object) -> None:
        """A fact for the document."""
        self._follower.note(key, value)

    def reckoning(self) -> Reckoning:
        """No phases, and the leader's footprint."""
        footprint = self._final or self._asked()
        return ((), footprint, Energy(0.0, ())) if footprint else self.unseen()

    def unseen(self) -> Reckoning:
        """What can be said where the leader is silent: a wide guess for the time since the start."""
        energy = unseen_energy(self._began_s, time.monotonic())
        return (), measured_footprint(energy, unknown_machine(), self._site), energy

    def power_w(self) -> float | None:
        """The leader's mean power [W]."""
        power_w = self._state().get("power_w")
        return None if power_w is None else float(power_w)

    def faults(self) -> tuple[str, ...]:
        """None of its own."""
        return ()

    @property
    def budget(self) -> Budget | None:
        """The leader's budget."""
        document = self._state().get("budget")
        return Budget(**document) if document else None

    @property
    def over_budget(self) -> bool:
        """Whether the leader has said that its budget was reached."""
        self._follower.poll()
        return self._follower.over_budget

    @property
    def outlook(self) -> Outlook | None:
        """What the whole run will have taken."""
        document = self._state().get("outlook")
        return Outlook.from_dict(document) if document else None

    def _asked(self) -> Footprint | None:
        document = self._state().get("footprint")
        return footprint_from_dict(document) if document else None

    def _state(self) -> Mapping[str, Any]:
        return self._follower.ask(FRESH_S)


def follower_of(plan: Plan, environ: Mapping[str, str]) -> Follower | None:
    """The follower that this process has to be, or None where it is on its own or the first.

    A rank other than the first follows in any case: its leader may be up a little later. Who may join a leader does so
    only where one is there.
    """
    rank = local_rank(environ)
    if plan.joins and environ.get(LEADER):
        follower = Follower(Path(environ[LEADER]), speaks=rank == 0)
        if rank > 0 or follower.connect():
            return follower
    return Follower(meeting_point(plan.home or home()), speaks=False) if rank > 0 else None
