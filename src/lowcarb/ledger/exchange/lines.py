"""JSONL: the ledger's own form, one run a line, from which the same ledger can be made again.

    {"lowcarb_ledger": 1, "run": {"id", "key", "kind", "name", "study", "created_ns"}, "tags": {…},
     "attempts": [{"id", "number", "status", "started_ns", "ended_ns", "document"}, …]}
    {"readings": attempt id, "rows": [[channel, at_ns, value], …]}      a reading that failed is null

All of it is ASCII, so that any name survives, and numbers come back to the last digit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from math import nan
from pathlib import Path
from typing import Any, NoReturn, get_args

from lowcarb.core.documents import energy_from_dict, machine_from_dict, plain, site_from_dict
from lowcarb.core.footprint import footprint_from_dict
from lowcarb.core.hours import Hour
from lowcarb.errors import SettingError
from lowcarb.ledger.base import Attempt, Run, Status
from lowcarb.ledger.exchange.base import Incoming, IncomingAttempt, Item, Problem, Reading, Settings

FORMAT = 1
LARGEST = 2**63 - 1
"""Of the integers that a ledger holds."""
BATCH = 10_000
"""Readings in a line, at most."""
_UNDECODED = re.compile("[\udc80-\udcff]")
_PARTS = {
    "energy": energy_from_dict, "footprint": footprint_from_dict, "machine": machine_from_dict, "site": site_from_dict,
}  # fmt: skip
"""Parts of a document that others read without looking twice."""


def run_line(run: Run, tags: Mapping[str, str], attempts: Sequence[Attempt]) -> str:
    """The line of a run, without its end."""
    facts = {name: getattr(run, name) for name in ("id", "key", "kind", "name", "study", "created_ns")}
    names = ("id", "number", "status", "started_ns", "ended_ns", "document")
    ordered = sorted(attempts, key=lambda attempt: attempt.number)
    return _dumps(
        {
            "lowcarb_ledger": FORMAT,
            "run": facts,
            "tags": dict(tags),
            "attempts": [{name: getattr(attempt, name) for name in names} for attempt in ordered],
        }
    )


def readings_lines(attempt_id: str, rows: Sequence[tuple[str, int, float]]) -> Iterator[str]:
    """The lines of an attempt's readings."""
    for start in range(0, len(rows), BATCH):
        yield _dumps({"readings": attempt_id, "rows": plain([list(row) for row in rows[start : start + BATCH]])})


def read_lines(path: Path, settings: Settings) -> Iterator[Item]:
    """The runs and readings of a JSONL file. Holds one line at a time.

    Raises:
        OSError: the file cannot be read.
    """
    del settings
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file:
        for number, text in enumerate(file, start=1):
            if text.strip():
                yield _item(text, number)


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def _item(text: str, line: int) -> Item:
    bad = _UNDECODED.search(text)
    if bad:
        return Problem("not UTF-8", line, bad.start() + 1)
    try:
        value = json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        return Problem(f"no JSON: {error.msg}", line, error.colno)
    except (ValueError, RecursionError) as error:
        return Problem(f"no JSON: {error}", line, 1)
    try:
        return _understood(value, line)
    except _Wrong as error:
        return Problem(str(error), line, 1)


class _Wrong(Exception):
    """A line that is JSON and no run."""


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def _understood(value: Any, line: int) -> Incoming | Reading:
    if isinstance(value, dict) and "readings" in value:
        rows = _need(value, "rows", list)
        return Reading(_need(value, "readings", str), tuple(_reading(row) for row in rows))
    if not isinstance(value, dict) or value.get("lowcarb_ledger") != FORMAT:
        raise _Wrong(f'a line of format "lowcarb_ledger": {FORMAT} is expected')
    run, tags = _need(value, "run", dict), value.get("tags") or {}
    if not isinstance(tags, dict) or not all(isinstance(tag, str) for tag in tags.values()):
        raise _Wrong("tags: texts by name are expected")
    study = run.get("study")
    if study is not None and not isinstance(study, str):
        raise _Wrong("study: a text or null is expected")
    attempts = tuple(_attempt(one) for one in _need(value, "attempts", list))
    if not attempts:
        raise _Wrong("attempts: at least one is expected")
    return Incoming(
        place=f"line {line}",
        key=_need(run, "key", str),
        kind=_need(run, "kind", str, ("trial", "track")),
        name=_need(run, "name", str),
        study=study,
        attempts=attempts,
        tags=tags,
    )


def _attempt(value: Any) -> IncomingAttempt:
    if not isinstance(value, dict):
        raise _Wrong("attempts: objects are expected")
    ended = None if value.get("ended_ns") is None else _need(value, "ended_ns", int)
    document = _need(value, "document", dict)
    _check(document)
    return IncomingAttempt(
        _need(value, "id", str), _need(value, "status", str, get_args(Status)), _need(value, "started_ns", int),
        ended, document,
    )  # fmt: skip


def _check(document: Mapping[str, Any]) -> None:
    for name, read in _PARTS.items():
        if document.get(name) is None:
            continue
        try:
            read(document[name])
        except (KeyError, TypeError, ValueError, AttributeError, SettingError) as error:
            raise _Wrong(f"document.{name} is none: {type(error).__name__} {error}") from None
    try:
        for hour in document.get("hours") or ():
            Hour.from_dict(hour)
        faults = document.get("faults", [])
        if not isinstance(faults, list) or not all(isinstance(fault, str) for fault in faults):
            raise _Wrong("document.faults: texts are expected")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _Wrong(f"document.hours is none: {type(error).__name__} {error}") from None


def _reading(row: Any) -> tuple[str, int, float]:
    if (
        isinstance(row, list)
        and len(row) == 3
        and isinstance(row[0], str)
        and _is_whole(row[1])
        and (row[2] is None or isinstance(row[2], (int, float)))
    ):
        return row[0], row[1], nan if row[2] is None else float(row[2])
    raise _Wrong("rows: lists of channel, time in ns and value are expected")


def _need(value: Mapping[str, Any], name: str, kind: type, among: Sequence[str] = ()) -> Any:
    found = value.get(name)
    if not isinstance(found, kind) or (kind is int and not _is_whole(found)):
        raise _Wrong(f"{name}: {kind.__name__} is expected")
    if among and found not in among:
        raise _Wrong(f"{name}: one of {', '.join(among)} is expected")
    return found


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST
