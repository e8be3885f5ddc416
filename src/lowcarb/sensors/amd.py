"""AMD GPUs: an energy counter where one works, the power that the driver shows under hwmon where not.

The kernel says which GPUs there are and what they are called, so a GPU has one id whichever way it is read. `amdsmi`,
which comes with ROCm and gives the counter of data-centre GPUs, is used where it imports and starts, and never needed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from io import StringIO
from math import nan
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from lowcarb.core.energy import MOST_W, Channel, Reading
from lowcarb.core.hardware import DeviceKind
from lowcarb.core.units import UJ_PER_J
from lowcarb.errors import SensorUnavailable
from lowcarb.sensors.amd_cards import IDS, Card, cards, visible
from lowcarb.sensors.gpu import Gpu
from lowcarb.sensors.power_counter import PowerCounter, WatchedCounter
from lowcarb.sensors.sysfs import number

COUNTER_RATIO = 0.10
"""`assumed`: McDaniel et al. 2026 (arXiv 2604.06056) find that the energy counters of MI250X and MI300A follow the
sensors of the board, which lie upstream of the chip and so differ from them; AMD publishes no accuracy."""
POWER_RATIO = 0.15
"""`assumed`: the same sensor, filtered by the firmware and summed up from looks at it."""
COUNTER_RESOLUTION_S = 0.01
"""The same study: filters delay the counters by several milliseconds."""
POWER_RESOLUTION_S = 0.5
"""`assumed`: AMD does not publish the time constant of the power's filter."""
SETTLE_S = 0.05
"""A counter must have moved after this time; live ones move every few milliseconds."""
COUNTER_FACTOR = 3.0
"""A counter that runs so much faster or slower than the power that is shown stands, or is in another unit than it
says; ROCm/amdsmi, issue 22, tells of some that stand. `assumed`: the power may change by as much in between."""
APU_LEAST_W = 1.0
"""`assumed`: a package that runs a program draws more; what shows less is in another unit than it says."""
SMI_POWERS = ("average_socket_power", "current_socket_power", "socket_power")

Ask = Callable[[], float | None]


class _Device:
    """Reads one device: by its counter while that counts, else by its power, summed up.

    Args:
        channel: what is read.
        power_w: asks for the power [W].
        energy_j: asks for the counter [J].
        first_j: what the counter showed; None where power alone is read.
    """

    def __init__(self, channel: Channel, power_w: Ask, energy_j: Ask, first_j: float | None) -> None:
        self.channel = channel
        most_w = MOST_W[channel.kind] if channel.rated_w is None else channel.rated_w
        make = partial(PowerCounter, power_w, most_w=most_w)
        self._counter = WatchedCounter(energy_j, power_w, lambda start_j: make(start_j=start_j), first_j)
        self._pid = os.getpid()

    def read(self, at_s: float) -> tuple[Reading, ...]:
        """Its value [J], beside one that is no number where an answer was none, so that the fault is told."""
        # A forked child has the counter without the thread that keeps it.
        if os.getpid() != self._pid:
            return ()
        value = self._counter.read()
        refused = [Reading(at_s, self.channel.id, nan)] if self._counter.faults() else []
        return () if value is None else (*refused, Reading(at_s, self.channel.id, value))

    def close(self) -> None:
        """Let its thread end."""
        self._counter.close()

    @property
    def cost_cpu_s(self) -> float:
        """Processor time that its own thread has taken so far [s]."""
        return self._counter.cost_cpu_s


class Amd:
    """Energy [J] of the GPUs that this process may use. Make it with `find_amd`.

    Attributes:
        gpus: the GPUs that are read.
        missing: the GPUs that answer neither energy nor power, each with its reason.
        holds_processors: whether they are sockets that hold the processors and the memory too (MI300A).
    """

    name = "amd"

    def __init__(self, gpus: Mapping[Card, _Device], missing: Sequence[SensorUnavailable], smi: Any) -> None:
        self._devices, self._smi = tuple(gpus.values()), smi
        self.gpus = tuple(_described(card) for card in gpus)
        self.missing = tuple(missing)
        self.holds_processors = all(card.is_socket for card in gpus)

    def channels(self) -> tuple[Channel, ...]:
        """One channel a GPU."""
        return tuple(device.channel for device in self._devices)

    def read(self, at_s: float) -> tuple[Reading, ...]:
        """Present values; a GPU that does not answer is left out, and does not spoil the others."""
        return tuple(reading for device in self._devices for reading in device.read(at_s))

    def close(self) -> None:
        """Let amdsmi go, and the threads."""
        for device in self._devices:
            device.close()
        smi, self._smi = self._smi, None
        if smi is not None:
            _answer(smi.amdsmi_shut_down)

    @property
    def cost_cpu_s(self) -> float:
        """Processor time that threads of this sensor have taken so far [s]."""
        return sum(device.cost_cpu_s for device in self._devices)


