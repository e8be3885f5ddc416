"""Notes of limits that were set on GPUs: what outlives a program that was killed, and how to take it back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lowcarb.core.units import MJ_PER_J
from lowcarb.tracker.process import Process, is_alive

MW_PER_W = MJ_PER_J


def notes_in(notes: Path) -> list[tuple[Path, dict[str, Any] | None]]:
    """The notes in a folder, each with its file; None for a file that is none of ours."""
    try:
        return [(path, read_note(path)) for path in sorted(notes.glob("*.json"))]
    except OSError:
        return []


def read_note(path: Path) -> dict[str, Any] | None:
    """A note; None of a file that is none of ours."""
    try:
        note: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        Process.from_dict(note["process"])
        return note if {"uuid", "power_mw", "power_before_mw", "clock_mhz"} <= note.keys() else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def dead_notes(notes: Path) -> list[dict[str, Any]]:
    """The notes of programs that are no more."""
    return [note for _, note in notes_in(notes) if note and is_alive(Process.from_dict(note["process"])) is False]


def take_back(nvml: Any, handle: Any, note: Mapping[str, Any]) -> str | None:
    """Set a GPU as it was; None where that went well, else what to type.

    A power limit that is not the one that was set is somebody else's by now, and is left as it is.
    """
    try:
        if note["power_mw"] is not None and nvml.nvmlDeviceGetPowerManagementLimit(handle) == note["power_mw"]:
            nvml.nvmlDeviceSetPowerManagementLimit(handle, note["power_before_mw"])
    except nvml.NVMLError as error:
        return f"{by_hand(note)} ({error})"
    try:
        if note["clock_mhz"] is not None:
            nvml.nvmlDeviceResetGpuLockedClocks(handle)
    except nvml.NVMLError as error:
        return f"{by_hand(note)} ({error})"
    return None


def by_hand(note: Mapping[str, Any]) -> str:
    """What is left set, and what an administrator types to take it back."""
    commands = []
    if note["power_mw"] is not None and note["power_before_mw"] is not None:
        commands.append(f"sudo {power_command(note['uuid'], note['power_before_mw'])}")
    if note["clock_mhz"] is not None:
        commands.append(f"sudo nvidia-smi -i {note['uuid']} -rgc")
    return f"limits are left on {note['uuid']}; take them back with: {' && '.join(commands)}"


def power_command(uuid: str, power_mw: int) -> str:
    """The command that sets a power limit."""
    return f"nvidia-smi -i {uuid} -pl {power_mw / MW_PER_W:g}"


def clock_command(uuid: str, clock_mhz: int) -> str:
    """The command that locks the clock."""
    return f"nvidia-smi -i {uuid} -lgc {clock_mhz},{clock_mhz}"
