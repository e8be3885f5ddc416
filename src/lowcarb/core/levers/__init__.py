"""Levers: pure functions from a trial to a trial that trains for less, each with its claim, limits and drawbacks.

    pull(trial, [parse_pulled("bf16"), parse_pulled("freeze-layers=3")], able)

`LEVERS` is the library, in the order in which levers are pulled; it says which ones there are. A lever that this
trial or device cannot stand is refused before anything trains, by name and with the reason.
"""

from __future__ import annotations

from lowcarb.core.levers.base import Able, Claim, Kind, Lever
from lowcarb.core.levers.pulling import LEVERS, Pulled, clash, in_order, lever_of, parse_pulled, pull

__all__ = [
    "LEVERS",
    "Able",
    "Claim",
    "Kind",
    "Lever",
    "Pulled",
    "clash",
    "in_order",
    "lever_of",
    "parse_pulled",
    "pull",
]
