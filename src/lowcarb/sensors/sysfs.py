"""The small files of sysfs, any of which may be missing, locked or empty."""

from __future__ import annotations

from math import isfinite
from pathlib import Path

from lowcarb.core.units import UJ_PER_J

UW_PER_W = UJ_PER_J
"""The kernel shows power in microwatts (Documentation/hwmon/sysfs-interface and ABI/testing/sysfs-class-power)."""


def text(path: Path) -> str:
    """What a file holds, without space around it; empty where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def number(path: Path) -> float | None:
    """The number that a file holds, or None."""
    try:
        value = float(text(path))
    except ValueError:
        return None
    return value if isfinite(value) else None


def watts(path: Path) -> float | None:
    """The power [W] that a file holds in microwatts, or None."""
    power_uw = number(path)
    return None if power_uw is None else power_uw / UW_PER_W
