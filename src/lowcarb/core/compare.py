"""Results → `Effect`s with intervals, and the Pareto front. Law 4: differences are taken on pairs.

A pair is two trials of one seed that differ in one factor. Two things make its difference uncertain:

- *other seeds* would have given other numbers. With the two to five seeds that a study affords, resampling them gives
  intervals that are far too narrow (of two pairs, a percentile bootstrap covers half of the cases at most), so their
  spread enters through Student's t. The spread is pooled over all comparisons of the study, which buys degrees of
  freedom at the price of taking it as alike for all arms (`docs/decisions/0004-intervals.md`).
- *other questions* would have been answered otherwise. Questions on one paragraph go together, so paragraphs are drawn
  with replacement (a cluster bootstrap; Field & Welsh 2007, J. R. Stat. Soc. B 69, 369-390).

Both enter each replicate of one bootstrap; the interval runs from its 5th to its 95th percentile, so that each bound
is a one-sided statement at 95 %, as a test of non-inferiority wants.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Literal

from lowcarb.core.design import lever_pairs
from lowcarb.core.estimate import Basis, Estimate, weakest
from lowcarb.core.levers import LEVERS, parse_pulled
from lowcarb.core.trial import Arm, Metric, Result, Split, Study
from lowcarb.core.units import PERCENT

Factor = Literal["model", "tokenizer", "recipe", "lever", "device"]
Verdict = Literal["better", "worse", "not inferior", "undecided"]

REPLICATES = 4000
LOW, HIGH = 0.05, 0.95


@dataclass(frozen=True, slots=True)
class Pair:
    """Two trials of one seed: the arm's over, or minus, the baseline's."""

    seed: int
    log_carbon_ratio: float
    quality_change: float
    question_changes: tuple[float, ...]
    """Change of each question's score; empty for a metric that is not kept by question."""
    groups: tuple[int, ...]
    basis: Basis
    """The weaker of the two energies'."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What changing one factor does."""

    factor: Factor
    baseline: str
    arm: str
    carbon_ratio: Estimate
    """The arm's carbon over the baseline's, at one site and for the training phase."""
    quality_change: Estimate
    """The arm's quality minus the baseline's, in the metric's unit."""
    pairs: int
    verdict: Verdict
    reason: str
    """Why this verdict, in a sentence."""
    benefits: tuple[str, ...] = ()
    drawbacks: tuple[str, ...] = ()


def factor_between(arm: Arm, baseline: Arm) -> Factor | None:
    """The one factor in which two arms differ; None where it is none or more than one.

    A learning rate that suits the model is part of choosing the model.
    """
    differing: list[Factor] = []
    recipe = arm.recipe
    if arm.model != baseline.model:
        differing.append("model")
        recipe = replace(recipe, learning_rate=baseline.recipe.learning_rate)
    if arm.tokenizer != baseline.tokenizer:
        differing.append("tokenizer")
    if recipe != baseline.recipe or arm.inference != baseline.inference:
        differing.append("recipe")
    return differing[0] if len(differing) == 1 else None


def contrasts(study: Study) -> tuple[tuple[Arm, Arm, Factor], ...]:
    """The (arm, baseline, factor) that a study can tell apart, each arm without levers once.

    An arm is held against the study's baseline where one factor separates them, else against the native-tokenizer arm
    of its own model. An arm of levers is held against what it was made from.
    """
    found: list[tuple[Arm, Arm, Factor]] = []
    baseline = study.arm(study.baseline)
    plain = [arm for arm in study.arms if not arm.levers]
    for arm in plain:
        natives = [other for other in plain if other.model == arm.model and other.tokenizer.kind == "native"]
        for reference in (baseline, *natives):
            factor = factor_between(arm, reference)
            if factor is not None:
                found.append((arm, reference, factor))
                break
    return (*found, *((arm, reference, "lever") for arm, reference in lever_pairs(study)))


def pairs_between(
    results: Iterable[Result], arm_id: str, baseline_id: str, *, split: Split, metric: Metric
) -> tuple[Pair, ...]:
    """The pairs of two arms: complete results of the same seed on the same machine, in the order of seeds."""
    by_arm: dict[str, dict[tuple[int, str], Result]] = {arm_id: {}, baseline_id: {}}
    for result in results:
        if result.complete and result.trial.arm.id in by_arm:
            by_arm[result.trial.arm.id][result.trial.seed, result.trial.machine] = result
    shared = sorted(by_arm[arm_id].keys() & by_arm[baseline_id].keys())
    return tuple(_pair(by_arm[arm_id][key], by_arm[baseline_id][key], split, metric) for key in shared)


