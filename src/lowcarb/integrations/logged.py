"""What is logged to an experiment tracker: live figures and, in the end, every estimate with its basis."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from lowcarb.core.estimate import Estimate
from lowcarb.core.footprint import Footprint
from lowcarb.core.units import J_PER_KWH
from lowcarb.integrations.live import Figures, Live
from lowcarb.integrations.training import CARBON, ENERGY, POWER, SHARE
from lowcarb.tracker.guard import Guard
from lowcarb.tracker.track import Tracker

ENERGY_J = "lowcarb/energy_j"
FINAL = "lowcarb/final"
ESTIMATES = ("energy_j", "operational_g", "embodied_g", "water_l", "cost", "duration_s")
END_S = 1.0
"""How long the end waits in all until the last figures are logged [s]; then they are logged in the background."""


def live_figures(figures: Figures) -> dict[str, float]:
    """What is logged while it runs; the keys are those of a training's logs, and what is not known is left out."""
    footprint = figures.footprint
    logged = {
        ENERGY_J: footprint.energy_j.mid,
        ENERGY: footprint.energy_j.mid / J_PER_KWH,
        CARBON: footprint.operational_g.mid,
        SHARE: footprint.measured_share,
    }
    if figures.power_w is not None:
        logged[POWER] = figures.power_w
    for one in (*figures.devices, *figures.hosts):
        if one.power_w is not None:
            logged[f"{POWER}/{re.sub(r'[^A-Za-z0-9_. -]', '_', one.id)}"] = one.power_w
    return logged


def final_figures(footprint: Footprint) -> dict[str, float]:
    """Low, mid and high of every estimate, and the measured share."""
    known = _estimates(footprint)
    logged = {
        f"{FINAL}/{name}_{bound}": float(getattr(estimate, bound))
        for name, estimate in known.items()
        for bound in ("low", "mid", "high")
    }
    return {**logged, f"{FINAL}/measured_share": footprint.measured_share}


def final_words(subject: Tracker | Footprint) -> dict[str, str]:
    """The basis of every estimate and what else is said in words."""
    footprint = footprint_of(subject)
    words = {f"lowcarb.basis.{name}": str(estimate.basis) for name, estimate in _estimates(footprint).items()}
    words |= {"lowcarb.scope": footprint.scope, "lowcarb.method": footprint.method}
    words["lowcarb.sources"] = ", ".join(footprint.sources)
    if isinstance(subject, Tracker):
        words |= {"lowcarb.run_id": subject.attempt_id, "lowcarb.status": subject.status or "not started"}
    return words


def footprint_of(subject: Tracker | Footprint) -> Footprint:
    """The footprint of what is to be logged."""
    return subject.footprint() if isinstance(subject, Tracker) else subject


@contextmanager
def logging(
    tracker: Tracker, what: str, every_s: float, tell: Callable[[Figures], object], finish: Callable[[], object]
) -> Iterator[Tracker]:
    """Tell of a tracker while the block runs, and then finish. A tracker not started yet is started and ended here."""
    guard, live = Guard(), Live(every_s)
    live.tell(what, tell)
    own = tracker.status is None
    try:
        if own:
            with tracker:
                live.follow(tracker)
                yield tracker
        else:
            live.follow(tracker)
            yield tracker
    finally:
        left_s = live.stop(END_S / 2.0)
        guard.within(left_s + END_S / 2.0, f"{what}: the last figures", finish)


def _estimates(footprint: Footprint) -> Mapping[str, Estimate]:
    values = {name: getattr(footprint, name) for name in ESTIMATES}
    return {name: value for name, value in values.items() if value is not None}
