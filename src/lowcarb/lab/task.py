"""What is searched for, and what a search has come to."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from statistics import fmean

from lowcarb.core.compare import Effect, Pair
from lowcarb.core.estimate import Estimate
from lowcarb.core.levers import Able, Lever, Pulled
from lowcarb.core.search import Stack
from lowcarb.core.standing import Standing
from lowcarb.core.trial import Arm, Scores, Trial
from lowcarb.errors import BudgetExceeded
from lowcarb.lab.holdout import Holdout, Part, together
from lowcarb.lab.trying import Try

CONFIRMED_FROM = 1000
"""The first seed of the confirmation: none that the search has used."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is searched for."""

    baseline: Arm
    holdout: Holdout
    margin: float
    """Loss of F1 that is allowed [points]."""
    able: Able
    levers: tuple[Lever, ...]
    machine: str
    threads: int | None = None
    pinned: Stack = ()
    """Part of every stack that is tried."""
    without: frozenset[str] = frozenset()
    floor: float | None = None
    """F1 [points] that the baseline must reach for the search to make sense."""
    reference_seeds: int = 2
    confirm_seeds: int = 5
    trainings: float = 2.6
    """What the search may cost, in trainings of the baseline: three less what the probes of the end take. The
    confirmation comes on top."""
    candidates: int = 24
    whole_baseline: bool = False
    """Judge the baseline by whole trainings of itself, not of a cheaper twin."""

    @property
    def id(self) -> str:
        """The study under which its trials are in the ledger: the same for the same baseline and questions."""
        content = json.dumps([asdict(self.baseline), self.holdout.digest, self.threads], sort_keys=True)
        return f"reduce-{hashlib.sha256(content.encode()).hexdigest()[:12]}"

    def trial(self, part: Part, seed: int) -> Trial:
        """The baseline on a part of the questions."""
        return Trial(self.id, self.baseline, part.data, part.digest, seed, self.machine, self.threads)


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A finalist held against the baseline."""

    standing: Standing
    effect: Effect
    energy_j: Estimate
    """Of a training."""
    f1: float

    @property
    def holds(self) -> bool:
        """Whether less energy at quality that is not inferior may be claimed."""
        return self.effect.verdict in ("better", "not inferior")


@dataclass(slots=True)
class Found:
    """What a search has come to."""

    baseline_j: Estimate
    """Energy of a training of the baseline."""
    baseline_f1: float | None
    """On the judged questions; on the search's where nothing was confirmed."""
    reason: str
    standings: list[Standing] = field(default_factory=list)
    confirmed: list[Confirmed] = field(default_factory=list)
    best: int | None = None
    """Number of the finalist that may be claimed."""
    contributions: dict[Pulled, Estimate] = field(default_factory=dict)
    """Energy without the lever over energy with it."""
    ended: BudgetExceeded | None = None
    """The limit that ended it early."""
    seeds: int = 0
    """Of the confirmation."""
    twin: Stack = ()
    """Trained in the baseline's place for its quality; empty where it was trained itself."""


def halves(one: Try) -> tuple[Scores, Scores]:
    """The scores on the two halves of the questions."""
    return one.result.scores["validation"], one.result.scores["adversarial"]


def f1_of(one: Try) -> float:
    """Mean F1 over all questions [points]."""
    return fmean(together(*halves(one))[0])


def mean_f1(tries: dict[int, Try]) -> float:
    """Mean F1 over the seeds [points]."""
    return fmean(f1_of(one) for one in tries.values() if one.done)


def pairs_of(arm: dict[int, Try], baseline: dict[int, Try]) -> list[Pair]:
    """The pairs of two stacks, by seed: both complete."""
    pairs = []
    for seed in sorted(arm.keys() & baseline.keys()):
        a, b = arm[seed], baseline[seed]
        if not (a.done and b.done):
            continue
        mine, groups = together(*halves(a))
        theirs, _ = together(*halves(b))
        changes = tuple(x - y for x, y in zip(mine, theirs, strict=True))
        ratio = math.log((a.result.energy_j or math.nan) / (b.result.energy_j or math.nan))
        pairs.append(Pair(seed, ratio, fmean(changes), changes, groups, a.result.basis))
    return pairs
