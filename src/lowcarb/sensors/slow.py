"""A power that takes long to ask for: asked for in the background, and told again until the next answer."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from time import monotonic

from lowcarb.core.energy import Channel, Reading

PERIOD_S = 5.0
"""Time between two questions. A management controller renews its power about once a second and needs a good part of
that to answer (Green Metrics Tool, PSU Energy AC IPMI), and it has other work."""
STALE_PERIODS = 3.0
"""An answer older than this many periods is told no more."""
FIRST_WAIT_S = 1.0
"""How long opening waits for the first answer; what comes later is a reading later, not a fault."""

Ask = Callable[[], float]
"""Gives the present power [W]; may take long, and may raise anything."""


class SlowPower:
    """One channel of power [W] behind a slow question. Nobody ever waits for an answer, except `first` for a moment.

    Args:
        channel: what is read; its sensor is this one's name.
        ask: the question. It is put in a thread of its own, one at a time.
        period_s: time between two questions [s].
        clock: a monotonic clock [s].
    """

    def __init__(
        self, channel: Channel, ask: Ask, *, period_s: float = PERIOD_S, clock: Callable[[], float] = monotonic
    ) -> None:
        self.name = channel.sensor
        self._channel, self._ask, self._period_s, self._clock = channel, ask, period_s, clock
        self._thread: Thread | None = None
        self._asked_s = self._answered_s = float("-inf")
        self._power_w: float | None = None
        self._error: BaseException | None = None

    def channels(self) -> tuple[Channel, ...]:
        """One channel."""
        return (self._channel,)

    def first(self, wait_s: float = FIRST_WAIT_S) -> None:
        """Put the first question and wait a moment for its answer. Raises what the question raised until then."""
        self._start(self._clock())
        if self._thread is not None:
            self._thread.join(wait_s)
        if self._error is not None:
            raise self._error

    def read(self, at_s: float) -> tuple[Reading, ...]:
        """The latest answer; none while there is none.

        Raises:
            Exception: what the last question raised, once its predecessor's answer is too old.
        """
        now_s = self._clock()
        if now_s - self._asked_s >= self._period_s and (self._thread is None or not self._thread.is_alive()):
            self._start(now_s)
        if self._power_w is not None and now_s - self._answered_s <= STALE_PERIODS * self._period_s:
            return (Reading(at_s, self._channel.id, self._power_w),)
        if self._error is not None:
            raise self._error
        return ()

    def close(self) -> None:
        """Nothing is held: a question that is still open ends by its own time limit."""

    def _start(self, now_s: float) -> None:
        self._asked_s = now_s
        self._thread = Thread(target=self._fetch, name=f"lowcarb-{self.name}-ask", daemon=True)
        self._thread.start()

    def _fetch(self) -> None:
        asked_s = self._clock()
        try:
            self._power_w, self._answered_s, self._error = self._ask(), asked_s, None
        except Exception as error:  # noqa: BLE001  # told by `first` and `read`, in the thread that may know of it
            self._error = error
