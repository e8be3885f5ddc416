"""The study document: all that a study found, as one JSON-ready mapping. Every other form of report reads this."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from lowcarb.catalogue import Catalogue
from lowcarb.core.check import Facts, Finding, TrainedFacts, check, check_trained
from lowcarb.core.compare import Effect, device_effects, effects, pareto
from lowcarb.core.documents import machine_as_dict, site_as_dict
from lowcarb.core.energy import Energy
from lowcarb.core.estimate import Estimate, total
from lowcarb.core.footprint import Footprint, measured_footprint
from lowcarb.core.forecast import Projection, contrast_factor, project
from lowcarb.core.site import Site
from lowcarb.core.trial import Study
from lowcarb.errors import LowcarbError
from lowcarb.report.ablation import ablation_of
from lowcarb.report.everyday import everyday
from lowcarb.report.records import TRAIN, TrialRecord
from lowcarb.report.where import drawn

SCHEMA_VERSION = 1


def study_document(
    study: Study, records: Sequence[TrialRecord], catalogue: Catalogue, site: Site, findings: Iterable[Finding] = ()
) -> dict[str, Any]:
    """What a study found, priced at one site.

    Args:
        study: the study as it was run.
        records: its trials, in the order of arms and seeds.
        catalogue: for the devices that trials are projected onto, and the sources.
        site: where all trials are priced, whatever site they were run at.
        findings: of the linter, on data and tokenizers; those on the study itself and on what was trained are added.
    """
    projections: dict[str, dict[str, Projection]] = {}
    left_out: list[Finding] = []
    for record in records:
        projections[record.trial.key], without = projections_of(study, record, catalogue, site)
        left_out += without
    trials = [_trial(record, projections[record.trial.key], site) for record in records]
    found = [*effects(study, [record.result for record in records]), *_device_effects(study, projections.values())]
    arms = _arms(study, trials)
    comparisons = [_comparison(effect) for effect in found]
    machines = [record.machine for record in records if record.machine is not None]
    used = {source for trial in trials if trial["footprint"] for source in trial["footprint"]["sources"]}
    used |= {s for one in projections.values() for p in one.values() for s in p.footprint.sources}
    totals = _totals(records, site)
    familiar = everyday(_carbon_of(totals), _estimate(totals["energy_j"]), catalogue.equivalents())
    used |= {source for one in familiar for source in one["sources"]}
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "study",
        "study": _study(study),
        "site": {**site_as_dict(site), "note": None if site.declared else NO_SITE},
        "machine": machine_as_dict(machines[-1]) if machines else None,
        "trials": trials,
        "arms": arms,
        "comparisons": comparisons,
        "ablation": ablation_of(study, comparisons),
        "pareto": [asdict(p) for p in pareto(_points(arms))],
        "checks": [finding.as_dict() for finding in _findings(study, records, [*findings, *left_out])],
        "totals": totals,
        "everyday": familiar,
        "sources": [source.as_dict() for source in catalogue.sources(sorted(used))],
    }


NO_SITE = (
    "nobody said where this ran: a world average stands in, with a wide interval; give --site to price it for a place"
)


def projections_of(
    study: Study, record: TrialRecord, catalogue: Catalogue, site: Site
) -> tuple[dict[str, Projection], list[Finding]]:
    """A finished trial on each of the study's devices, and a finding for each device that cannot be projected onto."""
    workload = record.workload
    found: dict[str, Projection] = {}
    left_out: list[Finding] = []
    if workload is None:
        return found, left_out
    for name in study.devices:
        try:
            found[name] = project(workload, catalogue.device(name), site)
        except LowcarbError as error:
            remedy = "take another device or precision"
            left_out.append(Finding("device-left-out", "warning", f"devices.{name}", str(error), remedy))
    return found, left_out


