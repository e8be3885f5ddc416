"""Does the meter last? A day's readings in minutes: memory, descriptors, threads and the error of the duration.

    python benchmarks/soak.py [--readings 86400] [--interval 0.01]

Tracks a program that does nothing at a hundred times the usual rate. Prints what grew between the first tenth and the
end, and exits with 1 where memory grew by more than 5 MB, a descriptor or thread was left, or the duration is off by
more than 0.1 s.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

import lowcarb
from lowcarb.sensors.replay import Replay

MOST_MB, MOST_OFF_S = 5.0, 0.1


def resident_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status does not say VmRSS")


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def main() -> int:
    parser = argparse.ArgumentParser(description="A day's readings in minutes.")
    parser.add_argument("--readings", type=int, default=86_400)
    parser.add_argument("--interval", type=float, default=0.01)
    options = parser.parse_args()
    span_s = options.readings * options.interval
    before = threading.active_count(), descriptors()
    with tempfile.TemporaryDirectory() as home:
        tracker = lowcarb.track("soak", interval_s=options.interval, sensors=[Replay.steady(50.0)], home=home)
        began_s = time.monotonic()
        tracker.start()
        time.sleep(span_s / 10)
        early_mb = resident_mb()
        while time.monotonic() - began_s < span_s:
            time.sleep(1.0)
            tracker.tokens(1)
            tracker.footprint()
        ended_s = time.monotonic()
        late_mb = resident_mb()
        footprint = tracker.stop()
        size_mb = sum(file.stat().st_size for file in Path(home).rglob("*.jsonl")) / 1e6
    off_s = footprint.duration_s.mid - (ended_s - began_s)
    time.sleep(0.5)
    left = threading.active_count() - before[0], descriptors() - before[1]
    print(f"{options.readings} readings, {span_s:.0f} s: memory +{late_mb - early_mb:.2f} MB, journal {size_mb:.1f} MB")
    right = footprint.energy_j.mid / 50.0 / footprint.duration_s.mid
    print(f"duration off by {off_s:+.3f} s, energy {right:.6f} of the truth")
    print(
        f"left behind: {left[0]} threads, {left[1]} descriptors; processor time of metering {tracker.meter_cpu_s:.1f} s"
    )
    good = late_mb - early_mb <= MOST_MB and abs(off_s) <= MOST_OFF_S and left <= (0, 0)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
