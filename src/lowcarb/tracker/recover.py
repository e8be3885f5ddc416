"""From the journals into the ledger: runs that ended, and what is left of those that were cut off."""

from __future__ import annotations

import json
import logging
import os
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

from lowcarb.core.units import NS_PER_S, S_PER_HOUR
from lowcarb.errors import LedgerError
from lowcarb.ledger import home as usual_home
from lowcarb.ledger import ledger_name
from lowcarb.ledger import open_ledger as open_raw
from lowcarb.ledger.base import Attempt, Ledger, Status
from lowcarb.ledger.home import LEDGER_FILE
from lowcarb.tracker.document import Ending, begin, document_of, enter
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
MOST_READINGS, READINGS_AT_ONCE = 100_000, 10_000
"""Readings of a run that was cut off that the ledger is given: a day and more at one a second, and two seconds of
work. Of a longer run it has the energy by phase and hour and the power over time, and its journal has all."""
CUT_OFF = "cut off: nothing after the last reading is known"
"""The fault of an attempt whose process died."""

_log = logging.getLogger(__name__)


def journal_path(home: Path, attempt_id: str) -> Path:
    """Where the journal of an attempt is while it is not in the ledger."""
    return home / JOURNALS / f"{attempt_id}{SUFFIX}"


def open_ledger(url_or_path: str | os.PathLike[str] | None = None) -> Ledger:
    """The ledger in this file, or the user's own, with all that was tracked until now.

    Args:
        url_or_path: a file's path, `sqlite:///PATH`, or `postgresql://…` (extra `postgres`).

    Raises:
        SettingError: a URL of another kind.
        LedgerError: the ledger cannot be opened or written, or was written by a newer lowcarb.
    """
    ledger = open_raw(url_or_path)
    recover(usual_home(), ledger, None if url_or_path is None else ledger_name(url_or_path))
    return ledger


def recover(home: Path, ledger: Ledger, path: Path | str | None = None) -> list[Attempt]:
    """Take in the journals of attempts that belong into a ledger and are not in it yet.

    An attempt whose process died becomes `interrupted`, with its energy, phases and footprint up to the last reading;
    one that ended gets the status that it ended with; one that is at work is shown as running. Of one that was cut
    off the ledger is given the readings too, up to `MOST_READINGS`. May be called at any time and by several processes
    at once: no attempt is taken in twice, and no reading.

    Args:
        home: where the journals are.
        ledger: takes them in.
        path: the ledger's file or name (`lowcarb.ledger.ledger_name`); the file of the home where None.

    Returns:
        The attempts that were taken in by this call.

    Raises:
        LedgerError: the ledger cannot be written.
    """
    taken = []
    usual = str(home / LEDGER_FILE)
    wanted = {str(path or usual)} | ({None} if path is None or str(path) == usual else set())
    # To open a pipe would be to wait for somebody who writes to it.
    journals = [path for path in (home / JOURNALS).glob(f"*{SUFFIX}") if path.is_file()]
    for journal in sorted(journals, key=_started):
        record = _read(journal)
        if record is None or record.header.ledger not in wanted:
            continue
        if record.end is None:
            if not _is_abandoned(record, journal):
                begin(ledger, record.header)
                continue
            # Between the look at its journal and its death, a run may have written how it ended.
            record = _read(journal)
            if record is None:
                continue
        booked = Guard().run(f"journal {journal.name}", partial(_booked, record), None)
        if booked is None:
            _give_up(journal)
            continue
        attempt = enter(ledger, record.header, *booked)
        if attempt is not None:
            taken.append(attempt)
        if record.end is None:
            # Also where the attempt was there: it may be that who entered it was cut off here.
            _give_readings(ledger, record)
        put_away(journal)
    return taken


def _give_readings(ledger: Ledger, record: Record) -> None:
    """Have the ledger keep what a run that was cut off had read. Those that it has stay as they are."""
    header = record.header
    if record.count > MOST_READINGS:
        return
    rows = [
        (one.channel, header.started_ns + round((one.at_s - header.started_s) * NS_PER_S), one.value)
        for one in record.readings
    ]
    for first in range(0, len(rows), READINGS_AT_ONCE):
        ledger.add_readings(header.attempt_id, rows[first : first + READINGS_AT_ONCE])


def _booked(record: Record) -> tuple[Ending, dict[str, object]]:
    ending = ending_of(record)
    return ending, document_of(record.header, record.entries(), ending, record.energy)


def ending_of(record: Record) -> Ending:
    """How an attempt ended, as far as its journal knows."""
    header, end = record.header, record.end or {}
    faults = [str(fault) for fault in end.get("faults", ())]
    if record.end is None:
        faults.append(CUT_OFF)
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
        pauses=record.pauses,
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


def _started(path: Path) -> tuple[int, str]:
    """When the attempt of a journal began, so that attempts are numbered in order; what does not say so comes first."""
    try:
        with path.open("rb") as file:
            return int(json.loads(file.readline())["started_ns"]), path.name
    except (OSError, ValueError, KeyError, TypeError):
        return 0, path.name


def _read(path: Path) -> Record | None:
    try:
        return read_journal(path)
    except LedgerError as error:
        if _silent_s(path) > SILENT_S:
            _log.warning("%s", error)
            _give_up(path)
        return None


def _is_abandoned(record: Record, path: Path) -> bool:
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
