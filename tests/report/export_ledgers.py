"""Small ledgers for the tests of exports: figures that can be worked out by hand."""

from __future__ import annotations

from dataclasses import asdict, replace

from lowcarb.core.documents import energy_as_dict, machine_as_dict, plain, site_as_dict
from lowcarb.core.energy import DeviceEnergy, Energy
from lowcarb.core.estimate import Estimate
from lowcarb.core.footprint import measured_footprint
from lowcarb.core.hardware import Device, Installed, Machine
from lowcarb.core.hours import Hour
from lowcarb.core.shape import ModelSpec
from lowcarb.core.site import Site
from lowcarb.core.trial import Arm, DataChoice, Inference, ModelChoice, Recipe, Study, TokenizerChoice, Trial
from lowcarb.ledger.memory import MemoryLedger

HOUR_NS = 3_600_000_000_000
BEGAN_NS = 1_767_225_600_000_000_000
"""2026-01-01 00:00 UTC."""
KWH = 3.6e6
EXACT = Estimate.exact

GPU = Device(
    "a100-80gb", "NVIDIA A100 80GB", "gpu", memory_bytes=80 * 2**30, embodied_g=EXACT(150_000.0, "catalogue"),
    lifetime_s=EXACT(150_000_000.0, "assumed"), sources=("gsf-cloud",),
)  # fmt: skip
CPU = Device("processor", "AMD EPYC 7742", "cpu")
MACHINE = Machine(
    "m1", "2 × NVIDIA A100 80GB", (Installed(CPU), Installed(GPU, 2.0)), 16, 64 * 2**30, {"python": "3.11.9"}
)
SITE = Site(
    "fra", "France", EXACT(50.0, "catalogue"), "location, lifecycle", EXACT(1.2, "assumed"), EXACT(0.5, "assumed"),
    EXACT(2.0, "catalogue"), None, 2025, declared=True, sources=("ember-2026",),
)  # fmt: skip


def energy(gpu_j=0.0, cpu_j=0.0, seconds=3600.0):
    """What was drawn: the cards measured, the processor modelled."""
    devices = []
    if gpu_j:
        devices.append(DeviceEnergy("GPU-0", "gpu", "nvml", EXACT(gpu_j), 1.0, 0.0))
    if cpu_j:
        devices.append(
            DeviceEnergy("cpu", "cpu", "cpu-model", Estimate(cpu_j / 2, cpu_j, cpu_j * 2, "modelled"), 1.0, 0.0)
        )
    return Energy(seconds, tuple(devices))


