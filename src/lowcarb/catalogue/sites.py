"""Rows of `sites.csv` and `site_facts.csv` put together to sites."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import get_args

from lowcarb.catalogue.names import key
from lowcarb.catalogue.tables import Row, choice, count, figure, sources
from lowcarb.core.estimate import Estimate
from lowcarb.core.site import Accounting, Site

FIELDS = ("pue", "wue", "grid_water")
"""All facts that a site may have in `site_facts.csv`."""
WORLD = "world"
"""The site whose grid is the mean of all."""
ANYWHERE = "default"
"""The rows of `site_facts.csv` that stand in where a site's building is not known."""
LARGE = "default-large"
"""The same for a building that holds `LARGE_DEVICES` accelerators or more of one run."""
LARGE_DEVICES = 200
"""Published trainings on 216 accelerators or more state a PUE of 1.08 to 1.2, those on 64 or fewer 1.58."""


class Sites:
    """Sites by id.

    A cloud region without its own grid figure has its parent's; a site without its own building figures has those
    that hold anywhere, which are wide and assumed.
    """

    def __init__(self, rows: Iterable[Row], facts: Iterable[Row]) -> None:
        self._rows = {row["id"]: row for row in rows}
        self._facts = {(fact["site"], choice(fact["field"], FIELDS)): fact for fact in facts}

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __contains__(self, id_: object) -> bool:
        return id_ in self._rows

    def site(self, id_: str) -> Site:
        """The site of an id.

        Raises:
            KeyError: there is none.
        """
        row, *parents = self._chain(id_)
        grid = next(one for one in (row, *parents) if one["intensity_g_per_kwh"])
        pue = self._facts.get((id_, "pue"), self._facts[ANYWHERE, "pue"])
        wue = self._facts.get((id_, "wue"), self._facts.get((ANYWHERE, "wue")))
        waters = (self._facts.get((one["id"], "grid_water")) for one in (row, *parents))
        water = next((fact for fact in waters if fact is not None), None)
        return Site(
            id=id_,
            name=row["name"],
            intensity_g_per_kwh=figure(grid, mid="intensity_g_per_kwh"),
            accounting=choice(grid["accounting"], get_args(Accounting)),
            pue=figure(pue),
            wue_l_per_kwh=figure(wue) if wue else None,
            grid_water_l_per_kwh=figure(water) if water else None,
            price_per_kwh=None,
            year=count(grid["year"]),
            declared=True,
            sources=sources(*(fact for fact in (row, grid, pue, wue, water) if fact is not None)),
        )

    def stand_in(self, devices: float) -> Estimate:
        """The PUE of a building that nobody described, by how many accelerators of one run stand in it."""
        return figure(self._facts[LARGE if devices >= LARGE_DEVICES else ANYWHERE, "pue"])

    def names(self) -> Mapping[str, str]:
        """Ids by other names: two-letter country codes, plain names, and cloud regions without their provider.

        A state is also found by its name after its country: `us-oregon`.

        A name that two sites share is left out, so that nobody gets another place's grid unawares.
        """
        found: dict[str, set[str]] = defaultdict(set)
        for id_, row in self._rows.items():
            if row["level"] == "cloud":
                found[id_.partition("-")[2]].add(id_)
            else:
                found[key(row["name"])].add(id_)
                if row["level"] == "state":
                    found[f"{id_.partition('-')[0]}-{key(row['name'])}"].add(id_)
                found[row["iso2"]].add(id_)
        return {name: min(ids) for name, ids in found.items() if name and len(ids) == 1}

    def _chain(self, id_: str) -> Iterator[Row]:
        """The row of an id, then its parents, the nearest first."""
        while id_:
            row = self._rows[id_]
            yield row
            id_ = row["parent"]