class Apu:
    """Energy [J] of a processor with a GPU inside: both, as one package. Make it with `find_apu`."""

    name = "amd-apu"

    def __init__(self, card: Card) -> None:
        channel = _channel("amd-apu:cpu", "cpu", "cpu", self.name, card.limit_w, counts=False)
        self._device = _Device(channel, card.power_w, _nothing, None)

    def channels(self) -> tuple[Channel, ...]:
        """One channel: the package."""
        return (self._device.channel,)

    def read(self, at_s: float) -> tuple[Reading, ...]:
        """Its energy until now."""
        return self._device.read(at_s)

    def close(self) -> None:
        """Let the thread end."""
        self._device.close()

    @property
    def cost_cpu_s(self) -> float:
        """Processor time that its thread has taken so far [s]."""
        return self._device.cost_cpu_s


def _channel(name: str, device: str, kind: DeviceKind, sensor: str, rated_w: float | None, *, counts: bool) -> Channel:
    ratio = COUNTER_RATIO if counts else POWER_RATIO
    return Channel(
        id=name,
        device=device,
        kind=kind,
        # Power is summed up to a counter here.
        quantity="counter",
        sensor=sensor,
        basis="measured",
        low_ratio=1.0 - ratio,
        high_ratio=1.0 + ratio,
        rated_w=rated_w,
        resolution_s=COUNTER_RESOLUTION_S if counts else POWER_RESOLUTION_S,
    )


def find_amd(
    sysfs_root: Path,
    environ: Mapping[str, str],
    *,
    dev_root: Path | None = None,
    smi: Any = None,
    ids: Path = IDS,
    clock: Callable[[], float] = monotonic,
) -> Amd:
    """Open the AMD GPUs that ROCm gives to this process. Integrated ones are the processor's: see `find_apu`.

    Args:
        sysfs_root: where sysfs is mounted, `/sys` on a real machine.
        environ: the environment variables.
        dev_root: where device files are; None to take all GPUs that sysfs shows.
        smi: the amdsmi module; the installed one, if there is one, unless given.
        ids: a list of GPU names.
        clock: a monotonic clock [s].

    Raises:
        SensorUnavailable: no GPU, none left visible, parts of GPUs, or none that answers.
    """
    found = cards(sysfs_root, dev_root=dev_root, ids=ids)
    if all(card.is_integrated for card in found):
        raise SensorUnavailable("amd", "no AMD GPU besides integrated ones", "")
    # ROCm numbers the integrated ones too, so they are left out last.
    chosen = [card for card in visible(environ, found, sysfs_root) if not card.is_integrated]
    if not chosen:
        raise SensorUnavailable("amd", "only an integrated GPU is chosen", "Nothing to do: it is read as the processor")
    missing: list[SensorUnavailable] = []
    smi = _started(smi, missing)
    handles = _handles(smi)
    counters = {card: ask for card in chosen if (ask := _counter(card, smi, handles))}
    firsts_j = _counting(counters, clock)
    opened: dict[Card, _Device] = {}
    for card in chosen:
        power_w, first_j = _power(card, smi, handles), firsts_j.get(card)
        if power_w is None and first_j is None:
            missing.append(_mute(card))
            continue
        name, counts = f"amd:{card.address}", first_j is not None
        channel = _channel(name, card.device, "gpu", Amd.name, card.limit_w, counts=counts)
        opened[card] = _Device(channel, power_w or _nothing, counters.get(card, _nothing), first_j)
    gpus = Amd(opened, missing, smi)
    if not opened:
        gpus.close()
        raise missing[-1]
    return gpus


def find_apu(sysfs_root: Path, *, dev_root: Path | None = None) -> Apu:
    """Open the package of an AMD processor with a GPU inside, where nothing better counts the processor.

    Anyone may read it, unlike RAPL. Both count the same package, so they are never read together.

    Args:
        sysfs_root: where sysfs is mounted, `/sys` on a real machine.
        dev_root: where device files are; None to take all GPUs that sysfs shows.

    Raises:
        SensorUnavailable: no such processor, or it tells no power that can be.
    """
    found = [card for card in cards(sysfs_root, dev_root=dev_root) if card.is_integrated]
    if not found:
        raise SensorUnavailable("amd-apu", "no AMD processor with a GPU inside", "")
    if len(found) > 1 or (found[0].power_w() or 0.0) < APU_LEAST_W:
        raise SensorUnavailable("amd-apu", f"{found[0].name} tells no power of its package", "Update the kernel")
    return Apu(found[0])


