"""Run a study: each trial once, under the meter, resumable, whatever happens to one of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from lowcarb.catalogue import Catalogue
from lowcarb.core.check import Facts, Finding, check
from lowcarb.core.design import design
from lowcarb.core.hardware import Machine
from lowcarb.core.site import Site
from lowcarb.core.trial import Study, Trial
from lowcarb.errors import BudgetExceeded, DataError, LowcarbError, StudyError
from lowcarb.lab.base import Diverged, OnStep, Runner, Step, Stopped
from lowcarb.lab.data import Corpus, load_corpus, load_questions, split_facts
from lowcarb.ledger.base import Ledger, Status
from lowcarb.sensors.base import Sensor
from lowcarb.tracker.track import Tracker, track

CHECK_S = 1.0
"""Time between looks at the budget and progress reports [s]: often enough to act on, too seldom to cost anything."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a study is."""

    trial: Trial
    number: int
    """Of the trial, counted from 1."""
    trials: int
    step: int
    steps: int
    power_w: float | None
    carbon_g: float
    """Of the study so far, this run of it only."""
    left_s: float | None
    """Time left, by the trials done so far; None until there is one step to go by."""


class Listener(Protocol):
    """Hears how a study goes."""

    def progress(self, progress: Progress) -> None:
        """About once a second while a trial trains."""
        ...

    def ended(self, trial: Trial, number: int, trials: int, status: Status, error: str | None) -> None:
        """When a trial has ended."""
        ...

    def skipped(self, trial: Trial, number: int, trials: int) -> None:
        """When a trial was done before."""
        ...


@dataclass(frozen=True, slots=True)
class Bench:
    """What trials run on and are recorded by: made at the edge, handed down."""

    ledger: Ledger
    catalogue: Catalogue
    machine: Machine
    site: Site
    sensors: tuple[Sensor, ...]
    interval_s: float = 1.0


def study_facts(study: Study, root: Path, same_vocabulary: Mapping[str, bool] | None = None) -> tuple[Corpus, Facts]:
    """The study's questions, and what the linter needs to know of them.

    Raises:
        StudyError: the problems of all three files at once.
    """
    problems = []
    for name in dict.fromkeys((study.data.train, study.data.validation, study.data.adversarial)):
        try:
            load_questions(name, root=root)
        except DataError as error:
            problems += [f"{error.where}: {problem}" for problem in error.problems]
        except LowcarbError as error:
            problems.append(str(error))
    if problems:
        raise StudyError(f"data of {study.id}", problems)
    corpus = load_corpus(study.data, root=root)
    splits = {name: split_facts(questions) for name, questions in corpus.splits.items()}
    return corpus, Facts(splits=splits, same_vocabulary=same_vocabulary or {})


def refused(findings: tuple[Finding, ...]) -> list[str]:
    """The linter's errors, as problems of the study."""
    return [f"{f.where}: {f.message} [{f.check}]; {f.remedy}" for f in findings if f.level == "error"]


def checked(study: Study, facts: Facts) -> tuple[Finding, ...]:
    """The linter's findings.

    Raises:
        StudyError: there are errors among them.
    """
    findings = check(study, facts)
    problems = refused(findings)
    if problems:
        raise StudyError(study.id, problems)
    return findings


def run_study(study: Study, corpus: Corpus, runner: Runner, bench: Bench, listener: Listener) -> bool:
    """Run every trial that the ledger does not have as done; say whether all of them are done now.

    A trial that diverges, runs out of memory or fails is marked and the next one begins. Ctrl-C marks the trial and
    ends the study; running it again goes on with the trials that are missing.

    Raises:
        BudgetExceeded: a limit of the study was reached; the trial under way is marked `over_budget`.
        KeyboardInterrupt: from the user.
    """
    trials = design(study, data_digest=corpus.digest, machine=bench.machine.id)
    clock = _Clock(study, len(trials))
    whole = True
    for number, trial in enumerate(trials, start=1):
        if _done(bench.ledger, trial):
            listener.skipped(trial, number, len(trials))
            clock.skipped()
            continue
        status, error = _attempt(study, trial, number, runner, bench, listener, clock)
        listener.ended(trial, number, len(trials), status, error)
        whole = whole and status == "done"
    return whole


def _done(ledger: Ledger, trial: Trial) -> bool:
    run = ledger.run(trial.key)
    return run is not None and any(attempt.status == "done" for attempt in ledger.attempts(run.id))


def _attempt(
    study: Study, trial: Trial, number: int, runner: Runner, bench: Bench, listener: Listener, clock: _Clock
) -> tuple[Status, str | None]:
    """One attempt at a trial, with its outcome."""
    with _tracker(study, trial, bench) as tracker:
        clock.begin()
        ended = train_under(trial, runner, tracker, _watch(study, trial, number, tracker, listener, clock))
        clock.end(trial, tracker)
    return ended