def _pair(arm: Result, baseline: Result, split: Split, metric: Metric) -> Pair:
    a, b = arm.scores[split], baseline.scores[split]
    if arm.energy_j is None or baseline.energy_j is None:
        raise ValueError("only complete results are paired")
    by_question: tuple[float, ...] = ()
    if metric == "f1" and len(a.per_question_f1) == len(b.per_question_f1):
        by_question = tuple(x - y for x, y in zip(a.per_question_f1, b.per_question_f1, strict=True))
    return Pair(
        seed=arm.trial.seed,
        log_carbon_ratio=math.log(arm.energy_j / baseline.energy_j),
        quality_change=getattr(a, metric) - getattr(b, metric),
        question_changes=by_question,
        groups=a.groups,
        basis=weakest((arm.basis, baseline.basis)),
    )


def effects(study: Study, results: Sequence[Result], *, seed: int = 0) -> tuple[Effect, ...]:
    """The effect of every contrast of a study that has at least one pair, with pooled spreads."""
    found = [
        (arm, baseline, factor, pairs)
        for arm, baseline, factor in contrasts(study)
        if (pairs := pairs_between(results, arm.id, baseline.id, split=study.split, metric=study.metric))
    ]
    groups = [pairs for *_, pairs in found]
    carbon_spread = Spread.pooled([[pair.log_carbon_ratio for pair in pairs] for pairs in groups])
    quality_spread = Spread.pooled([[pair.quality_change for pair in pairs] for pairs in groups])
    return tuple(
        effect_of(
            pairs, factor, arm, baseline, margin=study.margin, carbon=carbon_spread, quality=quality_spread, seed=seed
        )
        for arm, baseline, factor, pairs in found
    )


@dataclass(frozen=True, slots=True)
class Spread:
    """Standard deviation of a paired difference from seed to seed, with its degrees of freedom."""

    deviation: float
    freedom: int

    @classmethod
    def pooled(cls, samples: Sequence[Sequence[float]]) -> Spread | None:
        """Over several samples, each about its own mean; None where no sample has two values."""
        spread = [sample for sample in samples if len(sample) > 1]
        freedom = sum(len(sample) - 1 for sample in spread)
        if freedom == 0:
            return None
        squares = sum(stdev(sample) ** 2 * (len(sample) - 1) for sample in spread)
        return cls(math.sqrt(squares / freedom), freedom)


def effect_of(
    pairs: Sequence[Pair], factor: Factor, arm: Arm, baseline: Arm, *, margin: float,
    carbon: Spread | None, quality: Spread | None, seed: int = 0,
) -> Effect:  # fmt: skip
    """One comparison, from its pairs and the seed-to-seed spreads of its study."""
    rng = random.Random(seed)  # noqa: S311  # reproducible on purpose
    logs = interval([p.log_carbon_ratio for p in pairs], carbon, rng)
    ratio = Estimate(math.exp(logs[0]), math.exp(logs[1]), math.exp(logs[2]), _basis(carbon, *(p.basis for p in pairs)))
    low, mid, high = interval([p.quality_change for p in pairs], quality, rng, question_means=_question_draw(pairs))
    change = Estimate(low, mid, high, _basis(quality))
    scratch = [a.model.id for a in (arm, baseline) if a.model.from_scratch]
    verdict, reason = judge(ratio, change, margin, len(pairs))
    if len(scratch) == 1:
        verdict, reason = (
            "undecided",
            (
                f"{scratch[0]} starts from scratch and the other from pretrained weights: its quality is not the "
                "architecture's, so only the carbon is compared"
            ),
        )
    levers = [text for text in arm.levers if text not in baseline.levers]
    benefits, drawbacks = for_and_against(factor, arm, ratio, change, scratch=len(scratch) == 1, levers=levers)
    return Effect(factor, baseline.id, arm.id, ratio, change, len(pairs), verdict, reason, benefits, drawbacks)


def _basis(spread: Spread | None, *bases: Basis) -> Basis:
    """Basis of a comparison: that of its figures, and `assumed` where nothing told the spread from seed to seed."""
    return weakest(bases) if spread is not None else "assumed"