def _described(card: Card) -> Gpu:
    return Gpu(uuid=card.device, name=card.name, memory_bytes=card.memory_bytes, limit_w=card.limit_w)


def _mute(card: Card) -> SensorUnavailable:
    return SensorUnavailable(
        "amd",
        f"{card.name} ({card.device}) answers neither energy nor power",
        "Nothing to do on a card of two dies (MI250), whose first die counts both, or in a virtual machine",
    )


def _started(smi: Any, missing: list[SensorUnavailable]) -> Any:
    """The amdsmi module, ready to be asked, or None; an installed one that does not work is among the missing."""
    if smi is None and find_spec("amdsmi") is None:
        return None
    try:
        # Without ROCm's library its wrapper prints to stdout, which is another's.
        with redirect_stdout(StringIO()):
            smi = import_module("amdsmi") if smi is None else smi
            smi.amdsmi_init()
    # And then it raises KeyError, or whatever else.
    except (Exception, SystemExit) as error:  # noqa: BLE001
        reason = f"amdsmi is installed but does not start ({type(error).__name__}), so GPUs are read without it"
        remedy = "pip uninstall amdsmi, or install the one that comes with your ROCm: other programs trip over it"
        missing.append(SensorUnavailable("amdsmi", reason, remedy))
        return None
    return smi


def _handles(smi: Any) -> dict[str, Any]:
    """What amdsmi calls each GPU, by its address."""
    if smi is None:
        return {}
    listed = _answer(smi.amdsmi_get_processor_handles) or ()
    places = [(_answer(partial(smi.amdsmi_get_gpu_device_bdf, one)), one) for one in listed]
    return {str(address).lower(): one for address, one in places if address is not None}


def _counter(card: Card, smi: Any, handles: Mapping[str, Any]) -> Ask | None:
    """How to read a GPU's cumulated energy [J], if there is a way."""
    handle = handles.get(card.address)
    if handle is not None:
        return lambda: _answer(lambda: _energy_j(smi.amdsmi_get_energy_count(handle)))
    file = None if card.hwmon is None else card.hwmon / "energy1_input"
    if file is None or number(file) is None:
        return None
    return lambda: None if (energy_uj := number(file)) is None else energy_uj / UJ_PER_J


def _energy_j(answer: Mapping[str, Any]) -> float:
    """Energy [J]: so many steps of a resolution in microjoules; up to ROCm 6.0 the count was called `power`."""
    steps = answer["energy_accumulator"] if "energy_accumulator" in answer else answer["power"]
    return float(steps) * float(answer["counter_resolution"]) / UJ_PER_J


def _power(card: Card, smi: Any, handles: Mapping[str, Any]) -> Ask | None:
    """How to read a GPU's power [W], if there is a way. One that shows 0 W does not measure."""
    if card.power_w():
        return card.power_w
    handle = handles.get(card.address)
    if handle is None:
        return None

    def ask() -> float | None:
        told = _answer(lambda: smi.amdsmi_get_power_info(handle)) or {}
        return next((float(told[name]) for name in SMI_POWERS if _is_power(told.get(name))), None)

    return ask if ask() else None


def _is_power(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def _counting(candidates: Mapping[Card, Ask], clock: Callable[[], float]) -> dict[Card, float]:
    """The counters that move about as fast as the power that is shown says, with their values [J]."""
    if not candidates:
        return {}
    before = {card: (clock(), _answer(ask)) for card, ask in candidates.items()}
    sleep(SETTLE_S)
    counting = {}
    for card, ask in candidates.items():
        (then_s, then_j), now_s, now_j = before[card], clock(), _answer(ask)
        if then_j is not None and now_j is not None and now_s > then_s:
            mean_w, shown_w = (now_j - then_j) / (now_s - then_s), card.power_w()
            if mean_w > 0 and (not shown_w or 1.0 / COUNTER_FACTOR < mean_w / shown_w < COUNTER_FACTOR):
                counting[card] = now_j
    return counting


def _nothing() -> None:
    """Stands in for a question that a device does not answer."""


def _answer(ask: Callable[[], Any]) -> Any:
    """What a question gives, or None where it fails: one GPU must not spoil the others."""
    try:
        return ask()
    except Exception:  # noqa: BLE001  # amdsmi's wrapper may raise anything
        return None
