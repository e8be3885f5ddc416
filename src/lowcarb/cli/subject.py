"""What `lowcarb advise` is asked about: a run, or a study, with what is known of it and how a lever is tried on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lowcarb.catalogue import Catalogue
from lowcarb.core.contrast import Job
from lowcarb.core.documents import machine_from_dict, site_from_dict
from lowcarb.core.hardware import Device, Machine
from lowcarb.core.levers import LEVERS, Able, Pulled
from lowcarb.core.site import Site
from lowcarb.core.trial import Arm, DataChoice, Inference, ModelChoice, Recipe, Study, TokenizerChoice, Trial
from lowcarb.core.waste import RunFacts
from lowcarb.errors import SettingError
from lowcarb.ledger.base import Attempt, Ledger, Run
from lowcarb.report.facts import ACCELERATORS, decisive, looks_of, lost_attempts, run_facts
from lowcarb.report.records import TrialRecord, read_study, trial_from_dict

GPU_HELP = {
    "power-cap": "with lowcarb.integrations.limits.gpu_limits(share=0.7): trainer.train()",
    "clock-lock": "with lowcarb.integrations.limits.gpu_limits(clock_hz=1.2e9): trainer.train()",
}


@dataclass(frozen=True, slots=True)
class Subject:
    """What is asked about."""

    kind: str
    """run or study."""
    id: str
    name: str
    facts: RunFacts | None
    trial: Trial
    """Of which levers are asked; for a run of somebody else's code, what is known of it stands in."""
    known: frozenset[str] | None
    """Fields of the recipe that are known; None where all are."""
    able: Able
    site: Site
    study: Study | None
    how: Callable[[Pulled, Trial], str]
    job: tuple[Job, Device, float] | None
    """For other devices: the job, on what it ran, and the watts of one of them."""
    notes: tuple[str, ...] = ()


def subject_of(book: Ledger, name: str | None, catalogue: Catalogue, site: str | None) -> Subject:
    """The subject of a name.

    Raises:
        SettingError: the ledger has no such run or study, with near ones.
        StudyError: a study file that cannot be read.
    """
    if name is None:
        newest = next(iter(book.runs(limit=1)), None)
        if newest is None:
            raise SettingError("run", None, "a run in the ledger, which has none yet, or a study file")
        return _of_run(book, newest, catalogue, site)
    if Path(name).suffix in (".yaml", ".yml"):
        from lowcarb.lab.studyfile import read_study as read_file  # noqa: PLC0415  # pydantic models, built when needed

        return _of_study(book, read_file(Path(name)), name, catalogue, site)
    run = book.run(name) or _run_of_attempt(book, name)
    if run is not None:
        return _of_run(book, run, catalogue, site)
    found = read_study(book, name)
    if found is not None:
        return _of_study(book, found[0], None, catalogue, site)
    raise SettingError("run", name, _nearest(book, name))


def _nearest(book: Ledger, name: str) -> str:
    runs = book.runs(limit=10_000)
    by_name = {run.name: run.id[:12] for run in reversed(runs)}
    known = {
        **{run.id[:12]: run.id[:12] for run in runs},
        **{run.study: run.study for run in runs if run.study},
        **by_name,
    }
    near = get_close_matches(name, known, n=3, cutoff=0.4)
    told = [f"{known[one]} ({one})" if known[one] != one else one for one in near]
    hint = f"did you mean {', '.join(told)}? " if told else ""
    return f"a run or study of the ledger, or a study file: {hint}`lowcarb ledger list` lists them"


def _run_of_attempt(book: Ledger, attempt_id: str) -> Run | None:
    for run in book.runs(limit=10_000):
        if any(attempt.id.startswith(attempt_id) for attempt in book.attempts(run.id)):
            return run
    return None


def _of_run(book: Ledger, run: Run, catalogue: Catalogue, site: str | None) -> Subject:
    attempts = book.attempts(run.id)
    chosen = decisive(attempts)
    document: Mapping[str, Any] = chosen.document if chosen else {}
    notes: Mapping[str, Any] = document.get("notes") or {}
    folder = notes.get("output_dir")
    facts = run_facts(run.id[:12], run.name, attempts, looks_of(Path(folder), run.key) if folder else ())
    machine = machine_from_dict(document["machine"]) if document.get("machine") else None
    told: Site | None = site_from_dict(document["site"]) if document.get("site") else None
    place = catalogue.site(site) if site else told or catalogue.unknown_site()
    facts = replace(facts, site_declared=place.declared)
    said = () if facts.energy_j else ("the run's energy is not known: savings are shares of whatever it took",)
    study_found = read_study(book, run.study) if run.study and notes.get("trial") else None
    if study_found is not None:
        trial, known, how = trial_from_dict(notes["trial"]), None, _study_how(run.study or "FILE")
    else:
        trial, known = _stand_in(notes, run.name)
        how = _trainer_how(trial)
        said = (*said, f"what is known of its recipe: {', '.join(sorted(known or ())) or 'nothing'}; {UNIT}")
    return Subject(
        "run", run.id[:12], run.name, facts, trial, known, _able(machine, notes), place,
        study_found[0] if study_found else None, how, _job(notes, facts, machine), said,
    )  # fmt: skip


UNIT = "quality changes are points of F1 in question answering, as claimed"