def _device_effects(study: Study, projections: Iterable[Mapping[str, Projection]]) -> tuple[Effect, ...]:
    complete = [one for one in projections if len(one) == len(study.devices)]
    if len(study.devices) < 2 or not complete:
        return ()
    first = study.devices[0]
    figures = {
        name: [(_carbon_g(one[name].footprint), contrast_factor(one[name], one[first])) for one in complete]
        for name in study.devices
    }
    return device_effects(figures, first)


def _carbon_g(footprint: Footprint) -> float:
    """Operational and embodied carbon [gCO2e], mid."""
    return footprint.operational_g.mid + (footprint.embodied_g.mid if footprint.embodied_g else 0.0)


def _study(study: Study) -> dict[str, Any]:
    return {
        "id": study.id,
        "question": study.question,
        "baseline": study.baseline,
        "metric": study.metric,
        "split": study.split,
        "margin": study.margin,
        "seeds": list(study.seeds),
        "devices": list(study.devices),
        "data": asdict(study.data),
        "arms": [asdict(arm) for arm in study.arms],
        "levers": list(study.levers),
        "stack": list(study.stack),
    }


def _trial(record: TrialRecord, projections: Mapping[str, Projection], site: Site) -> dict[str, Any]:
    trial, facts = record.trial, record.facts
    training, tokenizer, model = (facts.get(name, {}) for name in ("training", "tokenizer", "model"))
    train = record.phase(TRAIN)
    phases = [
        {
            "name": p.name,
            "wall_s": p.wall_s,
            "cpu_s": p.cpu_s,
            "footprint": _priced(p.energy, record, site),
            "devices": drawn(p.energy),
        }
        for p in record.phases
    ]
    return {
        "key": trial.key,
        "arm": trial.arm.id,
        "model": trial.arm.model.id,
        "tokenizer": trial.arm.tokenizer.id,
        "device": record.machine.name if record.machine else None,
        "seed": trial.seed,
        "status": record.status,
        "error": record.error,
        "attempt": record.attempt,
        **{split: _scores(facts, split) for split in ("validation", "adversarial")},
        "steps": training.get("steps"),
        "tokens": training.get("tokens"),
        "real_tokens": training.get("real_tokens"),
        "flops": training.get("flops"),
        "parameters": model.get("parameters"),
        "from_scratch": trial.arm.model.from_scratch,
        "fertility": tokenizer.get("fertility"),
        "vocabulary": tokenizer.get("vocabulary"),
        "remap": model.get("remap"),
        "cpu_s": train.cpu_s if train else None,
        "wall_s": train.wall_s if train else None,
        "footprint": _priced(train.energy, record, site) if train else None,
        "phases": phases,
        "power": list(record.power),
        "forecast": record.forecast,
        "projections": {name: _projection(one) for name, one in projections.items()},
    }


def _priced(energy: Energy, record: TrialRecord, site: Site) -> dict[str, object] | None:
    return measured_footprint(energy, record.machine, site).as_dict() if record.machine else None


def _scores(facts: Mapping[str, Any], split: str) -> dict[str, float] | None:
    scores = facts.get("scores", {}).get(split)
    return {name: scores[name] for name in ("em", "f1", "cosine", "sts", "questions")} if scores else None


def _projection(projection: Projection) -> dict[str, object]:
    return {
        "device": projection.device.name,
        "power_w": projection.power_w.as_dict(),
        "bound": projection.bound,
        "fits": projection.fits,
        "footprint": projection.footprint.as_dict(),
    }


