"""What it costs to wake up at all: a bare Python thread that waits, reads two files and writes a line.

    python benchmarks/waking.py

Prints processor seconds an hour at 1 Hz and at 10 Hz, least of five stretches: what no meter that is written in Python
and reads two counters can go below on this machine; and what of it is waking alone. A thread that wakes once a second
finds nothing of itself in the processor's caches, so what it does costs some ten times what it costs in a loop.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

from lowcarb.core.units import S_PER_HOUR

STRETCHES = 5
READINGS = {1.0: 10, 0.1: 60}
"""Of a stretch, by interval [s]."""


def stretch_cpu_s(interval_s: float, readings: int, counters: list[int], out: int | None) -> float:
    """Processor seconds [s] of a thread over so many readings; without `out` it only waits."""
    spent = 0.0

    def run() -> None:
        nonlocal spent
        never: SimpleQueue[None] = SimpleQueue()
        began = time.thread_time()
        for _ in range(readings):
            try:
                never.get(timeout=interval_s)
            except Empty:
                if out is None:
                    continue
                values = [float(os.pread(counter, 64, 0)) for counter in counters]
                os.write(out, b"%r\n" % [time.monotonic(), *values])
        spent = time.thread_time() - began

    thread = Thread(target=run)
    thread.start()
    thread.join()
    return spent


def main() -> None:
    """Print both figures."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("package", "dram")]
        for file in files:
            file.write_text("123456789\n", encoding="ascii")
        counters = [os.open(file, os.O_RDONLY) for file in files]
        out = os.open(Path(folder) / "journal", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        for interval_s, readings in READINGS.items():
            whole, alone = (
                min(stretch_cpu_s(interval_s, readings, counters, where) for _ in range(STRETCHES))
                / (readings * interval_s)
                * S_PER_HOUR
                for where in (out, None)
            )
            print(f"{1.0 / interval_s:g} Hz: {whole:.2f} s an hour, of which {alone:.2f} s waking alone")


if __name__ == "__main__":
    main()
