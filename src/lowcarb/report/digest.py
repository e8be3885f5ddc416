"""What reports read out of a study document: means over an arm's trials, with their intervals and bases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

from lowcarb.report.format import Figure, figure, useless

Document = Mapping[str, Any]

BASES = ("measured", "modelled", "catalogue", "assumed")
"""Strongest first."""
PHASES = ("prepare", "train", "evaluate", "score", "other")
SPLITS = ("validation", "adversarial")
SCORES = ("em", "f1", "cosine", "sts")


class Metric(NamedTuple):
    """How a quality metric is written."""

    name: str
    points: str
    """What a change of it is counted in."""
    decimals: int
    span: float
    """Largest change that there can be."""


METRICS: Mapping[str, Metric] = {
    "em": Metric("EM", "points of EM", 1, 100.0),
    "f1": Metric("F1", "points of F1", 1, 100.0),
    "cosine": Metric("cosine", "of cosine", 2, 1.0),
    "sts": Metric("STS", "of STS", 2, 2.0),
}


def metric_of(document: Document) -> Metric:
    """The study's primary metric."""
    name = str(document["study"]["metric"])
    return METRICS.get(name, Metric(name, f"of {name}", 2, 1.0))


def weakest(bases: Iterable[str]) -> str:
    """The weakest of some bases: what rests on several rests on that one."""
    return max((basis for basis in bases if basis in BASES), key=BASES.index, default="")


def mean(figures: Iterable[Figure | None]) -> Figure | None:
    """The mean of figures that err together, as trials on one machine and site do: bound by bound; None if one is."""
    known = list(figures)
    whole = [one for one in known if one is not None]
    if not whole or len(whole) < len(known):
        return None
    low, mid, high = fmean(f.low for f in whole), fmean(f.mid for f in whole), fmean(f.high for f in whole)
    return Figure(low, mid, high, weakest(one.basis for one in whole))


def spread(values: Iterable[float | None], basis: str) -> Figure | None:
    """The mean of some values between the lowest and the highest of them; None if one is unknown."""
    known = list(values)
    whole = [float(value) for value in known if value is not None]
    if not whole or len(whole) < len(known):
        return None
    return Figure(min(whole), fmean(whole), max(whole), basis)


def added(first: Figure | None, second: Figure | None) -> Figure | None:
    """The sum, bound by bound; what is unknown of the second is left out."""
    if first is None or second is None:
        return first
    low, mid, high = first.low + second.low, first.mid + second.mid, first.high + second.high
    return Figure(low, mid, high, weakest((first.basis, second.basis)))


@dataclass(frozen=True, slots=True)
class ArmView:
    """One arm of a study, as its done trials show it."""

    facts: Document
    trials: tuple[Document, ...]
    planned: int
    is_baseline: bool
    on_front: bool

    @property
    def id(self) -> str:
        """`model/tokenizer`."""
        return str(self.facts["id"])

    @property
    def from_scratch(self) -> bool:
        """Whether it starts without pretrained weights."""
        return bool(self.facts["from_scratch"])

    @property
    def tags(self) -> tuple[str, ...]:
        """What to bear in mind of it, in words."""
        marks = ((self.is_baseline, "baseline"), (self.from_scratch, "from scratch"))
        return tuple(word for holds, word in marks if holds)

    def footprint(self, name: str) -> Figure | None:
        """A figure of the training phase, mean over trials."""
        return mean(figure((trial["footprint"] or {}).get(name)) for trial in self.trials)

    def fact(self, name: str, basis: str = "measured") -> Figure | None:
        """A number that each trial has, between its lowest and highest seed."""
        return spread((trial.get(name) for trial in self.trials), basis)

    def score(self, split: str, metric: str) -> Figure | None:
        """A quality, between its lowest and highest seed."""
        return spread(((trial.get(split) or {}).get(metric) for trial in self.trials), "measured")

    def phase_energy(self, phase: str) -> Figure | None:
        """Energy of a phase [J], mean over trials."""
        found = [one for trial in self.trials for one in trial["phases"] if one["name"] == phase]
        return mean(figure((one["footprint"] or {}).get("energy_j")) for one in found)

    def projected(self, device: str, name: str) -> Figure | None:
        """A figure of the training phase on another device, mean over trials."""
        found = [trial["projections"][device] for trial in self.trials if device in trial["projections"]]
        return mean(figure(one["footprint"].get(name)) for one in found)


def arms_of(document: Document) -> tuple[ArmView, ...]:
    """All arms, also those without a done trial."""
    front = {point["arm"] for point in document["pareto"] if point["on_front"]}
    views = []
    for arm in document["arms"]:
        mine = [trial for trial in document["trials"] if trial["arm"] == arm["id"]]
        done = tuple(trial for trial in mine if trial["status"] == "done")
        views.append(ArmView(arm, done, len(mine), arm["id"] == document["study"]["baseline"], arm["id"] in front))
    return tuple(views)


def phases_of(document: Document) -> tuple[str, ...]:
    """The names of all phases: the known ones in order, then any other."""
    seen = dict.fromkeys(phase["name"] for trial in document["trials"] for phase in trial["phases"])
    return (*(name for name in PHASES if name in seen), *(name for name in seen if name not in PHASES))


def device_names(document: Document) -> Mapping[str, str]:
    """The devices that trials are projected onto: name by id, in the study's order."""
    names = {}
    for device in document["study"]["devices"]:
        for trial in document["trials"]:
            if device in trial["projections"]:
                names[device] = str(trial["projections"][device]["device"])
                break
    return names


def status_counts(document: Document) -> Mapping[str, int]:
    """How many trials there are by status, done ones first."""
    counts: dict[str, int] = {"done": 0}
    for trial in document["trials"]:
        counts[trial["status"]] = counts.get(trial["status"], 0) + 1
    return counts


def unfinished(document: Document) -> Sequence[Document]:
    """The trials that ended without a result."""
    return [trial for trial in document["trials"] if trial["status"] not in ("done", "pending")]


def spread_unknown(comparison: Document) -> bool:
    """Whether no two pairs told the spread from seed to seed: both intervals are then as wide as nothing known."""
    ratio = figure(comparison["carbon_ratio"])
    return ratio is None or useless(ratio)


def name_of(document: Document, comparison: Document, side: str) -> str:
    """An arm's id, or a device's name, on one side of a comparison: `arm` or `baseline`."""
    found = str(comparison[side])
    return device_names(document).get(found, found) if comparison["factor"] == "device" else found
