"""From ledger entries to the records that a study document is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from lowcarb.core.documents import energy_from_dict, machine_from_dict, site_from_dict
from lowcarb.core.energy import Energy
from lowcarb.core.hardware import Machine
from lowcarb.core.site import Site
from lowcarb.core.trial import Result, Scores, Study, Trial
from lowcarb.core.workload import ModelSpec, Workload
from lowcarb.ledger.base import Attempt, Ledger

TRAIN = "train"
"""The phase that makes the model: what trials are compared by."""


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def study_from_dict(document: object) -> Study:
    """The study that an attempt was part of, from its JSON form."""
    study: Study = _adapter(Study).validate_python(document)
    return study


def trial_from_dict(document: object) -> Trial:
    """The trial that an attempt ran, from its JSON form."""
    trial: Trial = _adapter(Trial).validate_python(document)
    return trial


@dataclass(frozen=True, slots=True)
class PhaseRecord:
    """One phase of an attempt."""

    name: str
    wall_s: float
    cpu_s: float
    energy: Energy


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """A trial with its decisive attempt: the last one done, else the last one."""

    trial: Trial
    status: str
    """`pending` where nothing was tried yet."""
    attempt: int
    """Number of the decisive attempt; 0 where there is none."""
    phases: tuple[PhaseRecord, ...]
    machine: Machine | None
    site: Site | None
    facts: Mapping[str, Any]
    """What the runner noted: scores, training, model, tokenizer; empty unless it is done."""
    others: tuple[Energy, ...]
    """Energies of all other attempts: they were spent, and no result rests on them."""
    error: str | None
    """What ended an attempt that is not done."""
    power: Sequence[Mapping[str, Any]] = ()
    """Mean power over time by device, as the attempt's document has it; empty where it does not."""
    forecast: Mapping[str, Any] | None = None
    """The footprint that was expected before it ran, where somebody noted one."""

    def phase(self, name: str) -> PhaseRecord | None:
        """The phase of this name."""
        return next((phase for phase in self.phases if phase.name == name), None)

    @property
    def workload(self) -> Workload | None:
        """What the training asked of the hardware; None unless it is done."""
        if not self.facts:
            return None
        training, recipe = self.facts["training"], self.trial.arm.recipe
        steps, sequences = training["steps"], max(1, training["sequences"])
        model: ModelSpec = _adapter(ModelSpec).validate_python(self.facts["model"]["spec"])
        return Workload(
            model=model,
            steps=steps,
            batch=max(1, round(sequences / steps)),
            length=training["tokens"] / sequences,
            precision=recipe.precision,
            flops=training["flops"],
            bytes=training["bytes"],
        )

    @property
    def result(self) -> Result:
        """What the comparison needs of it."""
        train = self.phase(TRAIN)
        scores = {name: _adapter(Scores).validate_python(s) for name, s in self.facts.get("scores", {}).items()}
        return Result(
            trial=self.trial,
            status=self.status,
            attempt=self.attempt,
            energy_j=train.energy.energy_j.mid if train else None,
            basis=train.energy.energy_j.basis if train else "assumed",
            cpu_s=train.cpu_s if train else None,
            wall_s=train.wall_s if train else None,
            scores=scores,
        )


def record_of(trial: Trial, attempts: Sequence[Attempt]) -> TrialRecord:
    """The record of a trial from all attempts at it, oldest first."""
    if not attempts:
        return TrialRecord(trial, "pending", 0, (), None, None, {}, (), None)
    done = [attempt for attempt in attempts if attempt.status == "done"]
    decisive = (done or attempts)[-1]
    document: Mapping[str, Any] = decisive.document
    notes = document.get("notes", {})
    phases = tuple(
        PhaseRecord(one["name"], one["wall_s"], one["cpu_s"], energy_from_dict(one["energy"]))
        for one in _phases(decisive)
    )
    return TrialRecord(
        trial=trial,
        status=decisive.status,
        attempt=decisive.number,
        phases=phases,
        machine=machine_from_dict(document["machine"]) if document.get("machine") else None,
        site=site_from_dict(document["site"]) if document.get("site") else None,
        facts=notes.get("result", {}) if decisive.status == "done" else {},
        others=tuple(
            energy_from_dict(phase["energy"])
            for attempt in attempts
            if attempt is not decisive
            for phase in _phases(attempt)
        ),
        error=notes.get("error"),
        power=document.get("power") or (),
        forecast=notes.get("forecast"),
    )


def _phases(attempt: Attempt) -> Sequence[Mapping[str, Any]]:
    document: Mapping[str, Any] = attempt.document
    phases: Sequence[Mapping[str, Any]] = document.get("phases", [])
    return phases


def read_study(ledger: Ledger, study_id: str) -> tuple[Study, tuple[TrialRecord, ...]] | None:
    """A study and its trials as the ledger has them: the study as last run, its trials in the order of arms and seeds.

    Trials of an older version of the study are left out. None where the ledger knows no such study.
    """
    runs = ledger.runs(kind="trial", study=study_id, limit=10_000)
    newest: Mapping[str, Any] = {}
    for run in runs:
        documents = [a.document for a in ledger.attempts(run.id) if a.document.get("notes", {}).get("study")]  # type: ignore[attr-defined]
        if documents:
            newest = documents[-1]["notes"]  # type: ignore[assignment]
            break
    if not newest:
        return None
    study, template = study_from_dict(newest["study"]), trial_from_dict(newest["trial"])
    records = []
    for arm in study.arms:
        for seed in study.seeds:
            trial = replace(template, arm=arm, seed=seed, data=study.data, threads=study.threads, levers=arm.levers)
            found = ledger.run(trial.key)
            records.append(record_of(trial, ledger.attempts(found.id) if found else ()))
    return study, tuple(records)
