"""What comes in from elsewhere, and what is wrong with it, in one form for all file formats."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from lowcarb.ledger.base import Status

ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a file, with its place."""

    what: str
    line: int | None = None
    """Counted from 1."""
    column: int | None = None
    """Of a table the cell, of other texts the character; counted from 1."""

    def __str__(self) -> str:
        place = [f"line {self.line}"] if self.line is not None else []
        place += [f"column {self.column}"] if self.column is not None else []
        return f"{', '.join(place)}: {self.what}" if place else self.what


@dataclass(frozen=True, slots=True)
class IncomingAttempt:
    """One go at a run, as the ledger is to have it."""

    id: str
    status: Status
    started_ns: int
    ended_ns: int | None
    document: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Reading:
    """Readings of an attempt that a file holds: channel, time [ns, UTC], value [J or W]."""

    attempt_id: str
    rows: tuple[tuple[str, int, float], ...]


@dataclass(frozen=True, slots=True)
class Incoming:
    """A run from elsewhere, with its attempts in the order of their numbers."""

    place: str
    """Where it stands, for people, such as `line 3`."""
    key: str
    kind: Literal["trial", "track"]
    name: str
    study: str | None
    attempts: tuple[IncomingAttempt, ...]
    tags: Mapping[str, str] = field(default_factory=dict)
    group: str | None = None
    """What runs that may have metered one machine at the same time have in common; None where that cannot be."""
    same_as: str | None = None
    """Id of the run that this is a copy of: where the ledger has that one, it needs no copy."""


Item = Incoming | Reading | Problem | str
"""What a reader gives: a run, readings, a problem, or a remark for people."""


class Reader(Protocol):
    """Reads a file; may be asked again, and then gives the same again. Nothing is raised for what the file holds.

    Raises:
        OSError: the file cannot be read.
    """

    def __call__(self, path: Path, settings: Settings, /) -> Iterator[Item]:
        """What is in the file, in its order."""
        ...


@dataclass(frozen=True, slots=True)
class Settings:
    """What a file does not say and its reader must know."""

    zone: str = "UTC"
    """Time zone of times without one: `UTC`, an IANA name or an offset such as `+02:00`."""


def content_id(*parts: object) -> str:
    """An id that follows from content alone: 32 hexadecimal digits."""
    text = "\x1f".join(str(part) for part in parts)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=ID_BYTES).hexdigest()
