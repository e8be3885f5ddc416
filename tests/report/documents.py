"""Small study documents, built by hand in the shape that `study_document` gives."""

from __future__ import annotations

from typing import Any

PHASES = ("prepare", "train", "evaluate", "score", "other")


def estimate(mid, ratio=2.0, basis="modelled"):
    return {"low": mid / ratio, "mid": mid, "high": mid * ratio, "basis": basis}


def change(low, mid, high, basis="measured"):
    return {"low": low, "mid": mid, "high": high, "basis": basis}


def footprint(energy_j=100.0, wall_s=10.0, **other) -> dict[str, Any]:
    return {
        "energy_j": estimate(energy_j),
        "operational_g": estimate(energy_j / 5e3, 3.0, "assumed"),
        "embodied_g": estimate(energy_j / 7e4, 2.0, "assumed"),
        "water_l": estimate(energy_j / 1e6, 3.0, "assumed"),
        "cost": None,
        "duration_s": estimate(wall_s, 1.0, "measured"),
        "measured_share": 0.0,
        "scope": "cpu+dram",
        "method": "metered: cpu-model, dram-model; coverage 100%",
        "sources": ["ember"],
    } | other


def projection(name, energy_j, wall_s):
    one = footprint(energy_j, wall_s, cost=estimate(wall_s / 7e3, 2.0, "catalogue"), scope="device and host")
    one["duration_s"] = estimate(wall_s, 1.5)
    return {"device": name, "power_w": estimate(70.0), "bound": "launches", "fits": True, "footprint": one}


def scores(f1):
    return {"em": 0.8 * f1, "f1": f1, "cosine": f1 / 100, "sts": 0.3 + f1 / 200, "questions": 200}


def trial(arm="bert/native", seed=0, *, f1=50.0, energy_j=100.0, status="done", error=None, devices=True):
    """One trial; one that is not done has spent energy, and has no scores."""
    done, model, tokenizer = status == "done", *arm.split("/", 1)
    phases = [
        {"name": name, "wall_s": 2.0, "cpu_s": 3.0, "footprint": footprint(energy_j if name == "train" else 5.0)}
        for name in (PHASES if done else PHASES[:2])
    ]
    projections = {"t4": projection("NVIDIA T4", 40.0, 4.0), "a100": projection("NVIDIA A100", 90.0, 2.0)}
    return {
        "key": f"{model}{tokenizer}{seed}", "arm": arm, "model": model, "tokenizer": tokenizer,
        "device": "a machine", "seed": seed, "status": status, "error": error, "attempt": 1,
        "validation": scores(f1) if done else None, "adversarial": scores(f1 - 10) if done else None,
        "steps": 225 if done else None, "tokens": 1.6e5, "real_tokens": 1.5e5, "flops": 1e13, "parameters": 2e7,
        "from_scratch": False, "fertility": 1.3 if done else None, "vocabulary": 30522, "remap": None,
        "cpu_s": 19.0, "wall_s": 10.0, "footprint": footprint(energy_j), "phases": phases,
        "projections": projections if done and devices else {},
    }  # fmt: skip


def pending(arm="bert/native", seed=0):
    """A trial that nobody has tried yet."""
    empty = dict.fromkeys(trial(arm, seed))
    known = {name: trial(arm, seed)[name] for name in ("key", "arm", "model", "tokenizer", "seed", "from_scratch")}
    return empty | known | {"status": "pending", "attempt": 0, "phases": [], "projections": {}}


def comparison(arm="distilbert/native", baseline="bert/native", *, ratio=0.5, verdict="worse", factor="model", **other):
    return {
        "factor": factor, "baseline": baseline, "arm": arm, "carbon_ratio": estimate(ratio, 1.02),
        "quality_change": change(-9.0, -7.0, -5.0), "pairs": 2, "verdict": verdict,
        "reason": f"the reason of {arm}", "benefits": [f"a benefit of {arm}"],
        "drawbacks": [f"a drawback of {arm}", "its pretraining is not counted here"],
    } | other  # fmt: skip


def document(trials=None, comparisons=None, *, devices=("t4", "a100"), declared=True, from_scratch=(), **other):
    """A whole document around some trials; by default two arms with two seeds, and one trial that was interrupted."""
    if trials is None:
        trials = [
            trial("bert/native", 0, f1=50.0), trial("bert/native", 1, f1=52.0, energy_j=104.0),
            trial("distilbert/native", 0, f1=43.0, energy_j=50.0),
            trial("distilbert/native", 1, f1=45.0, energy_j=51.0),
            trial("distilbert/native", 2, status="interrupted", error="ended by SIGTERM", energy_j=20.0),
        ]  # fmt: skip
    if comparisons is None:
        comparisons = [
            comparison(),
            comparison("a100", "t4", factor="device", ratio=2.3, quality_change=change(0, 0, 0, "assumed")),
        ]
    arms = list(dict.fromkeys(one["arm"] for one in trials))
    return {
        "schema_version": 1,
        "kind": "study",
        "study": _study(arms, trials, devices),
        "site": _site(declared),
        "machine": _machine() if any(one["footprint"] for one in trials) else None,
        "trials": trials,
        "arms": [_arm(arm, trials, arm in from_scratch) for arm in arms],
        "comparisons": comparisons,
        "pareto": [{"arm": arm, "carbon_g": 0.02, "quality": 50.0, "on_front": n == 0} for n, arm in enumerate(arms)],
        "checks": [
            {"check": "one-seed", "level": "warning", "where": "seeds", "message": "every verdict will be `undecided`",
             "remedy": "seeds: [0, 1, 2]"},
        ],
        "totals": _totals(trials),
        "sources": [
            {"id": "ember", "title": "Yearly electricity data", "publisher": "Ember", "url": "https://ember-energy.org/x",
             "published": "2026", "retrieved": "2026-11-24", "license": "CC BY 4.0"},
        ],
    } | other  # fmt: skip


