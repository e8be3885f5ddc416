"""The seam to the machine: what a sensor is.

A sensor is an object with three methods. It knows what it reads and at which basis; it knows nothing of carbon, runs
or files. `find_*` functions in the sibling modules open the sensors of this machine or raise `SensorUnavailable`
with the reason and the remedy. `lowcarb.sensors.replay` is the public fake.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from lowcarb.core.energy import Channel, Reading


@runtime_checkable
class Sensor(Protocol):
    """Reads the energy or the power of one or more devices.

    A sensor is read from one thread at a time, not always the same one. `read` may raise anything: the meter catches
    it, counts it as a fault of this sensor alone, and asks again at the next interval.

    One that reads several devices, each of which may hang, may have `parts`: sensors of one device each. A meter reads
    these in its place.
    """

    @property
    def name(self) -> str:
        """One word, such as `nvml`."""
        ...

    def channels(self) -> tuple[Channel, ...]:
        """What is read. Constant over the sensor's life; channel ids are unique on the machine."""
        ...

    def read(self, at_s: float) -> tuple[Reading, ...]:
        """The channels' present values, stamped with this time [s] of the meter's clock; missing ones left out."""
        ...

    def close(self) -> None:
        """Let go of what is held. May be called twice."""
        ...
