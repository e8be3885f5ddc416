"""A million scenarios: how long, how much memory, and how much slower one at a time.

    python benchmarks/scan.py

Prints seconds of a scan of about a million cells in three shapes, the most memory that the process ever held, and the
same cells one at a time (a sample, scaled up).
"""

from __future__ import annotations

import random
import resource
from time import perf_counter

from lowcarb.catalogue import Catalogue
from lowcarb.core.forecast import forecast_run
from lowcarb.scan import Run, Scan, scan

SAMPLE = 2_000
SHAPES = {
    "100 runs, 25 devices, 40 counts, 10 sites": (100, 25, 40, 10, 0),
    "20 runs, 10 devices, 20 counts, 10 sites, 24 hours": (20, 10, 20, 10, 24),
    "5000 runs, 10 devices, 20 counts, 1 site": (5000, 10, 20, 1, 0),
}


def main() -> None:
    """Print the table."""
    catalogue = Catalogue.load()
    devices = [d for d in catalogue.devices() if d.kind in ("gpu", "tpu") and d.peak_for("bf16") and d.tdp_w]
    sites = catalogue.sites()
    for name, (runs, machines, counts, places, hours) in SHAPES.items():
        chosen = [Run(1e8 * (1 + i), 1e10 * (1 + i % 100)) for i in range(runs)]
        hourly = [[50.0 + 10 * h for h in range(hours)] for _ in range(places)] if hours else None
        begun = perf_counter()
        found = scan(chosen, devices[:machines], [8 * (1 + i) for i in range(counts)], sites[:places], hourly)
        seconds = perf_counter() - begun
        cells = found.operational_g.mid.size
        print(f"{name}: {cells:,} scenarios, {seconds:.2f} s; one at a time {_one_by_one(found, cells):.0f} s")
    print(f"most memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def _one_by_one(found: Scan, cells: int) -> float:
    """Seconds that `forecast_run` would take for all cells, from a sample."""
    axes = found.operational_g.mid.shape
    sample = [tuple(random.randrange(n) for n in axes) for _ in range(SAMPLE)]
    scenarios = [found.scenario(*cell) for cell in sample]
    begun = perf_counter()
    for scenario in scenarios:
        forecast_run(scenario)
    return (perf_counter() - begun) / SAMPLE * cells


if __name__ == "__main__":
    main()
