"""A power cap or a clock lock on NVIDIA GPUs for as long as a training lasts, through NVML.

    with gpu_limits(share=0.7) as limits:
        trainer.train()

The limits are taken back on any exit: normal, by an exception, by SIGTERM or SIGHUP, or when the interpreter ends.
Before anything is set, a file in lowcarb's home says what was there before: after a SIGKILL or a power cut the next
`gpu_limits`, or `restore_leftover`, takes back what is left. Root is never sought: where the driver refuses, the error
names the command that an administrator would type.

Untried on a real GPU: it was tested against a simulated NVML only.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from types import FrameType
from typing import Any

from lowcarb.core.units import MEGA
from lowcarb.errors import SensorUnavailable, SettingError
from lowcarb.integrations.limit_cards import begun, cards, shown
from lowcarb.integrations.limit_notes import (
    MW_PER_W,
    by_hand,
    clock_command,
    dead_notes,
    notes_in,
    power_command,
    read_note,
    take_back,
)
from lowcarb.ledger.home import PRIVATE_DIRECTORY, home
from lowcarb.sensors.gpu import Gpu
from lowcarb.tracker.process import Process, is_alive, this_process

FOLDER = "limits"
NO_PERMISSION = 4
"""NVML_ERROR_NO_PERMISSION."""
CLOCK_GRAPHICS = 0
"""NVML_CLOCK_GRAPHICS."""
ENDINGS = (signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C is an exception by itself."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limited:
    """What was set on one GPU."""

    uuid: str
    name: str
    power_w: float | None
    """The cap [W]; None where none was set."""
    power_before_w: float | None
    clock_hz: float | None
    """The lock [Hz]; None where none was set."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is in force within the block."""

    gpus: tuple[Limited, ...]
    refused: tuple[str, ...] = ()
    """What the driver did not permit, each with the command that would do it; empty unless `required` is False."""


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is to be set on one GPU, in NVML's units, and what was there before."""

    gpu: Gpu
    handle: Any
    power_mw: int | None
    power_before_mw: int | None
    clock_mhz: int | None


