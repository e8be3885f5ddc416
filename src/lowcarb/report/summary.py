"""The answer in sentences. None says more than the verdict it reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lowcarb.report.digest import (
    ArmView,
    Document,
    Metric,
    added,
    arms_of,
    device_names,
    metric_of,
    name_of,
    spread_unknown,
    status_counts,
)
from lowcarb.report.format import Figure, change, figure, fixed, percent, quantity, signed, unit_for

SAVING = ("better", "not inferior")
"""Verdicts that support a choice."""


class Said(NamedTuple):
    """A sentence on one comparison in its parts."""

    subject: str
    """What is held against what."""
    predicate: str
    """What becomes of carbon and quality."""
    verdict: str
    because: str = ""
    """Why, where the predicate does not say it."""

    @property
    def text(self) -> str:
        """The sentence without its verdict."""
        return f"{self.subject} {self.predicate}"

    @property
    def plain(self) -> str:
        """All of it as one sentence."""
        return f"{self.text}: {self.verdict}{f' ({self.because})' if self.because else ''}."


def lead(document: Document) -> str:
    """The answer in a sentence or two: the choice that the study supports, or that it supports none."""
    study, metric = document["study"], metric_of(document)
    compared = [c for c in document["comparisons"] if c["factor"] != "device"]
    if not compared:
        return _nothing_compared(document)
    supported = [c for c in compared if c["verdict"] in SAVING]
    against_baseline = [c for c in supported if c["baseline"] == study["baseline"]]
    others = [c for c in supported if c["baseline"] != study["baseline"]]
    margin = points_words(metric, float(study["margin"]))
    found = _choices(against_baseline, margin)
    if not against_baseline:
        found.append(
            f"No other choice is shown to keep the quality of {study['baseline']}, to within {margin}, for less carbon."
        )
    found += _choices(others, margin)
    return " ".join(found)


def _choices(supported: Sequence[Document], margin: str) -> list[str]:
    """The choice with the least carbon, and where that one only keeps the quality, the one that betters it."""
    by_carbon = sorted(supported, key=lambda c: float(c["carbon_ratio"]["mid"]))
    better = [c for c in by_carbon if c["verdict"] == "better"]
    return [_choice(c, margin) for n, c in enumerate(by_carbon) if n == 0 or c is next(iter(better), None)]


def _choice(comparison: Document, margin: str) -> str:
    ratio = figure(comparison["carbon_ratio"])
    saving = change(ratio, "carbon") if ratio else "less carbon"
    kept = "gains quality" if comparison["verdict"] == "better" else f"loses less than {margin}"
    return f"{comparison['arm']} can take the place of {comparison['baseline']}: it trains for {saving} and {kept}."


def _nothing_compared(document: Document) -> str:
    counts = status_counts(document)
    if not counts["done"]:
        return "No trial is done yet, so there is nothing to compare."
    return "Nothing can be compared yet: no two choices that differ in one thing share a done seed."


def sentences(document: Document) -> tuple[Said, ...]:
    """A sentence on each comparison, in the document's order."""
    return tuple(sentence(document, one) for one in document["comparisons"])


def sentence(document: Document, comparison: Document) -> Said:
    """What one choice costs and what it buys, with the verdict."""
    arm, baseline = (name_of(document, comparison, side) for side in ("arm", "baseline"))
    carbon = _carbon_words(figure(comparison["carbon_ratio"]))
    verdict, reason = str(comparison["verdict"]), str(comparison["reason"])
    if comparison["factor"] == "device":
        subject = f"Projected onto {arm} instead of {baseline}, the same training"
        because = reason if verdict == "undecided" else ""
        return Said(subject, carbon.replace("trains for", "takes", 1), verdict, because)
    because = reason if verdict == "undecided" and not _scratch(document, comparison) else ""
    predicate = f"{carbon} and {quality_words(document, comparison)}"
    if spread_unknown(comparison) and not _scratch(document, comparison):
        predicate = f"shows no sure change of carbon or {metric_of(document).name} (intervals too wide to be of use)"
    return Said(f"Against {baseline}, {arm}", predicate, verdict, because)


def _carbon_words(ratio: Figure | None) -> str:
    if ratio is None:
        return "has a carbon that is not known"
    words = change(ratio, "carbon")
    return f"shows {words}" if words.startswith("no sure") else f"trains for {words}"


