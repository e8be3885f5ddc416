"""How a study is told while it runs: one line that is rewritten on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from lowcarb.core.trial import Trial
from lowcarb.core.units import S_PER_HOUR, S_PER_MINUTE
from lowcarb.lab.study import Progress
from lowcarb.ledger.base import Status

QUIET_S = 15.0
"""Time between lines where no terminal can rewrite one [s]."""


def clock(seconds: float) -> str:
    """`4:05` or `1:04:05`."""
    hours, rest = divmod(round(seconds), round(S_PER_HOUR))
    minutes, s = divmod(rest, round(S_PER_MINUTE))
    return f"{hours}:{minutes:02}:{s:02}" if hours else f"{minutes}:{s:02}"


class ProgressLine:
    """Hears how a study goes and writes it to a stream, by default stderr."""

    def __init__(self, stream: TextIO | None = None, *, quiet_s: float = QUIET_S) -> None:
        self._stream = stream or sys.stderr
        self._quiet_s = 0.0 if self._stream.isatty() else quiet_s
        self._told_s = float("-inf")

    def progress(self, progress: Progress) -> None:
        """Trial, step, watts, grams and time left."""
        if time.monotonic() - self._told_s < self._quiet_s:
            return
        self._told_s = time.monotonic()
        watts = "? W" if progress.power_w is None else f"{progress.power_w:.1f} W"
        left = "" if progress.left_s is None else f" · {clock(progress.left_s)} left"
        self._write(
            f"trial {progress.number}/{progress.trials} {progress.trial.arm.id} seed {progress.trial.seed} · "
            f"step {progress.step}/{progress.steps} · {watts} · {progress.carbon_g:.3f} gCO2e{left}",
            rewrite=True,
        )

    def ended(self, trial: Trial, number: int, trials: int, status: Status, error: str | None) -> None:
        """How a trial ended."""
        reason = f": {error}" if error else ""
        self._write(f"trial {number}/{trials} {trial.arm.id} seed {trial.seed} · {status}{reason}")

    def skipped(self, trial: Trial, number: int, trials: int) -> None:
        """That a trial is in the ledger already."""
        self._write(f"trial {number}/{trials} {trial.arm.id} seed {trial.seed} · done before")

    def _write(self, line: str, *, rewrite: bool = False) -> None:
        if not self._stream.isatty():
            self._stream.write(line + "\n")
        elif rewrite:
            self._stream.write("\r\x1b[K" + line)
        else:
            self._stream.write("\r\x1b[K" + line + "\n")
        self._stream.flush()