def document(phases, *, site=SITE, machine=MACHINE, notes=None, tokens=0, steps=0, within=None, began_ns=BEGAN_NS):
    """What the ledger keeps of an attempt with these phases: energy by name."""
    parts = list(phases.values())
    whole = energy(
        sum(d.energy_j.mid for one in parts for d in one.devices if d.kind == "gpu"),
        sum(d.energy_j.mid for one in parts for d in one.devices if d.kind == "cpu"),
        sum(one.duration_s for one in parts),
    )
    return {
        "schema_version": 1,
        "machine": machine_as_dict(machine) if machine else None,
        "site": site_as_dict(site) if site else None,
        "phases": [
            {
                "name": name, "wall_s": one.duration_s, "cpu_s": 1.0, "blocks": 1, "unresolved": [],
                "energy": energy_as_dict(one), "footprint": measured_footprint(one, machine, site).as_dict(),
            }
            for name, one in phases.items()
        ],
        "energy": energy_as_dict(whole),
        "hours": [Hour(began_ns // HOUR_NS * HOUR_NS, whole.energy_j).as_dict()],
        "footprint": measured_footprint(whole, machine, site).as_dict(),
        "tokens": tokens,
        "steps": steps,
        "faults": [],
        "notes": notes or {},
        "attribution": "machine",
        "node": "node-1",
        "within": within,
    }  # fmt: skip


def enter(ledger, name, doc, *, status="done", key=None, kind="track", study=None, began_ns=BEGAN_NS, seconds=3600.0,
          attempt_id=None):  # fmt: skip
    """One attempt in the ledger; without a document it runs."""
    number = len([a for run in ledger.runs(limit=10_000) for a in ledger.attempts(run.id)])
    attempt = ledger.begin(
        attempt_id=attempt_id or f"attempt-{number}", key=key or name, kind=kind, name=name, study=study,
        started_ns=began_ns,
    )  # fmt: skip
    if doc is not None:
        ledger.finish(attempt.id, status=status, ended_ns=began_ns + int(seconds * 1e9), document=doc)
    return attempt.run_id


def one_run(name="finetune", ledger=None, **changes):
    """A run of an hour: 1 kWh of two cards measured, 0.1 kWh of the processor modelled; 90 % of it in training."""
    ledger = ledger or MemoryLedger()
    notes = {
        "framework": "transformers 5.0", "model": "bert", "parameters": 110_000_000, "epochs": 3, "precision": "bf16",
        "total_flos": 3.0e17,
    }  # fmt: skip
    phases = {"prepare": energy(0.1 * KWH, 0.01 * KWH, 360.0), "train": energy(0.9 * KWH, 0.09 * KWH, 3240.0)}
    doc = document(phases, **{"notes": notes, "tokens": 2_000_000, "steps": 500} | changes)
    return ledger, enter(ledger, name, doc)


DATA = DataChoice("embedded:jouleqa/train", "embedded:jouleqa/validation", "embedded:jouleqa/adversarial")
BIG = Arm(ModelChoice("bert", "bert", "google/bert-base"), TokenizerChoice("native"), Recipe(batch=8), Inference())
SMALL = replace(BIG, model=ModelChoice("distilbert", "distilbert", "distilbert/distilbert-base"))


def scores(f1, questions=4):
    """Four questions on two paragraphs, around a mean."""
    each = [f1 - 10.0, f1 - 10.0, f1 + 10.0, f1 + 10.0]
    one = {"em": f1 / 2, "f1": f1, "cosine": f1 / 100, "sts": f1 / 100, "questions": questions}
    return one | {"per_question_f1": each, "groups": [0, 0, 1, 1]}


def a_study(name="mine", ledger=None, arms=(BIG, SMALL), question="Does the smaller one do?"):
    """Two arms, two seeds: a failed attempt before a done one, a pending trial, and a trial of an earlier recipe."""
    ledger = ledger or MemoryLedger()
    study = Study(name, question, DATA, tuple(arms), arms[0].id, (0, 1))
    big, small = arms
    old = replace(big, recipe=replace(big.recipe, epochs=1.0))
    plan = [
        (old, 0, "done", 50.0, 5.0), (big, 0, "done", 100.0, 20.0), (big, 1, "failed", 30.0, 0.0),
        (big, 1, "done", 120.0, 20.0), (small, 0, "done", 60.0, 10.0),
    ]  # fmt: skip
    for number, (arm, seed, status, train_j, rest_j) in enumerate(plan):
        trial = Trial(name, arm, DATA, "digest", seed, MACHINE.id)
        result = {
            "scores": {"validation": scores(60.0 + seed), "adversarial": scores(50.0 + seed)},
            "training": {"steps": 10, "tokens": 1000.0, "real_tokens": 900.0, "flops": 1e12, "bytes": 1e9,
                         "sequences": 80, "metered_steps": 10, "zero_rate_steps": 0},
            "model": {"parameters": 1000, "spec": asdict(ModelSpec("tiny", "encoder", 2, 64, 128, 2, 100))},
            "tokenizer": {"vocabulary": 100, "fertility": 1.5, "same_vocabulary": False},
        }  # fmt: skip
        notes = {"study": asdict(study), "trial": asdict(trial)}
        notes |= {"result": result} if status == "done" else {"error": "it broke"}
        phases = {"train": energy(cpu_j=train_j, seconds=10.0)}
        phases |= {"evaluate": energy(cpu_j=rest_j, seconds=2.0)} if rest_j else {}
        began_ns = BEGAN_NS + number * HOUR_NS
        seconds = sum(one.duration_s for one in phases.values())
        doc = document(phases, notes=plain(notes), tokens=1000, steps=10, began_ns=began_ns)
        enter(ledger, trial.name, doc, status=status, key=trial.key, kind="trial", study=name, began_ns=began_ns,
              seconds=seconds)  # fmt: skip
    return ledger


HOSTILE = (
    "<!-- lowcarb: end --><script>alert(1)</script>",
    "a\n---\nlicense: evil\n# lowcarb: end\r\n",
    "=cmd|' /C calc'!A0",
    "\\input{/etc/passwd} $x^2$ & 50% #1 _a_ ~ {",
    '"}, @misc{evil, title = "',
    "../../etc/passwd",
    "nul \0 and bell \a",
    "lone \ud800 surrogate",
    "right-to-left \u202e and \u2028 line",
    "x" * 10_000,
    "日本語 ünï ﬀ 😀",
)