LEVER_ARMS = ("bert/native", "bert/native+bf16", "bert/native+bf16+no-dropout")


def ablation(lever="bf16", other="no-dropout", **changed):
    """One lever that is the whole stack, and one that was tried on top of it only."""
    base, alone, top = LEVER_ARMS
    one = {
        "of": lever, "energy_ratio": estimate(0.7, 1.5, "assumed"), "quality_change": None,
        "where": f"published: {lever} halves it", "sources": [f"arXiv of {lever}"],
    }  # fmt: skip
    first = comparison(alone, base, factor="lever", ratio=0.6, verdict="not inferior")
    second = comparison(top, alone, factor="lever", ratio=0.8)
    return {
        "baseline": base, "stack": [lever], "whole": first,
        "levers": [
            {"lever": lever, "title": f"Title of {lever}", "alone": first, "on_top": None, "conflict": None,
             "claim": one},
            {"lever": other, "title": f"Title of {other}", "alone": None, "on_top": second,
             "conflict": f"{other} conflicts with {lever}", "claim": one},
        ],
    } | changed  # fmt: skip


def with_levers(**changed):
    """A document of a study with levers."""
    trials = [trial(arm, seed, f1=50.0, energy_j=100.0 / n) for n, arm in enumerate(LEVER_ARMS, 1) for seed in (0, 1)]
    found = ablation(**changed)
    comparisons = [found["whole"], found["levers"][1]["on_top"]]
    return document(trials, comparisons, ablation=found)


def _study(arms, trials, devices):
    recipe = {"epochs": 1, "max_steps": None, "batch": 4, "learning_rate": 2e-4, "precision": "fp32", "fused": True}
    return {
        "id": "mini", "question": "Which model answers best for its carbon?", "baseline": arms[0], "metric": "f1",
        "split": "validation", "margin": 1.0, "seeds": sorted({one["seed"] for one in trials}),
        "devices": list(devices),
        "data": {"train": "a", "validation": "b", "adversarial": "c", "train_questions": 900, "test_questions": None},
        "arms": [
            {"model": {"id": arm.split("/", 1)[0]}, "tokenizer": {"id": arm.split("/", 1)[1]}, "recipe": recipe}
            for arm in arms
        ],
    }  # fmt: skip


def _site(declared):
    return {
        "id": "fra" if declared else "world", "name": "France" if declared else "World average (place unknown)",
        "intensity_g_per_kwh": estimate(40.0, 1.2, "catalogue"), "accounting": "location, lifecycle",
        "pue": estimate(1.5, 1.3, "assumed"), "wue_l_per_kwh": None, "grid_water_l_per_kwh": None,
        "price_per_kwh": None, "year": 2024, "declared": declared, "sources": ["ember"],
        "note": None if declared else "nobody said where this ran: give --site to price it for a place",
    }  # fmt: skip


def _machine():
    cpu = {"id": "cpu", "name": "share of a server", "kind": "cpu", "embodied_g": estimate(4e4, 2.0, "assumed")}
    return {
        "id": "m", "name": "2 × AMD EPYC", "devices": [{"device": cpu, "count": 0.25}], "threads": 2,
        "memory_bytes": 2.0**34, "software": {"python": "3.11.7"}, "virtual": True,
    }  # fmt: skip


def _arm(arm, trials, from_scratch):
    done = [one for one in trials if one["arm"] == arm and one["status"] == "done"]
    return {
        "id": arm, "model": arm.split("/", 1)[0], "tokenizer": arm.split("/", 1)[1], "from_scratch": from_scratch,
        "trials": len(done), "parameters": 2e7 if done else None,
    }  # fmt: skip


def _totals(trials):
    spent = [one for one in trials if one["footprint"]]
    if not spent:
        return {"energy_j": None, "operational_g": None, "wasted_j": 0.0, "energy_by_phase_j": {}}
    energy = sum(one["footprint"]["energy_j"]["mid"] for one in spent)
    return {
        "energy_j": estimate(energy), "operational_g": estimate(energy / 5e3, 3.0, "assumed"),
        "embodied_g": estimate(energy / 7e4, 2.0, "assumed"), "duration_s": 10.0 * len(spent), "measured_share": 0.0,
        "wasted_j": sum(one["footprint"]["energy_j"]["mid"] for one in spent if one["status"] != "done"),
        "energy_by_phase_j": {"train": energy},
    }  # fmt: skip