def _of_study(book: Ledger, study: Study, file: str | None, catalogue: Catalogue, site: str | None) -> Subject:
    found = read_study(book, study.id)
    records = found[1] if found else ()
    baseline = study.arm(study.baseline)
    mine = [one for one in records if one.trial.arm.id == baseline.id]
    done = next((one for one in mine if one.status == "done"), None)
    facts = _study_facts(book, study, done, records)
    machine = next((one.machine for one in records if one.machine), None) or _machine_here(catalogue)
    name = site or study.site
    place = catalogue.site(name) if name else catalogue.unknown_site()
    if facts is not None:
        facts = replace(facts, site_declared=place.declared)
    trial = done.trial if done else Trial(study.id, baseline, study.data, "", 0, machine.id, study.threads)
    return Subject(
        "study", study.id, study.question, facts, trial, None, _able(machine, {}), place, study,
        _study_how(file or "FILE"), None,
    )  # fmt: skip


def _study_facts(
    book: Ledger, study: Study, done: TrialRecord | None, records: Iterable[TrialRecord]
) -> RunFacts | None:
    """Facts of the baseline's first finished trial, with the attempts that all trials of the study lost."""
    del study
    lost: list[Attempt] = []
    for record in records:
        run = book.run(record.trial.key)
        lost += lost_attempts(book.attempts(run.id)) if run else []
    if done is None:
        return None
    run = book.run(done.trial.key)
    facts = run_facts(run.id[:12], run.name, book.attempts(run.id)) if run else None
    return replace(facts, lost=run_facts("", "", lost).lost) if facts else None


def _machine_here(catalogue: Catalogue) -> Machine:
    from lowcarb.sensors.find import find_sensors  # noqa: PLC0415
    from lowcarb.sensors.machine import describe_machine  # noqa: PLC0415

    found = find_sensors(catalogue)
    try:
        return describe_machine(catalogue, found)
    finally:
        found.close()


def _able(machine: Machine | None, notes: Mapping[str, Any]) -> Able:
    cards = [one.device for one in machine.devices if one.device.kind in ACCELERATORS] if machine else []
    if not cards:
        return Able(frozenset({"fp32", "bf16"}), keep_memory=True)
    precisions = frozenset.intersection(*(frozenset(card.peak_flops) for card in cards)) or frozenset({"fp16"})
    nvidia = bool(notes) and all(card.kind == "gpu" for card in cards)
    return Able(precisions | {"fp32"}, gpu=True, power_limit=nvidia)


def _stand_in(notes: Mapping[str, Any], name: str) -> tuple[Trial, frozenset[str]]:
    """A trial that levers can be asked of, for a training by somebody else's code, and what of it is known."""
    told = {
        "precision": notes.get("precision") if notes.get("precision") in ("fp32", "bf16", "fp16") else None,
        "batch": notes.get("batch_per_device"), "epochs": notes.get("epochs"),
        "accumulation": notes.get("gradient_accumulation_steps"),
    }  # fmt: skip
    known = {key: value for key, value in told.items() if value}
    recipe = Recipe(padding="max", attention="eager", **known)
    model = ModelChoice(str(notes.get("model") or name), "bert", "its own")
    arm = Arm(model, TokenizerChoice("native"), recipe, Inference())
    return Trial("", arm, DataChoice("", "", ""), "", 0, ""), frozenset(known)


def _job(notes: Mapping[str, Any], facts: RunFacts, machine: Machine | None) -> tuple[Job, Device, float] | None:
    if facts.cards is None or machine is None:
        return None
    job = Job(
        model=str(notes.get("model") or ""), phase="train", framework=None, precision=str(notes.get("precision") or ""),
        batch=notes.get("batch_per_device"), params=notes.get("parameters"),
    )  # fmt: skip
    # A run's cards are of one kind.
    card = next(one.device for one in machine.devices if one.device.kind in ACCELERATORS)
    return job, card, facts.cards.mean_w


def _study_how(file: str) -> Callable[[Pulled, Trial], str]:
    def how(one: Pulled, after: Trial) -> str:
        del after
        return (
            f"lowcarb study run {file} --set 'levers=[{str(one)!r}]'"
            if ":" in str(one)
            else (f"lowcarb study run {file} --set 'levers=[{one}]'")
        )

    return how


def _trainer_how(before: Trial) -> Callable[[Pulled, Trial], str]:
    def how(one: Pulled, after: Trial) -> str:
        if one.lever in GPU_HELP:
            return GPU_HELP[one.lever]
        from lowcarb.lab.paste import training_arguments  # noqa: PLC0415

        old, new = training_arguments(before.arm.recipe), training_arguments(after.arm.recipe)
        changed = [f"{name}={value!r}" for name, value in new.items() if old.get(name) != value]
        if changed:
            return f"TrainingArguments({', '.join(changed)})"
        return BY_HAND.get(one.lever, f"in your own code: {LEVERS[one.lever].title.lower()}")

    return how


BY_HAND = {
    "dynamic-padding": "DataCollatorWithPadding(tokenizer), and no padding='max_length' in the tokenizer's call",
    "keep-memory": "with lowcarb.levers.keep_memory(): trainer.train()",
    "stop-by-gain": "a callback that stops where lowcarb.core.gain.gain_to_come(looks) is below your points",
    "early-stopping": "EarlyStoppingCallback(early_stopping_patience=2), load_best_model_at_end=True",
    "attention": "from_pretrained(..., attn_implementation='sdpa')",
    "no-dropout": "config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0",
    "freeze-embeddings": "model.get_input_embeddings().requires_grad_(False)",
    "lora": "peft.get_peft_model(model, LoraConfig(r=8))",
}