@contextmanager
def gpu_limits(
    *, power_w: float | None = None, share: float | None = None, clock_hz: float | None = None,
    clock_share: float | None = None, required: bool = True, home_path: Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Iterator[Limits]:  # fmt: skip
    """Limit the GPUs that CUDA leaves to this process; take the limits back at the end, however it comes.

    Signals are heeded where this is entered in the main thread, as Python wants it.

    Args:
        power_w: cap of each GPU [W].
        share: cap as a share of each GPU's default limit, in place of `power_w`.
        clock_hz: graphics clock to lock each GPU to [Hz]. NVML does not tell an earlier lock, so one that somebody
            else had set is gone afterwards.
        clock_share: the lock as a share of each GPU's highest graphics clock, in place of `clock_hz`.
        required: False goes on without the limits that are refused, and says so in `Limits.refused` and the log.
        home_path: where notes of what was set are kept; lowcarb's home unless given.
        environ: for CUDA_VISIBLE_DEVICES.

    Raises:
        SettingError: nothing or too much is asked for, a value outside what a GPU allows, or another run limits it.
        SensorUnavailable: no NVML, no such GPU, or a refusal, with what to type.
    """
    wanted = _Wanted(power_w, share, clock_hz, clock_share)
    wanted.check()
    notes = (home() if home_path is None else home_path) / FOLDER
    with begun() as nvml:
        for line in _restored(nvml, notes):
            _log.warning("%s", line)
        wishes = [_wish(nvml, gpu, handle, wanted) for gpu, handle in shown(nvml, environ)]
        held = _Held(nvml, notes)
        with held:
            refused = tuple(refusal for wish in wishes for refusal in held.apply(wish, required=required))
            for refusal in refused:
                _log.warning("not limited: %s", refusal)
            yield Limits(tuple(held.limited), refused)


def restore_leftover(home_path: Path | None = None) -> tuple[str, ...]:
    """Take back limits of runs that were killed; a sentence for each, with what to type where that is refused.

    Nothing is looked up where there is no note of any. It does not raise.
    """
    notes = (home() if home_path is None else home_path) / FOLDER
    if not notes_in(notes):
        return ()
    try:
        with begun() as nvml:
            return tuple(_restored(nvml, notes))
    except SensorUnavailable as error:
        return tuple(f"{by_hand(note)} (NVML is not there: {error.reason})" for note in dead_notes(notes))


def leftover(home_path: Path | None = None) -> tuple[str, ...]:
    """What runs that were killed left set, each with the command that takes it back. Nothing is changed."""
    return tuple(by_hand(note) for note in dead_notes((home() if home_path is None else home_path) / FOLDER))


# What is asked for.


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is asked for, of every GPU."""

    power_w: float | None
    share: float | None
    clock_hz: float | None
    clock_share: float | None

    def check(self) -> None:
        if self.power_w is None and self.share is None and self.clock_hz is None and self.clock_share is None:
            raise SettingError("power_w", None, "a cap [W], or give a share, clock_hz or clock_share")
        if self.power_w is not None and self.share is not None:
            raise SettingError("share", self.share, "not given together with power_w: both are the cap")
        if self.clock_hz is not None and self.clock_share is not None:
            raise SettingError("clock_share", self.clock_share, "not given together with clock_hz: both are the lock")
        for name, most in (("power_w", None), ("share", 1.0), ("clock_hz", None), ("clock_share", 1.0)):
            value = getattr(self, name)
            if value is not None and not (isfinite(value) and 0.0 < value <= (most or value)):
                raise SettingError(name, value, "above 0 and at most 1" if most else "a finite number above 0")


def _wish(nvml: Any, gpu: Gpu, handle: Any, wanted: _Wanted) -> _Wish:
    power_w, share = wanted.power_w, wanted.share
    power_mw = before_mw = None
    if power_w is not None or share is not None:
        try:
            low_mw, high_mw = nvml.nvmlDeviceGetPowerManagementLimitConstraints(handle)
            before_mw = nvml.nvmlDeviceGetPowerManagementLimit(handle)
            default_mw = nvml.nvmlDeviceGetPowerManagementDefaultLimit(handle)
        except nvml.NVMLError as error:
            raise SensorUnavailable(
                "nvml", f"{gpu.name} ({gpu.uuid}) tells no power limit ({error})", "It cannot be capped: leave it out"
            ) from error
        name, value = ("power_w", power_w) if power_w is not None else ("share", share)
        power_mw = round(power_w * MW_PER_W) if power_w is not None else round((share or 0.0) * default_mw)
        if not low_mw <= power_mw <= high_mw:
            bounds = f"{low_mw / MW_PER_W:g} to {high_mw / MW_PER_W:g} W"
            of = "" if share is None else f" ({low_mw / default_mw:.2f} to {high_mw / default_mw:.2f} of the default)"
            raise SettingError(name, value, f"{bounds}{of}, which is what {gpu.name} ({gpu.uuid}) allows")
    clock_mhz = _clock_mhz(nvml, gpu, handle, wanted)
    return _Wish(gpu, handle, power_mw, before_mw, clock_mhz)


def _clock_mhz(nvml: Any, gpu: Gpu, handle: Any, wanted: _Wanted) -> int | None:
    """The clock to lock to; None where none is asked for."""
    most_mhz: int | None = None
    with suppress(nvml.NVMLError):
        most_mhz = nvml.nvmlDeviceGetMaxClockInfo(handle, CLOCK_GRAPHICS)
    if wanted.clock_share is not None:
        if most_mhz is None:
            raise SensorUnavailable("nvml", f"{gpu.name} ({gpu.uuid}) tells no highest clock", "Give clock_hz")
        return max(1, round(wanted.clock_share * most_mhz))
    if wanted.clock_hz is None:
        return None
    if most_mhz is not None and round(wanted.clock_hz / MEGA) > most_mhz:
        expected = f"at most {most_mhz * MEGA:g}, the highest graphics clock of {gpu.name} ({gpu.uuid})"
        raise SettingError("clock_hz", wanted.clock_hz, expected)
    return max(1, round(wanted.clock_hz / MEGA))


def _refusal(error: Exception, gpu: Gpu, what: str, command: str) -> SensorUnavailable:
    denied = getattr(error, "value", None) == NO_PERMISSION
    reason = f"the driver does not let this user set the {what} of {gpu.name} ({gpu.uuid})"
    if not denied:
        reason = f"the {what} of {gpu.name} ({gpu.uuid}) cannot be set ({error})"
    remedy = f"An administrator can, before the run: sudo {command}" if denied else "Leave this limit out"
    return SensorUnavailable("nvml", reason, remedy)


# In force.


class _Held:
    """Limits in force, from entering to leaving; taken back once, by whatever end comes first."""

    def __init__(self, nvml: Any, notes: Path) -> None:
        self._nvml, self._notes = nvml, notes
        self._pid = os.getpid()
        self._files: list[tuple[Path, _Wish]] = []
        self._before: dict[int, Any] = {}
        self.limited: list[Limited] = []

    def __enter__(self) -> None:
        atexit.register(self.restore)
        if threading.current_thread() is threading.main_thread():
            for number in ENDINGS:
                # Not where it is ignored, as under nohup, or was set by another language.
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._end)

    def __exit__(self, *_: object) -> None:
        self.restore()
        atexit.unregister(self.restore)
        for number, before in self._before.items():
            # Whoever took the signal since will call this one, which has nothing left to do.
            if signal.getsignal(number) == self._end:
                signal.signal(number, before)

    def apply(self, wish: _Wish, *, required: bool) -> tuple[str, ...]:
        """Set it, after a note of it; what was refused."""
        path = _claim(self._notes, wish)
        self._files.append((path, wish))
        refused: list[str] = []

        def attempt(setting: Callable[[], object], what: str, command: str) -> bool:
            try:
                setting()
            except self._nvml.NVMLError as error:
                refusal = _refusal(error, wish.gpu, what, command)
                if required:
                    self._files[-1] = (path, done)
                    raise refusal from error
                refused.append(str(refusal))
                return False
            return True

        done = replace(wish, power_mw=None, clock_mhz=None)
        uuid, nvml, power_mw, clock_mhz = wish.gpu.uuid, self._nvml, wish.power_mw, wish.clock_mhz
        capped = power_mw is not None and attempt(
            lambda: nvml.nvmlDeviceSetPowerManagementLimit(wish.handle, power_mw),
            "power limit", power_command(uuid, power_mw),
        )  # fmt: skip
        # What is refused is not taken back, or that would be refused as well.
        done = replace(done, power_mw=power_mw if capped else None)
        locked = clock_mhz is not None and attempt(
            lambda: nvml.nvmlDeviceSetGpuLockedClocks(wish.handle, clock_mhz, clock_mhz),
            "clock", clock_command(uuid, clock_mhz),
        )  # fmt: skip
        self._files[-1] = (path, replace(done, clock_mhz=clock_mhz if locked else None))
        self.limited.append(
            Limited(
                uuid, wish.gpu.name,
                power_mw / MW_PER_W if capped and power_mw is not None else None,
                None if wish.power_before_mw is None else wish.power_before_mw / MW_PER_W,
                clock_mhz * MEGA if locked and clock_mhz is not None else None,
            )
        )  # fmt: skip
        return tuple(refused)

    def restore(self) -> None:
        """Take back what is set; does nothing the second time, nor in a forked child."""
        if os.getpid() != self._pid:
            return
        while self._files:
            # A signal may come at any point of this and begin again: so each is done before it is forgotten.
            path, wish = self._files[-1]
            told = take_back(self._nvml, wish.handle, _note_of(wish))
            if told is None:
                with suppress(OSError):
                    path.unlink()
            else:
                _log.warning("%s", told)
            with suppress(ValueError):
                self._files.remove((path, wish))

    def _end(self, number: int, frame: FrameType | None) -> None:
        self.restore()
        before = self._before.get(number)
        if callable(before):
            before(number, frame)
        elif before != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


# Notes: one file for each GPU that is limited.


def _note_of(wish: _Wish) -> dict[str, Any]:
    return {
        "uuid": wish.gpu.uuid, "name": wish.gpu.name, "process": this_process().as_dict(),
        "power_mw": wish.power_mw, "power_before_mw": wish.power_before_mw, "clock_mhz": wish.clock_mhz,
    }  # fmt: skip


def _claim(notes: Path, wish: _Wish) -> Path:
    """The note of a GPU, on disk before anything is set.

    Raises:
        SettingError: another run has one.
    """
    notes.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    path, draft = notes / f"{wish.gpu.uuid}.json", notes / f"{wish.gpu.uuid}.{os.getpid()}"
    with draft.open("w", encoding="utf-8") as file:
        json.dump(_note_of(wish), file)
        file.flush()
        os.fsync(file.fileno())
    try:
        # Whole or not at all, and never over another one's.
        path.hardlink_to(draft)
    except FileExistsError:
        by = (read_note(path) or {}).get("process", {}).get("pid", "unknown")
        expected = f"one run at a time to limit a GPU; process {by} limits it, as {path} says"
        raise SettingError("gpu", wish.gpu.uuid, expected) from None
    finally:
        draft.unlink(missing_ok=True)
    return path


def _restored(nvml: Any, notes: Path) -> Iterator[str]:
    """Take back what runs left that are no more; a sentence for each."""
    handles = {gpu.uuid: handle for gpu, handle in cards(nvml)} if notes_in(notes) else {}
    for path, note in notes_in(notes):
        if note is not None and is_alive(Process.from_dict(note["process"])) is not False:
            continue
        if note is not None and note["uuid"] not in handles:
            yield f"{by_hand(note)} (the GPU does not answer now)"
            continue
        told = None if note is None else take_back(nvml, handles[note["uuid"]], note)
        if told is not None:
            yield told
            continue
        with suppress(OSError):
            path.unlink()
        if note is not None:
            yield f"a run that was killed had left limits on {note['uuid']}: they are taken back"
