"""Processors and memory through RAPL: the energy counters that Linux shows under /sys/class/powercap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import sleep

from lowcarb.core.energy import Channel, Reading
from lowcarb.core.hardware import DeviceKind
from lowcarb.core.units import UJ_PER_J
from lowcarb.errors import SensorUnavailable
from lowcarb.sensors.sysfs import KeptFile, read_small

PACKAGE_RATIO = 0.10
"""Intel's package counter lies within a few per cent of a reference from Haswell on (Khan et al. 2018, ACM TOMPECS 3,
RAPL in Action); AMD models its own and is further off (Schöne et al. 2021, IEEE CLUSTER, on Zen 2)."""
DRAM_RATIO = 0.20
"""Desrochers, Paradis and Weaver 2016 (MEMSYS): DRAM counters within 20 % of a measurement at the module."""
PSYS_RATIO = 0.10
"""No published check; the board maker calibrates it."""
MOST_PLAUSIBLE_W = 1000.0
"""Firmware that sets no limit reports one of several kilowatts; no socket sold by 2026 draws 1 kW."""
SETTLE_S = 0.02
"""A counter that still stands at 0 after this time counts nothing; live ones move every millisecond."""
STILL_S = 2.0
"""A counter that has stood still for so long counts nothing any more [s], whatever it says; live ones move every
millisecond. `assumed`: what a hypervisor or a recorded tree passes on may be renewed once a second."""
RESTING = "uncore"
"""The one part that may draw nothing for a while: a graphics unit that is off."""
RESOLUTION_S = 0.001
"""The counters move about every millisecond (Intel SDM volume 3B, 15.10.2; AMD likewise)."""
UW_PER_W = UJ_PER_J

REMEDY = """Since 2020 (CVE-2020-8694) only root may read it. Let an administrator give it to a group, once:
    groupadd --system powercap && usermod --append --groups powercap YOUR_NAME
    put into /etc/udev/rules.d/70-powercap.rules the line
    SUBSYSTEM=="powercap", ACTION=="add", RUN+="/bin/chgrp -f powercap /sys%p/energy_uj", \
RUN+="/bin/chmod -f 0440 /sys%p/energy_uj"
    udevadm control --reload && udevadm trigger --subsystem-match=powercap --action=add
