"""Search for the recipe with the least energy at the quality of the baseline: levers, tried, halved, confirmed.

    probe        a few steps of the baseline: what a whole training of it takes
    exact        levers that leave the arithmetic alone are taken at once, if a probe says that they save
    reference    the baseline's quality on the search's questions, from its cheap equal: those levers and bf16
    explore      stacks of levers, one seed each: what is known to help first, then what a tree-structured Parzen
                 estimator proposes (Bergstra et al. 2011, NeurIPS 24), the most promising of several proposals
    promote      a second and a third seed for the better halves
    confirm      the finalists against the baseline, new seeds, questions that nothing has seen (`lowcarb.lab.confirm`)

A search that is broken off goes on where it was: what was trained is in the ledger, and the same questions are asked
of it in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from lowcarb.core.estimate import Estimate
from lowcarb.core.levers import pull
from lowcarb.core.search import Axis, Stack, axes_of, exact_stack, repaired, starts
from lowcarb.core.standing import Confirmation, Look, Standing, finalists, promoted, safe_saving, standings
from lowcarb.core.trial import Trial
from lowcarb.errors import BudgetExceeded, SettingError
from lowcarb.lab.base import Step
from lowcarb.lab.confirm import Judging, confirm
from lowcarb.lab.holdout import together
from lowcarb.lab.probe import PROBE_STEPS, Prober
from lowcarb.lab.proposals import Predictor, Proposals
from lowcarb.lab.task import Found, Task, f1_of, halves
from lowcarb.lab.trying import Cost, Try, Workshop

UNSEARCHED = frozenset({"keep-memory"})
"""Levers whose effect outlasts a training: the next one in this process would be cheaper too, and so no baseline."""
EXPLORE_SHARE, SECOND_SHARE, THIRD_SHARE = 0.6, 0.85, 0.95
"""Shares of what is left after the reference, until which stacks get their first, second and third seed."""
DEAR_REFERENCE = 0.4
"""Trainings of the baseline above which the reference gets one seed: stacks need the rest. `assumed`."""
DOMINATED = 0.1
"""A training whose saving (ln) will be so much below that of a stack that is safe already is stopped. `assumed`."""
EXTRA = 1.4
"""Time of a confirmation over that of its baselines: finalists and scoring. `assumed`."""
LEAST_SEARCH = 1.0
"""Trainings of the baseline that a search is left with before the confirmation gets all its seeds. `assumed`."""
WORTH_A_TWIN = 0.7
"""A twin is trained in the baseline's place if it, and the probe that then tells the energy, take less than this share
of a training. `assumed`."""
PROBE_SPREAD = 1.2
"""Factor within which a probe tells the energy of a whole training. `assumed`: few batches, of chance lengths."""


def reduce(task: Task, workshop: Workshop) -> Found:
    """Search, confirm, and say what may be claimed: the baseline where nothing holds.

    Raises:
        SettingError: the budget does not pay for one baseline and its comparison; the baseline does not train, or
            misses the floor; a pinned lever cannot be pulled.
        KeyboardInterrupt: from the user; what was trained is in the ledger.
    """
    pull(task.trial(task.holdout.search, 0), task.pinned, task.able)
    search = _Search(task, workshop)
    try:
        search.prepare()
        search.explore()
        search.promote()
    except BudgetExceeded as error:
        return search.nothing("the budget was used up before the search was done", error)
    return search.confirm()


class _Search:
    def __init__(self, task: Task, workshop: Workshop) -> None:
        self.task, self.workshop, self.prober = task, workshop, Prober(task, workshop)
        self.looks: list[Look] = []
        self.base: Stack = ()
        self.axes: list[Axis] = []
        self.unit = 0.0  # what a training of the baseline takes, in the currency
        self.baseline = Cost()
        self.overhead = 0.0  # what a try takes beside its training phase, in the currency
        self.reference: list[float] = []
        self.references = 0
        self.begun = 0.0  # what was spent when the exploring began, in the currency
        self.seeds = task.confirm_seeds
        self.twin: Stack = ()
        self.probed = 0.0  # what a probe of the baseline takes [trainings]
        self.allowance = 0.0
        ratio = task.holdout.search.questions / task.holdout.judge.questions
        self.confirmation = Confirmation(task.margin, task.confirm_seeds, ratio)

    # Before the search.

    def prepare(self) -> None:
        """Baseline's cost, levers, reference."""
        task, bench = self.task, self.workshop.bench
        money = self.workshop.limits.money
        if money is not None and bench.machine.price_per_hour is None and bench.site.price_per_kwh is None:
            raise SettingError("budget of money", money, "a site or devices whose price is known: see --site")
        self._probe_baseline()
        trial = task.trial(task.holdout.search, 0)
        self.axes = axes_of(task.levers, trial, task.able, without=task.without | UNSEARCHED)
        self._plan(self._find_twin(trial))
        equal = self._reference_stack(trial)
        exact = {axis.lever.id for axis in self.axes if axis.lever.exact}
        self.base = tuple(one for one in equal if one.lever in exact)
        self._refer(equal)

    def _probe_baseline(self) -> None:
        """What a training of the baseline takes, from a few steps."""
        task = self.task
        self.workshop.settle_currency()
        try:
            probe = self.prober.probe((), "search", task.holdout.search)
        except BudgetExceeded as error:
            needed = "more: the first steps of one baseline use it up"
            raise SettingError(f"budget of {error.what}", f"{error.limit:g} {error.unit}", needed) from error
        self.unit = self.prober.projected(probe)
        if probe.step is None or not 0.0 < self.unit < math.inf:
            raise SettingError("baseline", task.baseline.id, f"a recipe that trains: {probe.reason}")
        self.probed = self.workshop.value(probe.train) / self.unit
        self.baseline = probe.train.times(self.unit / self.workshop.value(probe.train))
        self.workshop.tell(f"a training of the baseline takes about {self.baseline.wall_s:.0f} s")
        limits = self.workshop.limits
        if limits.share(self.baseline) > 1.0 - limits.share(self.workshop.total):
            what, limit, used, unit = max(limits.each(self.baseline), key=lambda row: row[2] / row[1])
            raise SettingError(
                f"budget of {what}", f"{limit:g} {unit}",
                f"more: one training of the baseline takes about {used:.3g} {unit}",
            )  # fmt: skip

    def _find_twin(self, trial: Trial) -> float:
        """Look for a cheaper twin of the baseline; what one seed of it takes in the confirmation [trainings]."""
        if self.task.whole_baseline:
            return 1.0
        same = [axis for axis in self.axes if axis.lever.twin]
        twin = exact_stack(same, trial, self.task.able, self.prober.saves)
        each = self.prober.cost(twin) / self.unit + self.probed
        if each >= WORTH_A_TWIN:
            return 1.0
        self.twin = twin
        named = " + ".join(map(str, twin))
        self.workshop.tell(f"its quality is judged by a twin that computes the same for {each:.2f} of that: {named}")
        return each

    def _plan(self, trainings_each: float) -> None:
        """Share the budget out between search and confirmation."""
        limits = self.workshop.limits
        left = 1.0 - limits.share(self.workshop.total)
        one = limits.share(self.baseline)
        each = one * trainings_each
        self.allowance = self.task.trainings * self.unit
        if one == 0.0:
            return
        for seeds in range(self.task.confirm_seeds, 1, -1):
            self.seeds = seeds
            if left - each * EXTRA * seeds >= one * LEAST_SEARCH:
                break
        trainings = (left - EXTRA * self.seeds * each) / one
        if trainings <= 0.0:
            raise SettingError(
                "budget", f"{left / one:.1f} trainings of the baseline",
                f"at least {2 * EXTRA * trainings_each:.1f}: two seeds to confirm with, and the search on top",
            )  # fmt: skip
        self.allowance = min(self.task.trainings, trainings) * self.unit
        self.confirmation = replace(self.confirmation, seeds=self.seeds)

    def _reference_stack(self, trial: Trial) -> Stack:
        """The exact levers, and bf16 where it saves: the same steps at the same rate, other rounding."""
        able, saves = self.task.able, self.prober.saves
        base = exact_stack(self.axes, trial, able, saves)
        for option in (option for axis in self.axes for option in axis.options):
            stack = repaired(trial, (*base, option), able)
            plain, after = pull(trial, base, able).arm.recipe, pull(trial, stack, able).arm.recipe
            rounded = replace(plain, precision="bf16")
            if option in stack and plain != rounded and after == rounded and saves(stack, base):
                return exact_stack(self.axes, trial, able, saves, first=stack)
        return base

    def _refer(self, stack: Stack) -> None:
        """The baseline's quality on the search's questions."""
        held = []
        for seed in range(self.task.reference_seeds):
            trial = pull(self.task.trial(self.task.holdout.search, seed), stack, self.task.able)
            one = self.workshop.run(trial, stack, "search")
            if not one.done:
                raise SettingError("baseline", self.task.baseline.id, f"a recipe that trains: {one.reason}")
            held.append(one)
            self._say(stack, seed, one)
            if self.workshop.value(one.whole) > DEAR_REFERENCE * self.unit:
                break
        self.references = len(held)
        self.begun = self._spent()
        self.overhead = fmean(self.workshop.value(one.whole) - self.workshop.value(one.train) for one in held)
        f1s = [together(*halves(one))[0] for one in held]
        self.reference = [fmean(values) for values in zip(*f1s, strict=True)]
        reached = fmean(self.reference)
        if self.task.floor is not None and reached < self.task.floor:
            raise SettingError(
                "quality floor", self.task.floor,
                f"at most what the baseline reaches, F1 {reached:.1f} on the search's questions",
            )  # fmt: skip
        if stack:
            for seed, one in enumerate(held):
                self._look(stack, seed, one)

    # The search.

    def explore(self) -> None:
        """One seed of as many stacks as the allowance holds."""
        task = self.task
        trial = task.trial(task.holdout.search, 0)
        base = repaired(trial, (*task.pinned, *self.base), task.able)
        free = [axis for axis in self.axes if axis.lever.id not in {one.lever for one in base}]
        proposals = Proposals(free, trial, task.able, base, starts(free, trial, task.able, base))
        for _ in range(task.candidates):
            known = [one for one in self._standings() if set(base) <= set(one.stack)]
            leader = max(known, key=self.confirmation.promise, default=None)
            stack = proposals.ask(self._predicted(self.looks), leader.stack if leader else base)
            if stack is None or not self._affords(stack, EXPLORE_SHARE):
                break
            seen = self._try(stack, 0)
            proposals.tell(self.confirmation.promise(seen) if seen else 0.0)

    def promote(self) -> None:
        """More seeds for the better halves."""
        waiting = len(self._standings())
        for seed, share in ((1, SECOND_SHARE), (2, THIRD_SHARE)):
            waiting = math.ceil(waiting / 2)
            for stack in promoted(self._standings(), self.confirmation, seeds=seed, keep=waiting):
                if self._affords(stack, share):
                    self._try(stack, seed)

    def _try(self, stack: Stack, seed: int) -> Standing | None:
        trial = pull(self.task.trial(self.task.holdout.search, seed), stack, self.task.able)
        safe = safe_saving(self._standings(), self.task.margin)

        def dominated(step: Step, taken: float) -> str | None:
            if safe is None or step.step < max(PROBE_STEPS[1], step.steps // 4):
                return None
            projected = taken / step.step * step.steps
            if projected > 0.0 and math.log(self.unit / projected) < safe - DOMINATED:
                return f"dominated: energy / {self.unit / projected:.1f}, where / {math.exp(safe):.1f} is safe already"
            return None

        one = self.workshop.run(trial, stack, "search", stop=dominated)
        self._say(stack, seed, one)
        if not one.done:
            return None
        self._look(stack, seed, one)
        return next(known for known in self._standings() if known.stack == stack)

    def _look(self, stack: Stack, seed: int, one: Try) -> None:
        f1s, groups = together(*halves(one))
        changes = tuple(mine - reference for mine, reference in zip(f1s, self.reference, strict=True))
        saving = math.log(self.unit / self.workshop.value(one.train))
        self.looks.append(Look(stack, seed, saving, changes, groups, fmean(f1s)))

    def _standings(self) -> list[Standing]:
        return standings(self.looks, reference_seeds=self.references) if self.looks else []

    def _predicted(self, looks: Sequence[Look]) -> Predictor:
        return Predictor.of(looks, {axis.lever.id: axis.lever for axis in self.axes}, self.confirmation)

    def _affords(self, stack: Stack, share: float) -> bool:
        expected = self.unit * math.exp(-self._predicted(self.looks).saving(stack)) + self.overhead
        return self._spent() + expected <= self.begun + share * (self.allowance - self.begun)

    def _spent(self) -> float:
        return self.workshop.value(self.workshop.spent.get("search", Cost()))

    # After the search.

    def confirm(self) -> Found:
        """The finalists against the baseline, on what nothing has seen."""
        known = self._standings()
        chosen = finalists(known, self.confirmation)
        if not chosen:
            return self.nothing(self._why_none(known))
        found = confirm(Judging(self.prober, self.twin, self.seeds, self._say), chosen, known)
        return found if found.confirmed else self.nothing(found.reason, found.ended)

    def _why_none(self, known: Sequence[Standing]) -> str:
        """Why nothing is worth a confirmation."""
        said = "no stack saves energy with a fair chance to keep the quality"
        noise = min((self.confirmation.noise(one) for one in known), default=0.0)
        if noise <= self.confirmation.margin:
            return said
        return (
            f"{said}: on these questions, with {self.confirmation.seeds} seeds, a change of less than {noise:.1f} "
            f"points cannot be told from noise, and {self.confirmation.margin:g} may be lost; more questions to judge "
            "on or a larger margin would help"
        )

    def nothing(self, reason: str, ended: BudgetExceeded | None = None) -> Found:
        """The baseline, as nothing holds."""
        energy_j = Estimate.around(self.unit * self.workshop.joules, PROBE_SPREAD, "modelled")
        f1 = fmean(self.reference) if self.reference else None
        return Found(energy_j, f1, reason, self._standings(), ended=ended)

    def _say(self, stack: Stack, seed: int, one: Try) -> None:
        times = self.unit / value if (value := self.workshop.value(one.train)) > 0.0 else math.nan
        f1 = f"F1 {f1_of(one):.1f}" if one.done else f"{one.status}: {one.reason}"
        name = " + ".join(str(lever) for lever in stack) or "baseline"
        self.workshop.tell(f"{name} seed {seed}: energy / {times:.1f}, {f1}")
