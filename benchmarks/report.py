"""How long the report of a study of 50 trials takes, and how large it is.

    python benchmarks/report.py

The trials are those of the bundled recording, repeated with other seeds; each with 200 points of power. Targets: under
2 s and 1 MB. Prints the least of three.
"""

from __future__ import annotations

import time

from lowcarb.report.demo import recording
from lowcarb.report.html import render_html

TRIALS, POINTS, REPEATS = 50, 200, 3


def main() -> None:
    """Print time and size."""
    document = recording()
    recorded = document["trials"]
    document["trials"] = [
        {**recorded[number % len(recorded)], "seed": number // len(recorded), "key": f"trial {number}"}
        for number in range(TRIALS)
    ]
    for trial in document["trials"]:
        trial["power"] = [
            {
                **one,
                "power_w": (one["power_w"] * POINTS)[:POINTS],
                "start_ns": [one["start_ns"][0] + n * one["step_ns"] for n in range(POINTS)],
            }
            for one in trial["power"]
        ]
    times = []
    for _ in range(REPEATS):
        began_s = time.perf_counter()
        page = render_html(document)
        times.append(time.perf_counter() - began_s)
    print(f"{TRIALS} trials: first {times[0]:.2f} s, least {min(times):.2f} s, {len(page.encode()) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
