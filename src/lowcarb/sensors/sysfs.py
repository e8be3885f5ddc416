"""The small files of sysfs, any of which may be missing, locked or empty."""

from __future__ import annotations

import os
from math import isfinite
from pathlib import Path

from lowcarb.core.units import UJ_PER_J

SMALL_BYTES = 4096
"""sysfs gives a page at most, and the lines that are wanted of procfs stand at its beginning."""
READ_ONLY = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
"""What stands in a file's place and has nothing to say, such as a pipe, is not waited for."""
UW_PER_W = UJ_PER_J
"""The kernel shows power in microwatts (Documentation/hwmon/sysfs-interface and ABI/testing/sysfs-class-power)."""


def read_small(path: Path, most_bytes: int = SMALL_BYTES) -> str:
    """What a small file holds, or the first bytes of a longer one. Raises OSError.

    A reading a second finds nothing of itself in the processor's caches, and there the layers of `open` cost more than
    the rest of a reading.
    """
    descriptor = os.open(path, READ_ONLY)
    try:
        return os.read(descriptor, most_bytes).decode("utf-8", "replace")
    finally:
        os.close(descriptor)


class KeptFile:
    """Reads a small file again and again, and keeps it open: opening takes more than half of a reading.

    A file that says the same as the last time is opened anew: it may have been replaced, or be gone.
    """

    __slots__ = ("_descriptor", "_path", "_said")

    def __init__(self, path: Path) -> None:
        self._path, self._descriptor, self._said = str(path), -1, b""

    def __call__(self) -> bytes:
        """What the file holds now. Raises OSError."""
        if self._descriptor >= 0:
            try:
                said = os.pread(self._descriptor, SMALL_BYTES, 0)
            except OSError:
                said = self._said
            if said != self._said:
                self._said = said
                return said
            self.close()
        self._descriptor = os.open(self._path, READ_ONLY)
        try:
            self._said = os.read(self._descriptor, SMALL_BYTES)
        except OSError:
            self.close()
            raise
        return self._said

    def close(self) -> None:
        """Close it. May be called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def text(path: Path) -> str:
    """What a file holds, without space around it; empty where it cannot be read."""
    try:
        return read_small(path).strip()
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
