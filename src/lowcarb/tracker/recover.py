"""Taking in what was cut off: journals of dead processes become attempts of the ledger."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

from lowcarb.core.units import NS_PER_S, S_PER_HOUR
from lowcarb.errors import LedgerError
from lowcarb.ledger.base import Attempt, Ledger, Status
from lowcarb.tracker.document import Ending, document_of, enter
from lowcarb.tracker.ending import ENDINGS
from lowcarb.tracker.guard import Guard
from lowcarb.tracker.journal import PRIVATE_DIRECTORY
from lowcarb.tracker.process import is_alive
from lowcarb.tracker.record import Record, read_journal

JOURNALS, DONE = "journals", "done"
SUFFIX = ".jsonl"
SILENT_S = S_PER_HOUR
"""Where a process cannot be asked, on another host or in a container, its journal is taken for abandoned after so long
without a word [s]."""
KEPT, KEPT_BYTES = 200, 256 * 2**20
"""Journals that are kept after the ledger has taken them in, the newest; it has all that reports need."""

_log = logging.getLogger(__name__)


def journal_path(home: Path, attempt_id: str) -> Path:
    """Where the journal of an attempt is while it is not in the ledger."""
    return home / JOURNALS / f"{attempt_id}{SUFFIX}"


def recover(home: Path, ledger: Ledger) -> list[Attempt]:
    """Take in the journals of attempts that are over and are not in the ledger yet.

    An attempt whose process died becomes `interrupted`, with its energy, phases and footprint up to the last reading;
    one that ended while the ledger could not be written gets the status that it ended with. May be called at any time
    and by several processes at once: no attempt is taken in twice, and running ones are left alone.

    Returns:
        The attempts that were taken in by this call.

    Raises:
        LedgerError: the ledger cannot be written.
    """
    taken = []
    for path in sorted((home / JOURNALS).glob(f"*{SUFFIX}")):
        record = _read(path)
        if record is None or not _is_over(record, path):
            continue
        booked = Guard().run(f"journal {path.name}", partial(_booked, record), None)
        if booked is None:
            _give_up(path)
            continue
        attempt = enter(ledger, record.header, *booked)
        if attempt is not None:
            taken.append(attempt)
        put_away(path)
    return taken


def _booked(record: Record) -> tuple[Ending, dict[str, object]]:
    ending = ending_of(record)
    return ending, document_of(record.header, record.entries(), ending)


def ending_of(record: Record) -> Ending:
    """How an attempt ended, as far as its journal knows."""
    header, end = record.header, record.end or {}
    faults = [str(fault) for fault in end.get("faults", ())]
    if record.end is None:
        faults.append("cut off: nothing after the last reading is known")
    if record.skipped_lines:
        faults.append(f"{record.skipped_lines} lines of the journal could not be read")
    status: Status = end["end"] if end.get("end") in ENDINGS else "interrupted"
    return Ending(
        status=status,
        ended_ns=header.started_ns + round((record.last_s - header.started_s) * NS_PER_S),
        tokens=record.tokens,
        steps=record.steps,
        notes=record.notes,
        faults=tuple(faults),
        meter_cpu_s=end.get("meter_cpu_s"),
    )


def put_away(path: Path) -> None:
    """Move a journal that the ledger has taken in to the newest ones that are kept. A failure is left for next time."""
    done = path.parent / DONE
    with suppress(OSError):
        done.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
        path.replace(done / path.name)
        kept_bytes = 0
        newest_first = sorted(done.glob(f"*{SUFFIX}"), key=lambda one: one.stat().st_mtime, reverse=True)
        for number, journal in enumerate(newest_first):
            kept_bytes += journal.stat().st_size
            if number >= KEPT or kept_bytes > KEPT_BYTES:
                journal.unlink()


def _read(path: Path) -> Record | None:
    try:
        return read_journal(path)
    except LedgerError as error:
        if _silent_s(path) > SILENT_S:
            _log.warning("%s", error)
            _give_up(path)
        return None


def _is_over(record: Record, path: Path) -> bool:
    if record.end is not None:
        return True
    alive = is_alive(record.header.process)
    return _silent_s(path) > SILENT_S if alive is None else not alive


def _silent_s(path: Path) -> float:
    """Time since the file was last written [s]; none if it has been put away meanwhile."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _give_up(path: Path) -> None:
    """Keep a journal that cannot be booked, out of the way."""
    with suppress(OSError):
        path.rename(path.with_suffix(".unreadable"))
