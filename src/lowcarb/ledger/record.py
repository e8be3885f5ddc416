"""What every ledger does the same way: ids, and documents to text and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from lowcarb.core.documents import plain
from lowcarb.errors import LedgerError

RUN_ID_BYTES = 16


def run_id_of(key: str) -> str:
    """The id of the run with this key: 32 hexadecimal digits.

    It follows from the key alone, so two ledgers call the same work by the same id and can be put together.
    """
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=RUN_ID_BYTES).hexdigest()


def encode(document: Mapping[str, object], where: str) -> str:
    """A document as JSON text in ASCII; numbers that are not finite become null.

    Raises:
        LedgerError: it holds something that JSON cannot say.
    """
    try:
        return json.dumps(plain(document), allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise LedgerError(
            where, f"the document cannot be stored ({error})", "Keep it to text, numbers, lists and tables"
        ) from error


def decode(text: str) -> Mapping[str, object]:
    """The document whose text this is."""
    document: Mapping[str, object] = json.loads(text)
    return document


def headline(document: Mapping[str, object]) -> tuple[float | None, float | None]:
    """Energy [J] and operational carbon [gCO2e] of a document's footprint, mid; None where it has none."""
    footprint = document.get("footprint")
    if not isinstance(footprint, Mapping):
        return None, None
    return _mid(footprint.get("energy_j")), _mid(footprint.get("operational_g"))


def _mid(figure: object) -> float | None:
    mid = figure.get("mid") if isinstance(figure, Mapping) else None
    return float(mid) if isinstance(mid, (int, float)) and isfinite(mid) else None


@dataclass(frozen=True, slots=True)
class Hour:
    """Energy in one hour of the clock."""

    device: str
    """Empty for all devices together."""
    start_ns: int
    energy_j: float


def site_of(document: Mapping[str, object]) -> str | None:
    """Id of a document's site; None where it has none."""
    site = document.get("site")
    found = site.get("id") if isinstance(site, Mapping) else None
    return found if isinstance(found, str) and found else None


def hours_of(document: Mapping[str, object]) -> list[Hour]:
    """Energy by hour of a document, mid; what is no such hour is left out."""
    hours = document.get("hours")
    found = []
    for one in hours if isinstance(hours, Sequence) and not isinstance(hours, str) else ():
        start_ns = one.get("start_ns") if isinstance(one, Mapping) else None
        energy_j = _mid(one.get("energy_j")) if isinstance(one, Mapping) else None
        if isinstance(start_ns, int) and abs(start_ns) < 2**63 and energy_j is not None:
            found.append(Hour(str(one.get("device") or ""), start_ns, energy_j))
    return found


def mark_of(text: str | None) -> str | None:
    """32 hexadecimal digits that stand for a text in an index, which bears no long one."""
    return None if text is None else run_id_of(text)
