"""From a file into a ledger: all of it or nothing, each run once however often the file is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from lowcarb.errors import DataError
from lowcarb.ledger.base import Attempt, Ledger
from lowcarb.ledger.exchange.base import Incoming, IncomingAttempt, Item, Problem, Reading
from lowcarb.ledger.exchange.outside import IMPORTED
from lowcarb.ledger.exchange.overlap import Stretch, overlapping
from lowcarb.ledger.exchange.reprice import REPRICED
from lowcarb.ledger.record import run_id_of

MAY_BE_TWICE = "each may count the whole machine"
"""In the fault of an attempt whose joules may be another's too."""
MOST_PROBLEMS = 1_000
"""Problems that are kept to be shown; all are counted."""
BATCH = 10_000
"""Readings that are entered at once."""


@dataclass(slots=True)
class Taken:
    """What an import came to."""

    runs: int = 0
    """That were not in the ledger."""
    known: int = 0
    """That were."""
    updated: int = 0
    """That were, and now have a later total, or the node that they are said to have run on."""
    readings: int = 0
    problems: list[Problem] = field(default_factory=list)
    broken: int = 0
    """Problems in all."""
    remarks: list[str] = field(default_factory=list)
    overlaps: int = 0
    """Attempts that may have metered one machine at the same time as another."""

    def problem(self, problem: Problem) -> None:
        """Count a problem."""
        self.broken += 1
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)


def take_in(
    ledger: Ledger, read: Callable[[], Iterator[Item]], where: str, *, keep_going: bool = False, one_node: bool = False
) -> Taken:
    """Take what a reader gives into a ledger.

    Args:
        ledger: takes it.
        read: gives the items; called twice, so that a broken file changes nothing.
        where: the file, for people.
        keep_going: take what is whole where something is broken.
        one_node: attempts that may have metered one machine at the same time did, so that each joule counts once.

    Raises:
        DataError: something is broken and `keep_going` is not set, or the file cannot be read: all problems with their
            places. Nothing was taken.
        LedgerError: the ledger cannot be written.
    """
    taken = Taken()
    try:
        beside = _look_through(read, where, taken, keep_going=keep_going)
        for item in read():
            if isinstance(item, Incoming):
                _enter(ledger, _flagged(item, beside, one_node=one_node), taken)
            elif isinstance(item, Reading):
                _enter_readings(ledger, item, taken)
    except OSError as error:
        raise DataError(where, [error.strerror or str(error)]) from None
    return taken


def _look_through(
    read: Callable[[], Iterator[Item]], where: str, taken: Taken, *, keep_going: bool
) -> Mapping[str, int]:
    """Count what is wrong; how many others each attempt overlaps."""
    stretches: list[Stretch] = []
    any_there = False
    for item in read():
        if isinstance(item, Problem):
            taken.problem(item)
        elif isinstance(item, str):
            taken.remarks.append(item)
        elif isinstance(item, Incoming):
            any_there = True
            stretches += _stretches(item)
    if not any_there and not taken.broken:
        taken.problem(Problem("there is no run in it"))
    if taken.broken and not (keep_going and any_there):
        raise DataError(where, [str(problem) for problem in taken.problems])
    beside = overlapping(stretches)
    taken.overlaps = len(beside)
    return beside


def _stretches(item: Incoming) -> Iterator[Stretch]:
    for attempt in item.attempts:
        if item.group is not None and attempt.ended_ns is not None and attempt.document.get("within") is None:
            yield Stretch(attempt.id, item.group, attempt.started_ns, attempt.ended_ns)


def _flagged(item: Incoming, beside: Mapping[str, int], *, one_node: bool) -> Incoming:
    attempts = tuple(_flag(one, beside.get(one.id, 0), item.group if one_node else None) for one in item.attempts)
    return replace(item, attempts=attempts)


def _flag(attempt: IncomingAttempt, others: int, node: str | None) -> IncomingAttempt:
    if not others:
        return attempt
    rows = f"{others} other{'s' if others > 1 else ''}"
    told = "said to be on one node: each joule is counted once" if node else MAY_BE_TWICE
    faults = [*_faults(attempt.document), f"ran at the same time as {rows} of its project on an equal machine: {told}"]
    document = {**attempt.document, "faults": faults}
    return replace(attempt, document=document | ({"node": f"{IMPORTED}-{node}"} if node else {}))


def _faults(document: Mapping[str, object]) -> list[object]:
    faults = document.get("faults")
    return list(faults) if isinstance(faults, list) else []


def _enter(ledger: Ledger, item: Incoming, taken: Taken) -> None:
    run_id = run_id_of(item.key)
    if item.same_as and ledger.attempts(item.same_as):
        taken.known += 1
        return
    before = {attempt.id: attempt for attempt in ledger.attempts(run_id)}
    news = updated = False
    for attempt in item.attempts:
        old = before.get(attempt.id)
        if old is None:
            old = ledger.begin(
                attempt_id=attempt.id, key=item.key, kind=item.kind, name=item.name, study=item.study,
                started_ns=attempt.started_ns,
            )  # fmt: skip
            if old.run_id != run_id:
                taken.problem(Problem(f"{item.place}: attempt {attempt.id} is another run's"))
                continue
            news = True
        elif old.status != "running" and not _supersedes(attempt, old):
            continue
        else:
            updated = True
        if attempt.status != "running" and attempt.ended_ns is not None:
            document = attempt.document
            if REPRICED in old.document and old.document.get("wall_s") == document.get("wall_s"):
                document = {**document, REPRICED: old.document[REPRICED]}
            ledger.finish(attempt.id, status=attempt.status, ended_ns=attempt.ended_ns, document=document)
    taken.runs += news and not before
    taken.updated += bool(before) and (news or updated)
    taken.known += bool(before) and not (news or updated)
    if item.tags and (news or before):
        there = ledger.tag(run_id, {}) if before else {}
        missing = {name: value for name, value in item.tags.items() if name not in there}
        if missing:
            ledger.tag(run_id, missing)


def _supersedes(attempt: IncomingAttempt, old: Attempt) -> bool:
    """Whether an imported attempt says more than the ledger has.

    It does where it is a later total of the same go, as another program writes them while it runs, or where the user
    has said since on which node it was.
    """
    if not all(isinstance(one.document.get("provenance"), Mapping) for one in (attempt, old)):
        return False
    now, then = attempt.document.get("wall_s"), old.document.get("wall_s")
    if not isinstance(now, (int, float)) or not isinstance(then, (int, float)) or now < then:
        return False
    return now > then or (attempt.document.get("node") is not None and old.document.get("node") is None)


def _enter_readings(ledger: Ledger, item: Reading, taken: Taken) -> None:
    for start in range(0, len(item.rows), BATCH):
        ledger.add_readings(item.attempt_id, item.rows[start : start + BATCH])
    taken.readings += len(item.rows)
