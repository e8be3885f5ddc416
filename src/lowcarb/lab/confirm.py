"""The confirmation: finalists against the baseline, with seeds and on questions that the search has not seen.

A baseline is dear, and much of what it costs buys no quality: padding. So its quality is that of its *twin*, which
takes the same batches through the same steps and computes the same gradients, up to rounding, for less. Its energy is
still its own: of some steps of it, with each seed, in turn with the others.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from lowcarb.core.compare import Spread, effect_of
from lowcarb.core.estimate import Estimate
from lowcarb.core.levers import Pulled, pull
from lowcarb.core.search import Stack, repaired
from lowcarb.core.standing import Standing, last_passed
from lowcarb.errors import BudgetExceeded
from lowcarb.lab.probe import Prober
from lowcarb.lab.task import CONFIRMED_FROM, Confirmed, Found, mean_f1, pairs_of
from lowcarb.lab.trying import Try

PROBE_SPREAD = 1.2
"""Factor within which probes of two stacks tell the ratio of their energies. `assumed`."""

Tries = dict[int, Try]
"""By seed."""


@dataclass(frozen=True, slots=True)
class Judging:
    """How finalists are judged."""

    prober: Prober
    twin: Stack
    """Trained in the baseline's place; empty for the baseline itself."""
    seeds: int
    say: Callable[[Stack, int, Try], None]


def confirm(judging: Judging, chosen: Sequence[Standing], known: Sequence[Standing]) -> Found:
    """What holds of the finalists. Without a verdict (`confirmed` is empty) where two seeds were not reached."""
    tries: dict[Stack, Tries] = {(): {}, **{one.stack: {} for one in chosen}}
    ended: BudgetExceeded | None = None
    try:
        for seed in range(CONFIRMED_FROM, CONFIRMED_FROM + judging.seeds):
            order = list(tries)
            random.Random(seed).shuffle(order)  # noqa: S311  # an order, not a secret
            for stack in order:
                tries[stack][seed] = _trained(judging, stack, seed)
                judging.say(stack, seed, tries[stack][seed])
    except BudgetExceeded as error:
        ended = error
    groups = [pairs_of(tries[one.stack], tries[()]) for one in chosen]
    if any(len(pairs) < 2 for pairs in groups):
        reason = "the finalists were not confirmed with two seeds or more"
        return Found(Estimate.exact(0.0), None, reason, list(known), ended=ended)
    saving = Spread.pooled([[pair.log_carbon_ratio for pair in pairs] for pairs in groups])
    quality = Spread.pooled([[pair.quality_change for pair in pairs] for pairs in groups])
    task = judging.prober.task
    confirmed = []
    for one, pairs in zip(chosen, groups, strict=True):
        arm = pull(task.trial(task.holdout.judge, 0), one.stack, task.able).arm
        effect = effect_of(pairs, "recipe", arm, task.baseline, margin=task.margin, carbon=saving, quality=quality)
        confirmed.append(Confirmed(one, effect, _energy(judging, tries[one.stack]), mean_f1(tries[one.stack])))
    best = last_passed([one.holds for one in confirmed])
    found = Found(
        _energy(judging, tries[()]), mean_f1(tries[()]), confirmed[best or 0].effect.reason, list(known), confirmed,
        best, ended=ended, seeds=min(map(len, groups)), twin=judging.twin,
    )  # fmt: skip
    if best is not None:
        try:
            found.contributions = _contributions(judging.prober, confirmed[best].standing.stack)
        except BudgetExceeded as error:
            found.ended = error
    return found


def _trained(judging: Judging, stack: Stack, seed: int) -> Try:
    """A training of a stack on the judged questions; of the baseline's twin, at the baseline's own energy."""
    prober = judging.prober
    part = prober.task.holdout.judge
    wanted = stack or judging.twin
    trial = pull(prober.task.trial(part, seed), wanted, prober.task.able)
    if stack or not judging.twin:
        return prober.workshop.run(trial, stack, "confirmation")
    own = prober.projected(prober.probe((), "confirmation", part, seed))
    one = prober.workshop.run(trial, wanted, "confirmation")
    return replace(one, result=replace(one.result, energy_j=own))


def _energy(judging: Judging, tries: Tries) -> Estimate:
    """Of a training [J], over the seeds."""
    joules = judging.prober.workshop.joules
    done = [one.result for one in tries.values() if one.done]
    values = [(one.energy_j or 0.0) * joules for one in done]
    mid = fmean(values)
    return Estimate(min(*values, mid), mid, max(*values, mid), done[0].basis)


def _contributions(prober: Prober, stack: Stack) -> dict[Pulled, Estimate]:
    """Energy of the stack without each of its levers over its own, from probes of both."""
    part = prober.task.holdout.search
    trial = prober.task.trial(part, 0)
    whole = prober.projected(prober.probe(stack, "contribution", part))
    found = {}
    for one in stack:
        rest = repaired(trial, (other for other in stack if other != one), prober.task.able)
        probe = prober.probe(rest, "contribution", part)
        if len(rest) == len(stack) - 1 and probe.step is not None and whole > 0.0:
            found[one] = Estimate.around(prober.projected(probe) / whole, PROBE_SPREAD, "modelled")
    return found