def _arms(study: Study, trials: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Means over the seeds of each arm."""
    arms = []
    for arm in study.arms:
        done = [t for t in trials if t["arm"] == arm.id and t["status"] == "done"]

        def mean(*path: str, done: list[Mapping[str, Any]] = done) -> float | None:
            values = []
            for trial in done:
                value: Any = trial
                for name in path:
                    value = None if value is None else value[name]
                values.append(value)
            return fmean(values) if values and all(v is not None for v in values) else None

        arms.append(
            {
                "id": arm.id,
                "model": arm.model.id,
                "tokenizer": arm.tokenizer.id,
                "from_scratch": arm.model.from_scratch,
                "trials": len(done),
                "quality": mean(study.split, study.metric),
                **{f"{split}_{metric}": mean(split, metric)
                   for split in ("validation", "adversarial") for metric in ("em", "f1", "cosine", "sts")},
                "energy_j": mean("footprint", "energy_j", "mid"),
                "carbon_g": mean("footprint", "operational_g", "mid"),
                "cpu_s": mean("cpu_s"),
                "wall_s": mean("wall_s"),
                "cost": mean("footprint", "cost", "mid"),
                "fertility": mean("fertility"),
                "parameters": done[0]["parameters"] if done else None,
            }
        )  # fmt: skip
    return arms


def _points(arms: Iterable[Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    """Carbon [gCO2e] and quality by arm, where both are known."""
    return {a["id"]: (a["carbon_g"], a["quality"]) for a in arms if None not in (a["carbon_g"], a["quality"])}


def _comparison(effect: Effect) -> dict[str, Any]:
    return {
        "factor": effect.factor,
        "baseline": effect.baseline,
        "arm": effect.arm,
        "carbon_ratio": effect.carbon_ratio.as_dict(),
        "quality_change": effect.quality_change.as_dict(),
        "pairs": effect.pairs,
        "verdict": effect.verdict,
        "reason": effect.reason,
        "benefits": list(effect.benefits),
        "drawbacks": list(effect.drawbacks),
    }


def _findings(study: Study, records: Sequence[TrialRecord], findings: Iterable[Finding]) -> list[Finding]:
    """All findings, each once: those given, those on the study, and those on what was trained."""
    same = {r.trial.arm.id: bool(r.facts["tokenizer"]["same_vocabulary"]) for r in records if r.facts}
    found = [*findings, *check(study, Facts(same_vocabulary=same))]
    for record in records:
        training = record.facts.get("training")
        if training:
            facts = TrainedFacts(
                record.trial.arm.id, record.trial.seed, training["steps"], training["metered_steps"],
                training["zero_rate_steps"],
            )  # fmt: skip
            found += check_trained(facts)
    return list(dict.fromkeys(found))


def _estimate(value: Any) -> Estimate | None:
    return Estimate.from_dict(value) if value else None


def _carbon_of(totals: Mapping[str, Any]) -> Estimate | None:
    """Carbon of the electricity and, where it is known, of the machine's making [gCO2e]."""
    electricity, making = _estimate(totals["operational_g"]), _estimate(totals.get("embodied_g"))
    return electricity + making if electricity and making else electricity


def _totals(records: Sequence[TrialRecord], site: Site) -> dict[str, Any]:
    """What the whole study cost, failed and repeated attempts and all."""
    machines = [record.machine for record in records if record.machine]
    by_phase: dict[str, float] = {}
    for record in records:
        for phase in record.phases:
            by_phase[phase.name] = by_phase.get(phase.name, 0.0) + phase.energy.energy_j.mid
    if not machines:
        return {"energy_j": None, "operational_g": None, "wasted_j": 0.0, "energy_by_phase_j": by_phase}
    lost = [energy for record in records for energy in record.others]
    lost += [phase.energy for record in records if record.status != "done" for phase in record.phases]
    energies = lost + [phase.energy for record in records if record.status == "done" for phase in record.phases]
    parts = [measured_footprint(energy, machines[-1], site) for energy in energies]
    embodied = [part.embodied_g for part in parts if part.embodied_g is not None]
    whole = total(energy.energy_j for energy in energies)
    return {
        "energy_j": whole.as_dict(),
        "operational_g": total(part.operational_g for part in parts).as_dict(),
        "embodied_g": total(embodied).as_dict() if embodied else None,
        "duration_s": sum(energy.duration_s for energy in energies),
        "measured_share": sum(e.measured_share * e.energy_j.mid for e in energies) / whole.mid if whole.mid else 0.0,
        "wasted_j": sum(energy.energy_j.mid for energy in lost),
        "energy_by_phase_j": by_phase,
    }
