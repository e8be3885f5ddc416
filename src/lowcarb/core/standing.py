"""What a search knows of the stacks that it has tried, which it keeps, and what may be claimed in the end. Pure.

A search looks at stacks with few seeds and few questions, so four things keep it honest:

- *halving*: all stacks get one seed, the more promising half a second one, half of those a third. A stack that was
  lucky once is found out before it costs more.
- *two outcomes*: a short training begins to read or it does not, and one that does not is worth some 20 to 30 points
  less. No bell curve holds both, so a stack that has failed on no seed yet is still given a chance to.
- *promise*: what is expected of a stack is its saving times the chance that it will pass the confirmation, with the
  noise of both the search and the confirmation in that chance. A large saving that will not pass is worth nothing.
- *fixed sequence*: the finalists are confirmed from the safest to the boldest, in an order that is set before, and the
  first that fails ends it. So the chance of any false claim stays that of a single test (Maurer, Hothorn & Lehmacher
  1995; Wiens 2003, Pharm. Stat. 2, 211-215), however many finalists there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist, fmean, stdev

from lowcarb.core.search import Stack

ONE_SIDED = NormalDist().inv_cdf(0.95)
"""Standard errors between a mean and its one-sided bound at 95 %."""
SEED_DEVIATION = 2.0
"""F1 points from seed to seed among trainings that begin to read, before anything is known of it. `assumed`."""
PRIOR_FREEDOM = 4
"""How many degrees of freedom that assumption is worth. `assumed`."""
UNREAD_F1 = 18.0
"""F1 [points] below which a training has not begun to read: those that had not reached 6 to 16 (studies/LOG.md)."""
GUESSED_F1 = 12.0
"""F1 [points] of such a training. `assumed`, from the same."""
FAILING = 0.1
"""How many trainings of a stack fail to begin, before anything is known of it. `assumed`: 3 of 9 did without a warmup,
none of 3 with one (studies/LOG.md)."""
FAILING_SEEDS = 2
"""How many seeds that assumption is worth. `assumed`."""
FINALISTS = 3
LEAST_CHANCE = 0.3
"""A stack that is less likely to pass than this is not confirmed: it would cost more than it is expected to bring."""


@dataclass(frozen=True, slots=True)
class Look:
    """One training of a stack, seen on the search's questions."""

    stack: Stack
    seed: int
    log_saving: float
    """ln of the baseline's energy over this training's."""
    changes: tuple[float, ...]
    """F1 points of each question against the reference's mean."""
    groups: tuple[int, ...]
    """Paragraph of each question."""
    f1: float = math.inf
    """Mean over the questions [points]."""

    @property
    def begun(self) -> bool:
        """Whether the training began to read."""
        return self.f1 >= UNREAD_F1


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a stack from all looks at it."""

    stack: Stack
    log_saving: float
    change: float
    """Mean change of F1 [points], of the trainings that began to read where some did."""
    question_error: float
    """Standard error of it from the draw of questions [points]."""
    error: float
    """Standard error of it, seeds included [points]."""
    seeds: int
    deviation: float = SEED_DEVIATION
    """Of its F1 from seed to seed, among those [points]."""
    failing: float = 0.0
    """How likely another training of it is not to begin to read."""
    drop: float = 0.0
    """What such a training loses [points]."""

    @property
    def expected(self) -> float:
        """Change of F1 to expect of another training [points]."""
        return self.change - self.failing * self.drop


def standings(looks: Iterable[Look], *, reference_seeds: int) -> list[Standing]:
    """What is known of each stack, in the order of the first looks.

    The spread over seeds is each stack's own, drawn towards what is pooled over all of them.
    """
    by_stack: dict[Stack, list[Look]] = {}
    for look in looks:
        by_stack.setdefault(look.stack, []).append(look)
    begun = {stack: [look for look in held if look.begun] or held for stack, held in by_stack.items()}
    means = {stack: [fmean(look.changes) for look in held] for stack, held in begun.items()}
    pooled = seed_deviation(means.values())
    found = []
    for stack, held in begun.items():
        by_question = [fmean(values) for values in zip(*(look.changes for look in held), strict=True)]
        question_error = clustered_error(by_question, held[0].groups)
        deviation = seed_deviation([means[stack]], pooled)
        seed_error = deviation * math.sqrt(1.0 / len(held) + 1.0 / max(1, reference_seeds))
        looked = by_stack[stack]
        found.append(
            Standing(
                stack, fmean(look.log_saving for look in looked), fmean(by_question), question_error,
                math.hypot(question_error, seed_error), len(looked), deviation, failing(looked), _drop(held),
            )
        )  # fmt: skip
    return found


def failing(looks: Sequence[Look]) -> float:
    """How likely another training of a stack is not to begin to read: a beta prior, and what was seen."""
    failed = sum(not look.begun for look in looks)
    return (FAILING * FAILING_SEEDS + failed) / (FAILING_SEEDS + len(looks))


def _drop(begun: Sequence[Look]) -> float:
    f1 = fmean(look.f1 for look in begun)
    return max(0.0, f1 - GUESSED_F1) if f1 < math.inf else 0.0


def seed_deviation(samples: Iterable[Sequence[float]], before: float = SEED_DEVIATION) -> float:
    """Pooled standard deviation from seed to seed [points], with what is known of it before."""
    spread = [sample for sample in samples if len(sample) > 1]
    freedom = sum(len(sample) - 1 for sample in spread)
    squares = sum(stdev(sample) ** 2 * (len(sample) - 1) for sample in spread)
    return math.sqrt((before**2 * PRIOR_FREEDOM + squares) / (PRIOR_FREEDOM + freedom))


def clustered_error(values: Sequence[float], groups: Sequence[int]) -> float:
    """Standard error of a mean whose values go together by group (Liang & Zeger 1986, without small-sample factor)."""
    mid = fmean(values)
    sums: dict[int, float] = {}
    for value, group in zip(values, groups, strict=True):
        sums[group] = sums.get(group, 0.0) + value - mid
    return math.sqrt(sum(one * one for one in sums.values())) / len(values)


def one_sided(freedom: int) -> float:
    """Standard errors between a mean and its one-sided bound at 95 %, by Student's t.

    Source: the expansion 26.7.5 of Abramowitz & Stegun, Handbook of Mathematical Functions (1964); within 1 % from
    four degrees of freedom up.
    """
    z = ONE_SIDED
    first, second = (z**3 + z) / 4.0, (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / 96.0
    return z + first / freedom + second / freedom**2


@dataclass(frozen=True, slots=True)
class Confirmation:
    """How sharp the confirmation will be."""

    margin: float
    """Loss of F1 that is allowed [points]."""
    seeds: int
    question_ratio: float
    """Questions of the search over questions of the confirmation."""

    def error(self, standing: Standing, failed: int = 0) -> float:
        """Standard error of a stack's change in the confirmation [points]: questions and seeds.

        Args:
            standing: what is known of it.
            failed: how many of its trainings do not begin to read there.
        """
        share = failed / self.seeds
        apart = standing.drop**2 * share * (1.0 - share) * self.seeds / max(1, self.seeds - 1)
        between = 2.0 * standing.deviation**2 + apart
        return math.hypot(standing.question_error * math.sqrt(self.question_ratio), math.sqrt(between / self.seeds))

    def noise(self, standing: Standing, failed: int = 0) -> float:
        """What a stack must be better than the margin by, to pass half of the time [points]."""
        return one_sided(max(1, self.seeds - 1)) * self.error(standing, failed)

    def chance(self, standing: Standing) -> float:
        """How likely a stack is to pass, over how many of its trainings may fail to begin.

        Its change, less the margin, is held against the noise of the search and that of the confirmation.
        """
        risk = standing.failing if standing.drop > 0.0 else 0.0
        return sum(
            math.comb(self.seeds, failed) * risk**failed * (1.0 - risk) ** (self.seeds - failed)
            * self._chance(standing, failed)
            for failed in range(self.seeds + 1)
        )  # fmt: skip

    def _chance(self, standing: Standing, failed: int) -> float:
        change = standing.change - standing.drop * failed / self.seeds
        spare = change + self.margin - self.noise(standing, failed)
        return NormalDist().cdf(spare / math.hypot(standing.error, self.error(standing, failed)))

    def promise(self, standing: Standing) -> float:
        """Saving to expect of a stack: ln of its energy ratio times its chance to pass."""
        return max(0.0, standing.log_saving) * self.chance(standing)


def promoted(known: Sequence[Standing], confirmation: Confirmation, *, seeds: int, keep: int) -> list[Stack]:
    """The most promising stacks among those with so many seeds: who gets one more."""
    waiting = [one for one in known if one.seeds == seeds and confirmation.promise(one) > 0.0]
    ordered = sorted(waiting, key=confirmation.promise, reverse=True)
    return [one.stack for one in ordered[:keep]]


def safe_saving(known: Sequence[Standing], margin: float) -> float | None:
    """The largest ln saving of a stack whose quality is already surely within the margin; None where there is none."""
    safe = [one.log_saving for one in known if one.seeds > 1 and one.expected - ONE_SIDED * one.error > -margin]
    return max(safe, default=None)


def finalists(known: Sequence[Standing], confirmation: Confirmation, *, count: int = FINALISTS) -> list[Standing]:
    """The sequence to confirm, safest and least saving first: the one with the largest expected saving.

    Each step is reached only if those before it passed, so a sequence is worth Σ (chance of all until here) × (what
    this one saves more than the one before).
    """
    able = [one for one in known if one.log_saving > 0.0 and confirmation.chance(one) >= LEAST_CHANCE]
    twice = [one for one in able if one.seeds > 1]
    ordered = sorted(twice or able, key=lambda one: one.log_saving)
    decisive = [
        one
        for number, one in enumerate(ordered)
        if all(confirmation.chance(one) > confirmation.chance(bolder) for bolder in ordered[number + 1 :])
    ]
    sequences = [list(chosen) for size in range(1, count + 1) for chosen in combinations(decisive, size)]
    return max(sequences, key=lambda chosen: _expected(chosen, confirmation), default=[])


def _expected(sequence: Sequence[Standing], confirmation: Confirmation) -> float:
    chance, before, worth = 1.0, 0.0, 0.0
    for one in sequence:
        chance *= confirmation.chance(one)
        worth += chance * (one.log_saving - before)
        before = one.log_saving
    return worth


def last_passed(passed: Sequence[bool]) -> int | None:
    """Number of the boldest finalist that may be claimed: the last before the first that fails; None where none may."""
    until_first = next((number for number, one in enumerate(passed) if not one), len(passed))
    return until_first - 1 if until_first else None


def front(known: Iterable[Standing]) -> list[Standing]:
    """The stacks that no other beats in both saving and quality, the least saving first."""
    kept: list[Standing] = []
    best = -math.inf
    for one in sorted(known, key=lambda one: (one.log_saving, one.expected), reverse=True):
        if one.expected > best:
            kept.append(one)
            best = one.expected
    return kept[::-1]