def interval(
    values: Sequence[float],
    spread: Spread | None,
    rng: random.Random,
    question_means: Callable[[random.Random], float] | None = None,
) -> tuple[float, float, float]:
    """Low, mid and high of the mean of paired differences: 5th percentile, mean, 95th percentile.

    Without any spread (one pair in the whole study) the interval is as wide as nothing known: 10 standard units of the
    value itself, so that no verdict can rest on it.
    """
    mid = fmean(values)
    if spread is None:
        wide = 10.0 * max(1.0, abs(mid))
        return mid - wide, mid, mid + wide
    scale = spread.deviation / math.sqrt(len(values))
    draws = sorted(
        (question_means(rng) if question_means else mid) + scale * _student(rng, spread.freedom)
        for _ in range(REPLICATES)
    )
    low, high = draws[int(LOW * REPLICATES)], draws[int(HIGH * REPLICATES) - 1]
    return min(low, mid), mid, max(high, mid)


def _student(rng: random.Random, freedom: int) -> float:
    """A draw from Student's t: a normal over the root of a mean square of `freedom` normals."""
    chi_square = rng.gammavariate(freedom / 2.0, 2.0)
    return rng.gauss(0.0, 1.0) / math.sqrt(chi_square / freedom)


def _question_draw(pairs: Sequence[Pair]) -> Callable[[random.Random], float] | None:
    """A function that draws the mean change over a resample of paragraphs, all seeds together."""
    if not pairs or not all(pair.question_changes for pair in pairs):
        return None
    sums: dict[int, float] = {}
    counts: dict[int, int] = {}
    for pair in pairs:
        for change, group in zip(pair.question_changes, pair.groups, strict=True):
            sums[group] = sums.get(group, 0.0) + change
            counts[group] = counts.get(group, 0) + 1
    clusters = [(sums[group], counts[group]) for group in sums]

    def draw(rng: random.Random) -> float:
        chosen = rng.choices(clusters, k=len(clusters))
        return sum(s for s, _ in chosen) / sum(n for _, n in chosen)

    return draw


def judge(ratio: Estimate, change: Estimate, margin: float, pairs: int) -> tuple[Verdict, str]:
    """The verdict on an arm, and why.

    - *better*: surely less carbon, and surely more quality;
    - *not inferior*: surely less carbon, and surely not more than the margin of quality lost;
    - *worse*: surely loses more quality than the margin, or surely costs more carbon and surely does not gain quality
      beyond the margin;
    - *undecided*: all else, and always with fewer than two pairs.
    """
    if pairs < 2:
        return "undecided", "one seed cannot tell a difference from noise"
    saves, costs = ratio.high < 1.0, ratio.low > 1.0
    if change.high < -margin:
        return "worse", f"loses more than the margin of {margin:g} (at least {-change.high:.1f} points)"
    if saves and change.low > 0.0:
        return "better", "less carbon and more quality, both beyond their intervals"
    if saves and change.low > -margin:
        return "not inferior", f"less carbon, and loses less than the margin of {margin:g} (at least {change.low:+.1f})"
    if costs and change.high < margin:
        return "worse", "more carbon, and no gain of quality beyond the margin"
    if costs and change.low > 0.0:
        return "undecided", "more carbon buys more quality: a matter of what the quality is worth"
    what = "quality" if saves or costs else "carbon and quality" if change.low < 0 < change.high else "carbon"
    return "undecided", f"the interval of {what} is too wide: more seeds or more questions would tell"