def quality_words(document: Document, comparison: Document) -> str:
    """What becomes of the quality: `loses 16.7 points of F1 (10.5–23.2)`."""
    metric, found = metric_of(document), figure(comparison["quality_change"])
    if _scratch(document, comparison):
        return f"is not compared in {metric.name}, since {_scratch(document, comparison)} starts from scratch"
    if found is None:
        return f"has a change of {metric.name} that is not known"
    if found.low > 0.0 or found.high < 0.0:
        smaller, larger = sorted((abs(found.low), abs(found.high)))
        inside = f"{fixed(smaller, metric.decimals)}–{fixed(larger, metric.decimals)}"
        verb = "gains" if found.mid > 0 else "loses"
        return f"{verb} {fixed(abs(found.mid), metric.decimals)} {metric.points} ({inside})"
    inside = f"{signed(found.low, metric.decimals)} to {signed(found.high, metric.decimals)}"
    return f"shows no sure change of {metric.name} ({inside})"


def _scratch(document: Document, comparison: Document) -> str:
    """The one of the two models that starts from scratch; empty if none or both do."""
    from_scratch = {arm["id"]: arm["model"] for arm in document["arms"] if arm["from_scratch"]}
    found = [from_scratch[comparison[side]] for side in ("arm", "baseline") if comparison[side] in from_scratch]
    return str(found[0]) if len(found) == 1 else ""


def measured_words(share: float | None) -> str:
    """How much of the energy was read off a counter, in words."""
    if share is None:
        return "nothing was metered yet"
    if share <= 0.0:
        return "0 % measured, 100 % modelled: no energy counter was read"
    if share >= 1.0:
        return "100 % measured: every joule was read off a counter"
    return f"{percent(share)} measured off energy counters, {percent(1.0 - share)} modelled"


def total_carbon(document: Document) -> Figure | None:
    """Carbon of the whole study [g]: of the electricity, and of making the machine where that is known."""
    totals = document["totals"]
    return added(figure(totals.get("operational_g")), figure(totals.get("embodied_g")))


class Exchange(NamedTuple):
    """What another device gives and asks for one arm's training."""

    arm: str
    gives: tuple[str, ...]
    asks: tuple[str, ...]


def exchange(document: Document, comparison: Document) -> Exchange | None:
    """What the device of a comparison gives and asks, for the baseline arm or the first that was projected."""
    names = device_names(document)
    device, base = str(comparison["arm"]), str(comparison["baseline"])
    if device not in names or base not in names:
        return None
    arm = contrast_arm(document)
    if arm is None:
        return None
    gives: list[str] = []
    asks: list[str] = []
    for what, unit, new, old in (
        ("time", "s", arm.projected(device, "duration_s"), arm.projected(base, "duration_s")),
        ("energy", "J", arm.projected(device, "energy_j"), arm.projected(base, "energy_j")),
        ("carbon", "g", device_carbon(arm, device), device_carbon(arm, base)),
        ("money", "USD", arm.projected(device, "cost"), arm.projected(base, "cost")),
    ):
        if new is None or old is None:
            continue
        shown = unit_for([new.high, old.high], unit)
        words = f"{what}: {quantity(new, unit, shown=shown)} instead of {quantity(old, unit, shown=shown)}"
        (gives if new.mid < old.mid else asks).append(words)
    return Exchange(arm.id, tuple(gives), tuple(asks))


def device_carbon(arm: ArmView, device: str) -> Figure | None:
    """Operational and embodied carbon [g] of an arm's training on a device."""
    return added(arm.projected(device, "operational_g"), arm.projected(device, "embodied_g"))


def contrast_arm(document: Document) -> ArmView | None:
    """The arm that devices are contrasted by: the baseline, or else the first with projections."""
    with_projections = [arm for arm in arms_of(document) if any(trial["projections"] for trial in arm.trials)]
    return next((arm for arm in with_projections if arm.is_baseline), next(iter(with_projections), None))


def points_words(metric: Metric, margin: float) -> str:
    """The margin in words: `1 point of F1`."""
    unit = metric.points.replace("points", "point", 1) if margin == 1 else metric.points
    return f"{margin:g} {unit}"