def train_under(trial: Trial, runner: Runner, tracker: Tracker, on_step: OnStep) -> tuple[Status, str | None]:
    """Train a trial under a running tracker, which is told the result or what went wrong; status and message.

    The runner's border, one of the two places with a broad except: one training must not take the others with it.

    Raises:
        BudgetExceeded: from `on_step`; the attempt is marked.
        KeyboardInterrupt: from the user; the attempt is marked.
    """
    status: Status = "done"
    message: str | None = None
    try:
        tracker.note("result", dict(runner.run(trial, tracker, on_step)))
    except (KeyboardInterrupt, BudgetExceeded) as error:
        tracker.end_as("over_budget" if isinstance(error, BudgetExceeded) else "interrupted")
        tracker.note("error", str(error) or "ended by the user")
        raise
    except Stopped as error:
        status, message = "interrupted", str(error)
    except Diverged as error:
        status, message = "diverged", str(error)
    except MemoryError as error:
        status, message = "out_of_memory", str(error) or "the machine has too little memory"
    except Exception as error:  # noqa: BLE001  # the cause is recorded
        status, message = _fault(error)
    if message is not None:
        tracker.end_as(status)
        tracker.note("error", message)
    return status, message


def _fault(error: Exception) -> tuple[Status, str]:
    """Status and message of an error that a runner let out: memory errors have no class common to all devices."""
    out_of_memory = "out of memory" in str(error).lower() or "OutOfMemory" in type(error).__name__
    return ("out_of_memory" if out_of_memory else "failed"), f"{type(error).__name__}: {error}"


def _tracker(study: Study, trial: Trial, bench: Bench) -> Tracker:
    tracker = track(
        trial.name, kind="trial", key=trial.key, study=study.id, site=bench.site, interval_s=bench.interval_s,
        ledger=bench.ledger, sensors=bench.sensors, machine=bench.machine, catalogue=bench.catalogue,
    )  # fmt: skip
    tracker.note("study", asdict(study))
    tracker.note("trial", asdict(trial))
    return tracker


class _Clock:
    """Time and carbon of a study as it runs: what the progress line and the budgets go by."""

    def __init__(self, study: Study, trials: int) -> None:
        self._arms = len(study.arms)
        self.trials = trials
        self._began_s = time.monotonic()
        self._trial_began_s = self._began_s
        self._by_arm_s: dict[str, list[float]] = {}
        self._through = 0
        self.carbon_g = 0.0
        self.energy_j = 0.0

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._began_s

    def begin(self) -> None:
        self._trial_began_s = time.monotonic()

    def skipped(self) -> None:
        self._through += 1

    def end(self, trial: Trial, tracker: Tracker) -> None:
        self._by_arm_s.setdefault(trial.arm.id, []).append(time.monotonic() - self._trial_began_s)
        self._through += 1
        footprint = tracker.footprint()
        self.carbon_g += footprint.operational_g.mid
        self.energy_j += footprint.energy_j.mid

    def left_s(self, trial: Trial, step: Step) -> float:
        """Time left [s]: trials to come take as long as those of their arm, else as the mean arm did.

        A trial is taken as done when its training is: evaluation is short beside it.
        """
        spent_s = time.monotonic() - self._trial_began_s
        known = [sum(times) / len(times) for times in self._by_arm_s.values()]
        whole_s = spent_s * step.steps / step.step
        usual = [*known, whole_s] if trial.arm.id not in self._by_arm_s else known
        to_come = self.trials - self._through - 1
        return whole_s - spent_s + to_come * sum(usual) / len(usual)


def _watch(
    study: Study, trial: Trial, number: int, tracker: Tracker, listener: Listener, clock: _Clock
) -> Callable[[Step], None]:
    """What happens after an optimizer step: once a second, the budget is looked at and progress is told."""
    looked_s = float("-inf")

    def on_step(step: Step) -> None:
        nonlocal looked_s
        if time.monotonic() - looked_s < CHECK_S:
            return
        looked_s = time.monotonic()
        footprint = tracker.footprint()
        carbon_g = clock.carbon_g + footprint.operational_g.mid
        _within_budget(study, clock.energy_j + footprint.energy_j.mid, carbon_g, clock.elapsed_s)
        listener.progress(
            Progress(
                trial, number, clock.trials, step.step, step.steps, tracker.power_w(), carbon_g,
                clock.left_s(trial, step),
            )
        )  # fmt: skip

    return on_step


def _within_budget(study: Study, energy_j: float, carbon_g: float, elapsed_s: float) -> None:
    for what, limit, spent, unit in (
        ("energy", study.budget_j, energy_j, "J"),
        ("carbon", study.budget_g, carbon_g, "gCO2e"),
        ("time", study.budget_s, elapsed_s, "s"),
    ):
        if limit is not None and spent >= limit:
            raise BudgetExceeded(what, limit, spent, unit)
