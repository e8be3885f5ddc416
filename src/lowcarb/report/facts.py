"""What a run's attempts, and a checkpoint beside them, tell of its waste."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from lowcarb.core.documents import energy_from_dict, machine_from_dict, site_from_dict
from lowcarb.core.energy import Energy
from lowcarb.core.estimate import total
from lowcarb.core.units import J_PER_KWH
from lowcarb.core.waste import Cards, Look, Lost, RunFacts
from lowcarb.ledger.base import Attempt
from lowcarb.report.records import TRAIN

ACCELERATORS = ("gpu", "tpu", "npu")
STATE_FILE = "trainer_state.json"
ENERGY = "lowcarb/energy_kwh"
"""Under this name a Trainer's log holds the energy so far [kWh]."""
UNKNOWN_YET = ("done", "running")
"""Of an attempt in these states nothing is lost, or nobody knows yet."""


def decisive(attempts: Sequence[Attempt]) -> Attempt | None:
    """The attempt that a run's result rests on: the last one done, else the last one; None of none."""
    done = [attempt for attempt in attempts if attempt.status == "done"]
    return next(reversed(done or list(attempts)), None)


def run_facts(id_: str, name: str, attempts: Sequence[Attempt], looks: tuple[Look, ...] = ()) -> RunFacts:
    """The facts of a run.

    Args:
        id_: of the run.
        name: for people.
        attempts: all of them, oldest first.
        looks: evaluations on the way, where somebody knows them.
    """
    chosen = decisive(attempts)
    document: Mapping[str, Any] = chosen.document if chosen else {}
    energy, train = _energy(document), _phase(document)
    train_energy = _energy(train)
    training = _map(_map(document.get("notes")).get("result")).get("training") or {}
    tokens = training.get("tokens") or document.get("tokens") or None
    return RunFacts(
        id=id_,
        name=name,
        energy_j=energy.energy_j if energy else None,
        train_j=train_energy.energy_j if train_energy else None,
        kept=chosen is not None and chosen.status in UNKNOWN_YET,
        lost=tuple(_lost(one) for one in lost_attempts(attempts)),
        tokens=float(tokens) if tokens else None,
        real_tokens=training.get("real_tokens"),
        train_wall_s=train.get("wall_s"),
        train_cpu_s=train.get("cpu_s"),
        threads=_threads(document),
        cards=_cards(document, train_energy),
        looks=looks,
        site_declared=not document.get("site") or site_from_dict(document["site"]).declared,
        **_processor(energy),
    )


def lost_attempts(attempts: Sequence[Attempt]) -> list[Attempt]:
    """The attempts that no result rests on. One that the next attempt went on from, by its checkpoint, is not lost."""
    resumed = {
        before.id for before, after in pairwise(attempts) if _map(after.document.get("notes")).get("resumed_at_step")
    }
    return [one for one in attempts if one.status not in UNKNOWN_YET and one.id not in resumed]


def looks_of(folder: Path, key: str) -> tuple[Look, ...]:
    """The evaluations that a Hugging Face Trainer's state tells of, if it is of the run with this key; else none."""
    for path in (folder / STATE_FILE, *sorted(folder.glob(f"checkpoint-*/{STATE_FILE}"), key=_step, reverse=True)):
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            saved = state["stateful_callbacks"]["lowcarb"]["attributes"]["key"]
            history = state["log_history"]
            if saved == key:
                return _looks(history)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return ()


def _looks(history: Sequence[Mapping[str, Any]]) -> tuple[Look, ...]:
    seen = [one for one in history if "eval_loss" in one and "epoch" in one]
    energies = [float(one[ENERGY]) for one in seen if one.get(ENERGY) is not None]
    # A training that was taken up again counts from zero: its energies do not tell when.
    whole = len(energies) == len(seen) and all(a <= b for a, b in pairwise(energies))
    known = [energy_kwh * J_PER_KWH for energy_kwh in energies] if whole else [None] * len(seen)
    return tuple(
        Look(float(one["epoch"]), -float(one["eval_loss"]), energy_j) for one, energy_j in zip(seen, known, strict=True)
    )


def _step(path: Path) -> int:
    number = path.parent.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _energy(document: Mapping[str, Any]) -> Energy | None:
    held = document.get("energy")
    energy = energy_from_dict(held) if held else None
    return energy if energy and energy.devices else None


def _phase(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The training phase; the whole run where it has none."""
    return next((phase for phase in document.get("phases", ()) if phase["name"] == TRAIN), document)


def _lost(attempt: Attempt) -> Lost:
    energy = _energy(attempt.document)
    return Lost(attempt.status, energy.energy_j if energy else None)


def _threads(document: Mapping[str, Any]) -> int | None:
    trial = _map(_map(document.get("notes")).get("trial"))
    return trial.get("threads") or _map(document.get("machine")).get("threads")


def _cards(document: Mapping[str, Any], energy: Energy | None) -> Cards | None:
    """The accelerators; None where there are none, several kinds, or none that was read."""
    if energy is None or not energy.duration_s > 0 or not document.get("machine"):
        return None
    installed = [one for one in machine_from_dict(document["machine"]).devices if one.device.kind in ACCELERATORS]
    drawn = [one.energy_j for one in energy.devices if one.kind in ACCELERATORS]
    if not drawn or len({one.device.id for one in installed}) != 1:
        return None
    device, count = installed[0].device, sum(one.count for one in installed)
    return Cards(device.id, count, total(drawn).mid / energy.duration_s / count, device.tdp_w, device.idle_w)


def _processor(energy: Energy | None) -> dict[str, Any]:
    found = next((one for one in energy.devices if one.kind == "cpu"), None) if energy else None
    return {
        "processor_sensor": found.sensor if found else None,
        "processor_basis": found.energy_j.basis if found else None,
    }
