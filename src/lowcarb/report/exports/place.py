"""Where a site is, as forms ask for it: country, region, cloud provider."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from lowcarb.catalogue import tables
from lowcarb.core.site import Site

Level = Literal["world", "region", "country", "state", "cloud"]
PROVIDERS = {"aws": "Amazon Web Services", "gcp": "Google Cloud", "azure": "Microsoft Azure"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a declared site is. What is not known is None."""

    level: Level | None
    """None of a site that is not in the catalogue."""
    name: str
    country: str | None
    """Its name in English."""
    country_code: str | None
    """ISO 3166-1 alpha-3, in capitals."""
    provider: str | None
    """Of a cloud region."""
    region: str | None
    """The state, or the provider's own name of the region."""

    @property
    def cloud(self) -> bool:
        """Whether it is somebody else's data centre."""
        return self.provider is not None


def place_of(site: Site | None) -> Place | None:
    """The place of a site; None where nobody said where it is."""
    if site is None or not site.declared:
        return None
    rows = {row["id"]: row for row in tables.read("sites")}
    row = rows.get(site.id)
    if row is None:
        return Place(None, site.name, None, None, None, None)
    nation = row
    while nation["level"] not in ("country", "region", "world") and nation["parent"] in rows:
        nation = rows[nation["parent"]]
    country = nation if nation["level"] == "country" else None
    provider, _, region = site.id.partition("-")
    cloud = row["level"] == "cloud"
    return Place(
        level=tables.choice(row["level"], get_args(Level)),
        name=row["name"],
        country=country["name"] if country else None,
        country_code=country["id"].upper() if country else None,
        provider=PROVIDERS.get(provider, provider) if cloud else None,
        region=region if cloud else row["name"] if row["level"] == "state" else None,
    )
