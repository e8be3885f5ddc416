"""Watching a budget while a run is on, and what the run will have taken in the end."""

from __future__ import annotations

import logging
from math import inf, isfinite

from lowcarb.core.budget import UNITS, WARN_SHARE, Budget, Marks, Outlook, can_be_kept, outlook, spent, tell
from lowcarb.core.footprint import Footprint
from lowcarb.errors import BudgetExceeded

NEWS_S, NEWS_SHARE = 10.0, 0.005
"""Least time between two outlooks that are written down [s], and of the time so far: a day's run writes about a
thousand, and a month's two thousand. `assumed`: half a percent of a run changes little of how it will end."""

_log = logging.getLogger(__name__)


class Watch:
    """Looks at the footprint of a run from time to time, by one thread; anybody may ask what it has seen.

    Attributes:
        over: whether the budget was reached.
        outlook: what the whole run will have taken; None while too little of it is done to say.
    """

    def __init__(self, budget: Budget | None) -> None:
        self.budget = budget
        self.over = False
        self.outlook: Outlook | None = None
        self._marks = Marks()
        self._progress: float | None = None
        self._warned = False
        self._began_s: float | None = None
        self._told_s = -inf
        self._told: float | None = None
        """The progress that was last written down."""

    @property
    def needed(self) -> bool:
        """Whether there is anything to look at."""
        return self.budget is not None or self._progress is not None

    def progress(self, share: float) -> None:
        """So much of the work is done, 0 to 1.

        Raises:
            ValueError: it is no such share.
        """
        if not (isfinite(share) and 0.0 <= share <= 1.0):
            raise ValueError(f"progress is a share of the work, 0 to 1, not {share!r}")
        self._progress = share

    def look(self, footprint: Footprint, at_s: float) -> bool:
        """Look at the footprint so far; whether the budget has been reached just now."""
        self._began_s = at_s if self._began_s is None else self._began_s
        if self._progress is not None:
            self._marks.add(self._progress, footprint, at_s)
            self.outlook = outlook(self._marks, footprint, self._progress)
        if self.budget is None:
            return False
        share = (spent(self.budget, footprint) or 0.0) / self.budget.limit
        reached = share >= 1.0 and not self.over
        self.over |= reached
        if reached or (not self._warned and (share >= WARN_SHARE or not can_be_kept(self.budget, footprint))):
            self._warned = True
            _log.warning("%s", tell(self.budget, footprint, self.outlook))
        return reached

    def news(self, at_s: float, *, last: bool = False) -> dict[str, object] | None:
        """The outlook as it is to be written down at a time [s], with `at_s`, the time of the progress that it goes by.

        None where there is none, where no work was done since the last one, and but for the very last one, where that
        is not long ago: what is written does not grow with every look.
        """
        coming, so_far_s = self.outlook, 0.0 if self._began_s is None else at_s - self._began_s
        if coming is None or coming.progress == self._told:
            return None
        if not last and at_s - self._told_s < max(NEWS_S, NEWS_SHARE * so_far_s):
            return None
        self._told_s, self._told = at_s, coming.progress
        return {**coming.as_dict(), "at_s": self._marks[-1].at_s}


def exceeded(budget: Budget, footprint: Footprint) -> BudgetExceeded:
    """The error that says so, in the unit of the budget."""
    _, size = UNITS[budget.unit]
    return BudgetExceeded(budget.what, budget.limit / size, (spent(budget, footprint) or 0.0) / size, budget.unit)
