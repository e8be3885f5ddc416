"""What this machine can measure, and the meter that reads it."""

from __future__ import annotations

from lowcarb.sensors.base import Sensor
from lowcarb.sensors.find import Found, find_sensors
from lowcarb.sensors.machine import describe_machine
from lowcarb.sensors.meter import Meter
from lowcarb.sensors.replay import Fault, Replay

__all__ = ["Fault", "Found", "Meter", "Replay", "Sensor", "describe_machine", "find_sensors"]
