"""Sourced figures: devices, sites, processors, models, tasks, equivalents. `Catalogue.load()` gives them all."""

from __future__ import annotations

from lowcarb.catalogue.catalogue import Catalogue
from lowcarb.catalogue.records import Cpu, CpuFamily, Equivalent, ModelFacts, Task

__all__ = ["Catalogue", "Cpu", "CpuFamily", "Equivalent", "ModelFacts", "Task"]
