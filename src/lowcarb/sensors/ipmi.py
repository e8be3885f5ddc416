"""The power of the whole machine from its management controller (BMC), through `ipmitool` and DCMI."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from lowcarb.errors import SensorUnavailable
from lowcarb.sensors.board import machine_channel
from lowcarb.sensors.slow import FIRST_WAIT_S, PERIOD_S, SlowPower

LIMIT_S = 4.0
"""The most that one question may take; it is put once every `PERIOD_S`."""
DEVICES = ("ipmi0", "ipmi/0", "ipmidev/0")
"""Where ipmitool looks for the controller below /dev."""

REMEDY = """Let an administrator give it to a group, once:
    groupadd --system ipmi && usermod --append --groups ipmi YOUR_NAME
    put into /etc/udev/rules.d/70-ipmi.rules the line
    KERNEL=="ipmi*", GROUP="ipmi", MODE="0660"
    udevadm control --reload && udevadm trigger --subsystem-match=ipmi
and log in again. Who may open it can also switch the machine off"""


def _may_open(device: Path) -> bool:
    return os.access(device, os.R_OK | os.W_OK)


def find_ipmi(
    environ: Mapping[str, str],
    *,
    dev_root: Path = Path("/dev"),
    wait_s: float = FIRST_WAIT_S,
    may_open: Callable[[Path], bool] = _may_open,
) -> SlowPower:
    """Open the management controller of this machine.

    Args:
        environ: the environment variables; PATH says where ipmitool is.
        dev_root: where device files are, `/dev` on a real machine.
        wait_s: how long the first answer is waited for [s].
        may_open: whether this user may open a device.

    Raises:
        SensorUnavailable: no controller, one that this user may not open, no ipmitool, or no power from it.
    """
    device = next((dev_root / name for name in DEVICES if (dev_root / name).exists()), None)
    if device is None:
        raise SensorUnavailable("ipmi", "no management controller", "")
    if not may_open(device):
        raise SensorUnavailable("ipmi", f"{device} may not be opened", REMEDY)
    from shutil import which  # noqa: PLC0415  # it brings three compressors, which take half a megabyte

    tool = which("ipmitool", path=environ.get("PATH", os.defpath))
    if tool is None:
        raise SensorUnavailable("ipmi", f"there is {device} but no ipmitool", "Install the package ipmitool")
    sensor = SlowPower(machine_channel("ipmi", resolution_s=PERIOD_S + LIMIT_S), lambda: _power_w(tool))
    sensor.first(wait_s)
    return sensor


def _power_w(tool: str) -> float:
    import subprocess  # noqa: PLC0415  # few machines have a controller

    command = [tool, "dcmi", "power", "reading"]
    environ = {"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)}
    try:
        done = subprocess.run(  # noqa: S603  # a program by its full path with fixed arguments
            command, capture_output=True, text=True, timeout=LIMIT_S, stdin=subprocess.DEVNULL, env=environ, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise _unavailable(f"{tool} does not run to its end ({type(error).__name__})") from error
    if done.returncode != 0:
        raise _unavailable(f"{tool} ends with {done.returncode}: {done.stderr.strip()[:100]}")
    return power_in(done.stdout)


def power_in(answer: str) -> float:
    """The present power [W] in what `ipmitool dcmi power reading` prints.

    Raises:
        SensorUnavailable: it is not in there, its measurement is off, or it is 0, which no running machine draws.
    """
    match = re.search(r"Instantaneous power reading:\s*(\d+)\s*Watts", answer)
    state = re.search(r"Power reading state is:\s*(\w+)", answer)
    if match is None:
        raise _unavailable("the controller tells no power")
    if state is not None and state.group(1) != "activated":
        raise _unavailable(f"the controller's power measurement is {state.group(1)}")
    if float(match.group(1)) == 0.0:
        raise _unavailable("the controller tells 0 W")
    return float(match.group(1))


def _unavailable(reason: str) -> SensorUnavailable:
    return SensorUnavailable("ipmi", reason, "See what `ipmitool dcmi power reading` prints")
