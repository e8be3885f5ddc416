"""Sourced figures: devices, sites, processors, models and their published trainings, tasks, equivalents.

`Catalogue.load()` gives them all.
"""

from __future__ import annotations

from lowcarb.catalogue.catalogue import Catalogue
from lowcarb.catalogue.records import Cpu, CpuFamily, Equivalent, Memory, ModelFacts, Published, Task

__all__ = ["Catalogue", "Cpu", "CpuFamily", "Equivalent", "Memory", "ModelFacts", "Published", "Task"]