def for_and_against(
    factor: Factor, arm: Arm, ratio: Estimate, change: Estimate, *, scratch: bool, levers: Sequence[str] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Benefits and drawbacks of a mitigation: first what the figures surely say, then what is known of its kind.

    Args:
        factor: what is changed.
        arm: to what.
        ratio: of carbon.
        change: of quality.
        scratch: one side starts from scratch, so that the change of quality says nothing.
        levers: what was pulled, as it is written; each brings its own benefits and drawbacks.
    """
    benefits, drawbacks = list(KNOWN_BENEFITS[factor]), list(KNOWN_DRAWBACKS[factor])
    for lever in (LEVERS[parse_pulled(text).lever] for text in levers):
        benefits += lever.benefits
        drawbacks += lever.drawbacks
    if not scratch and not change.low <= 0.0 <= change.high:
        (benefits if change.mid > 0 else drawbacks).insert(0, f"{abs(change.mid):.1f} of quality")
    _with_carbon(ratio, benefits, drawbacks)
    if arm.model.from_scratch:
        drawbacks.append("from scratch: without pretraining its quality says nothing of the architecture")
    return tuple(benefits), tuple(drawbacks)


def _with_carbon(ratio: Estimate, benefits: list[str], drawbacks: list[str]) -> None:
    """Put first what is surely saved or spent; nothing where the interval holds 1."""
    if ratio.high < 1.0:
        benefits.insert(0, f"{PERCENT * (1.0 - ratio.mid):.0f} % less carbon")
    elif ratio.low > 1.0:
        more = f"{PERCENT * (ratio.mid - 1.0):.0f} % more" if ratio.mid < 2.0 else f"{ratio.mid:.1f} times the"
        drawbacks.insert(0, f"{more} carbon")


KNOWN_BENEFITS: Mapping[Factor, tuple[str, ...]] = {
    "model": ("a lighter model also serves each request for less, for as long as it is used",),
    "tokenizer": ("a vocabulary fitted to the text can shorten sequences, in training and in use",),
    "recipe": ("no change of model or hardware",),
    "lever": (),
    "device": ("results come sooner",),
}
KNOWN_DRAWBACKS: Mapping[Factor, tuple[str, ...]] = {
    "model": ("its pretraining or distillation has a footprint of its own, which is not counted here",),
    "tokenizer": (
        "pretrained embeddings are remapped and must be relearnt",
        "checkpoints with the native vocabulary no longer fit",
    ),
    "recipe": ("found on this data: confirm on yours",),
    "lever": (),
    "device": (
        "rent by the hour is higher, and access is scarcer",
        "more carbon went into making it, and it pays only while it is kept busy",
        "what comes sooner is run more often: the saving can be spent on more runs",
    ),
}


def device_effects(projections: Mapping[str, Sequence[tuple[float, float]]], baseline: str) -> tuple[Effect, ...]:
    """The hardware contrast, from (carbon, ratio spread) of each trial's projection onto each device.

    Quality is taken as unchanged: the arithmetic is the same up to rounding.

    Args:
        projections: by device id, for each trial in one order: carbon [gCO2e] with embodied share, and the factor
            within which a ratio of it is known.
        baseline: the device that the others are held against.
    """
    found = []
    for device, figures in projections.items():
        if device == baseline or not figures:
            continue
        logs = [math.log(a[0] / b[0]) for a, b in zip(figures, projections[baseline], strict=True)]
        spread = max(math.log(figure[1]) for figure in figures)
        mid = fmean(logs)
        ratio = Estimate(math.exp(mid - spread), math.exp(mid), math.exp(mid + spread), "modelled")
        verdict: Verdict = "not inferior" if ratio.high < 1 else "worse" if ratio.low > 1 else "undecided"
        reason = {
            "not inferior": "less carbon for the same training; quality unchanged by construction",
            "worse": "more carbon for the same training: work this small does not keep the device busy",
            "undecided": "the projection's interval holds 1: only a measurement on the device would tell",
        }[verdict]
        benefits, drawbacks = list(KNOWN_BENEFITS["device"]), list(KNOWN_DRAWBACKS["device"])
        _with_carbon(ratio, benefits, drawbacks)
        found.append(
            Effect("device", baseline, device, ratio, Estimate.exact(0.0, "assumed"), len(figures), verdict, reason,
                   tuple(benefits), tuple(drawbacks))
        )  # fmt: skip
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Point:
    """An arm in the plane of quality against carbon."""

    arm: str
    carbon_g: float
    quality: float
    on_front: bool


def pareto(points: Mapping[str, tuple[float, float]]) -> tuple[Point, ...]:
    """The arms by carbon [gCO2e], and whether no other arm has less carbon and more quality.

    Args:
        points: by arm: carbon and quality.
    """

    def beaten(arm: str, carbon: float, quality: float) -> bool:
        return any(
            other != arm and c <= carbon and q >= quality and (c < carbon or q > quality)
            for other, (c, q) in points.items()
        )

    return tuple(
        Point(arm, carbon, quality, on_front=not beaten(arm, carbon, quality))
        for arm, (carbon, quality) in sorted(points.items(), key=lambda item: item[1])
    )
