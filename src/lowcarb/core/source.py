"""`Source`: where a catalogue value comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """A publication that a figure was read in."""

    id: str
    title: str
    publisher: str
    url: str
    published: str
    """When it was published: a year, or an ISO date."""
    retrieved: str
    """When it was read: an ISO date."""
    license: str

    def as_dict(self) -> dict[str, str]:
        """The JSON form, by field name."""
        return {name: getattr(self, name) for name in self.__slots__}
