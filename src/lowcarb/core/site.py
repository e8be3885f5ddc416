"""`Site`: where the electricity comes from, and what the building adds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lowcarb.core.estimate import Estimate
from lowcarb.errors import SettingError

Accounting = Literal["location, lifecycle", "location, direct", "market"]


@dataclass(frozen=True, slots=True)
class Site:
    """A place with its grid and its building.

    Raises:
        SettingError: a PUE below 1, or a negative intensity, water use or price.
    """

    id: str
    """Zone of the catalogue, such as `fra` or `us-ca`; `world` where the place is unknown."""
    name: str
    intensity_g_per_kwh: Estimate
    """Carbon of the electricity [gCO2e/kWh]."""
    accounting: Accounting
    pue: Estimate
    """Facility energy over machine energy, dimensionless, at least 1."""
    wue_l_per_kwh: Estimate | None
    """Water evaporated on site for cooling [l per kWh of machine energy]."""
    grid_water_l_per_kwh: Estimate | None
    """Water consumed in making the electricity [l/kWh]."""
    price_per_kwh: Estimate | None
    """Price of electricity [USD/kWh]."""
    year: int | None
    """Year of the intensity."""
    declared: bool
    """False where nobody said where this runs and a wide average stands in."""
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.pue.low < 1.0:
            raise SettingError("pue", self.pue.low, "at least 1: a facility uses what its machines use, and more")
        for name in ("intensity_g_per_kwh", "wue_l_per_kwh", "grid_water_l_per_kwh", "price_per_kwh"):
            figure: Estimate | None = getattr(self, name)
            if figure is not None and figure.low < 0:
                raise SettingError(name, figure.low, "zero or more")