and log in again. Do not make it readable by all: it leaks what other users compute"""

_KINDS: dict[str, tuple[DeviceKind, float]] = {
    "package": ("cpu", PACKAGE_RATIO),
    "core": ("cpu", PACKAGE_RATIO),
    "uncore": ("cpu", PACKAGE_RATIO),
    "dram": ("dram", DRAM_RATIO),
    "psys": ("machine", PSYS_RATIO),
}


@dataclass(frozen=True, slots=True)
class Domain:
    """One counter of the powercap tree."""

    path: Path
    part: str
    """What it counts: package, dram, psys, core or uncore."""
    device: str
    """The physical thing, such as `package-0` or `package-0-dram`."""
    check: bool = False
    """Whether it contains others that are read."""


class _Counter:
    """A counter as it is read, with what it showed last [µJ] and when that was first seen [s]."""

    __slots__ = ("ask", "channel", "rests", "seen_s", "shown_uj")

    def __init__(self, ask: Callable[[], str | bytes], channel: str, *, rests: bool) -> None:
        self.ask, self.channel, self.rests = ask, channel, rests
        self.shown_uj, self.seen_s = -1.0, 0.0


class Rapl:
    """Energy [J] of processor packages and their memory. Make it with `find_rapl`."""

    name = "rapl"

    def __init__(
        self,
        domains: tuple[Domain, ...],
        read_text: Callable[[Path], str],
        package_rated_w: float | None,
        *,
        keep_open: bool = False,
    ) -> None:
        self.domains = domains
        self._channels = tuple(_channel(domain, read_text, package_rated_w) for domain in domains)
        files = [domain.path / "energy_uj" for domain in domains]
        self._kept = [KeptFile(file) for file in files] if keep_open else []
        asks: Sequence[Callable[[], str | bytes]] = self._kept or [partial(read_text, file) for file in files]
        self._counters = tuple(
            _Counter(ask, channel.id, rests=domain.part == RESTING)
            for ask, channel, domain in zip(asks, self._channels, domains, strict=True)
        )

    def channels(self) -> tuple[Channel, ...]:
        """One channel a domain; no domain lies in another, except in one that is a check."""
        return self._channels

    def read(self, at_s: float) -> tuple[Reading, ...]:
        """Present counters; a domain that cannot be read, or whose counter stands still, is left out.

        A counter that has not moved says no more than it did, so until it is left out it keeps the time at which its
        value was first seen: should it move again, nothing is lost, and should it not, that is where the gap begins.
        """
        readings = []
        for counter in self._counters:
            try:
                energy_uj = float(counter.ask())
            except (OSError, ValueError):
                continue
            if energy_uj != counter.shown_uj or counter.rests:
                counter.shown_uj, counter.seen_s = energy_uj, at_s
            if at_s - counter.seen_s <= STILL_S:
                readings.append(Reading(counter.seen_s, counter.channel, energy_uj / UJ_PER_J))
        return tuple(readings)

    def close(self) -> None:
        """Close the files."""
        for file in self._kept:
            file.close()


def find_rapl(
    sysfs_root: Path,
    *,
    package_rated_w: float | None = None,
    read_text: Callable[[Path], str] | None = None,
) -> Rapl:
    """Open the energy counters of this machine's processors.

    Packages and their DRAM are preferred; psys, which contains them with the rest of the board, is a check beside them
    and stands for them where there is no package; core with uncore are read only where there is neither.

    Args:
        sysfs_root: where sysfs is mounted, `/sys` on a real machine.
        package_rated_w: rated power of one package [W] where the tree states none, as on AMD.
        read_text: how a file is read; files that are read again and again are kept open where None.

    Raises:
        SensorUnavailable: no counters, none that this user may read, or none that counts.
    """
    keep_open, read_text = read_text is None, read_text or read_small
    domains = _chosen(_domains(sysfs_root / "class" / "powercap", read_text))
    if not domains:
        raise SensorUnavailable(
            "rapl",
            f"no energy counters under {sysfs_root / 'class' / 'powercap'}",
            "Virtual machines and containers rarely pass them on; on bare metal load the module intel_rapl_msr",
        )
    usable = []
    for domain in domains:
        try:
            _must_count(domain, read_text)
            usable.append(domain)
        except SensorUnavailable:
            # A part of the processors would pass for all of them, so one locked package locks the sensor.
            if domain.part != "dram" and not domain.check:
                raise
    return Rapl(tuple(usable), read_text, package_rated_w, keep_open=keep_open)


def _must_count(domain: Domain, read_text: Callable[[Path], str]) -> None:
    """Raise SensorUnavailable unless this counter can be read and counts."""
    file = domain.path / "energy_uj"
    try:
        if float(read_text(file)) > 0:
            return
        sleep(SETTLE_S)
        if float(read_text(file)) > 0:
            return
    except PermissionError as error:
        raise SensorUnavailable("rapl", f"{file} may not be read", REMEDY) from error
    except (OSError, ValueError) as error:
        raise SensorUnavailable("rapl", f"{file} gives no number ({error})", "Update the kernel or firmware") from error
    raise SensorUnavailable(
        "rapl", f"{file} stays at 0", "Usual in virtual machines, whose host keeps the counter to itself"
    )


def _domains(powercap: Path, read_text: Callable[[Path], str]) -> list[Domain]:
    """Every counter of the tree, those behind MSRs before the same ones behind MMIO."""
    # The kernel links every zone into one flat folder; recorded trees often keep only the nested folders behind it.
    patterns = ("intel-rapl*:*", "intel-rapl*/intel-rapl*:*", "intel-rapl*/intel-rapl*/intel-rapl*:*:*")
    paths: dict[str, Path] = {}
    for path in (path for pattern in patterns for path in powercap.glob(pattern)):
        paths.setdefault(path.name, path)
    labels = {name: _text(path / "name", read_text) for name, path in paths.items()}
    found = []
    for name in sorted(paths, key=lambda name: ("mmio" in name, name)):
        part = labels[name].split("-")[0]
        if part in _KINDS and (paths[name] / "energy_uj").exists():
            above = labels.get(name.rpartition(":")[0], "")
            found.append(Domain(paths[name], part, f"{above}-{labels[name]}" if above else labels[name]))
    return found


def _chosen(domains: Iterable[Domain]) -> list[Domain]:
    """Domains that together count each joule once, and those that check them."""
    once: dict[str, Domain] = {}
    for domain in domains:
        once.setdefault(domain.device, domain)
    for wanted in (("package", "dram"), ("psys",), ("core", "uncore", "dram")):
        picked = [domain for domain in once.values() if domain.part in wanted]
        if any(domain.part == wanted[0] for domain in picked):
            checks = [domain for domain in once.values() if domain.part == "psys" and wanted[0] == "package"]
            return picked + [replace(domain, check=True) for domain in checks]
    return []


def _channel(domain: Domain, read_text: Callable[[Path], str], package_rated_w: float | None) -> Channel:
    kind, ratio = _KINDS[domain.part]
    rated_w = _rated_w(domain.path, read_text)
    if rated_w is None and domain.part == "package":
        rated_w = package_rated_w
    range_uj = _number(domain.path / "max_energy_range_uj", read_text)
    return Channel(
        id=f"rapl:{domain.device}",
        device=domain.device,
        kind=kind,
        quantity="counter",
        sensor="rapl",
        basis="measured",
        low_ratio=1.0 - ratio,
        high_ratio=1.0 + ratio,
        rated_w=rated_w,
        range_j=range_uj / UJ_PER_J if range_uj else None,
        resolution_s=RESOLUTION_S,
        check=domain.check,
    )


def _rated_w(path: Path, read_text: Callable[[Path], str]) -> float | None:
    """The most that a domain draws for longer than a moment [W]: the largest of its limits that makes sense.

    The limit may lie above max_power, the rated power, where the board lets the processor run hotter.
    """
    limits = [
        uw / UW_PER_W
        for pattern in ("constraint_*_max_power_uw", "constraint_*_power_limit_uw")
        for file in path.glob(pattern)
        if (uw := _number(file, read_text)) is not None
    ]
    return max((watts for watts in limits if 0 < watts <= MOST_PLAUSIBLE_W), default=None)


def _text(path: Path, read_text: Callable[[Path], str]) -> str:
    try:
        return read_text(path).strip()
    except (OSError, ValueError):
        return ""


def _number(path: Path, read_text: Callable[[Path], str]) -> float | None:
    try:
        return float(_text(path, read_text))
    except ValueError:
        return None
