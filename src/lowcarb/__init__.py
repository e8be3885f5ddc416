"""lowcarb: the carbon footprint of training language models, before, while and after it runs.

    import lowcarb

    with lowcarb.track("fine-tune", site="fra") as run:
        train()
    print(run.footprint().operational_g)

Importing this costs nothing: each name loads its module when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lowcarb.catalogue import Catalogue
    from lowcarb.core.energy import Energy, Reading
    from lowcarb.core.estimate import Estimate
    from lowcarb.core.footprint import Footprint
    from lowcarb.core.forecast import project
    from lowcarb.core.hardware import Device, Machine
    from lowcarb.core.site import Site
    from lowcarb.core.trial import Study, Trial
    from lowcarb.core.workload import ModelSpec, Workload
    from lowcarb.errors import LowcarbError
    from lowcarb.tracker.recover import open_ledger
    from lowcarb.tracker.track import Tracker, track

_HOMES = {
    "Catalogue": "lowcarb.catalogue",
    "Device": "lowcarb.core.hardware",
    "Energy": "lowcarb.core.energy",
    "Estimate": "lowcarb.core.estimate",
    "Footprint": "lowcarb.core.footprint",
    "LowcarbError": "lowcarb.errors",
    "Machine": "lowcarb.core.hardware",
    "ModelSpec": "lowcarb.core.workload",
    "Reading": "lowcarb.core.energy",
    "Site": "lowcarb.core.site",
    "Study": "lowcarb.core.trial",
    "Tracker": "lowcarb.tracker.track",
    "Trial": "lowcarb.core.trial",
    "Workload": "lowcarb.core.workload",
    "open_ledger": "lowcarb.tracker.recover",
    "project": "lowcarb.core.forecast",
    "track": "lowcarb.tracker.track",
}

__all__ = [
    "Catalogue", "Device", "Energy", "Estimate", "Footprint", "LowcarbError", "Machine", "ModelSpec", "Reading", "Site",
    "Study", "Tracker", "Trial", "Workload", "__version__", "open_ledger", "project", "track",
]  # fmt: skip


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'lowcarb' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
