"""A ledger in memory: the public fake, and a scratch ledger where nothing should be kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Literal

from lowcarb.errors import LedgerError
from lowcarb.ledger.base import Attempt, Run, Status
from lowcarb.ledger.record import decode, encode, headline, run_id_of

WHERE = "in memory"


@dataclass(frozen=True, slots=True)
class _Row:
    """An attempt with its document as text, so that what is given back is never what was handed in."""

    attempt: Attempt
    text: str

    def read(self) -> Attempt:
        return replace(self.attempt, document=decode(self.text))


class MemoryLedger:
    """Keeps runs and attempts until it is closed, by the contract of `lowcarb.ledger.base.Ledger`."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._runs: dict[str, Run] = {}
        self._rows: dict[str, _Row] = {}
        self._closed = False

    def begin(
        self,
        *,
        attempt_id: str,
        key: str,
        kind: Literal["trial", "track"],
        name: str,
        study: str | None,
        started_ns: int,
    ) -> Attempt:
        """A new attempt, `running`, or the one that has this id already."""
        with self._open():
            if attempt_id not in self._rows:
                run_id = run_id_of(key)
                self._runs.setdefault(run_id, Run(run_id, key, kind, name, study, started_ns))
                number = 1 + max((one.number for one in self._of(run_id)), default=0)
                attempt = Attempt(attempt_id, run_id, number, "running", started_ns, None, None, None, {})
                self._rows[attempt_id] = _Row(attempt, "{}")
            return self._rows[attempt_id].read()

    def finish(self, attempt_id: str, *, status: Status, ended_ns: int, document: Mapping[str, object]) -> Attempt:
        """The attempt with its outcome."""
        text = encode(document, WHERE)
        with self._open():
            if attempt_id not in self._rows:
                raise LedgerError(WHERE, f"no attempt {attempt_id!r}", "Begin an attempt before finishing it")
            energy_j, operational_g = headline(document)
            ended = replace(
                self._rows[attempt_id].attempt,
                status=status,
                ended_ns=ended_ns,
                energy_j=energy_j,
                operational_g=operational_g,
            )
            self._rows[attempt_id] = _Row(ended, text)
            return self._rows[attempt_id].read()

    def runs(self, *, kind: str | None = None, study: str | None = None, limit: int = 100) -> Sequence[Run]:
        """Runs, newest first."""
        with self._open():
            found = [
                run
                for run in self._runs.values()
                if (kind is None or run.kind == kind) and (study is None or run.study == study)
            ]
        return sorted(found, key=lambda run: (-run.created_ns, run.id))[: max(limit, 0)]

    def run(self, id_or_key: str) -> Run | None:
        """The run with this id, unambiguous beginning of an id, or key."""
        with self._open():
            exact = self._runs.get(run_id_of(id_or_key)) or self._runs.get(id_or_key)
            near = [run for run in self._runs.values() if id_or_key and run.id.startswith(id_or_key)]
        return exact or (near[0] if len(near) == 1 else None)

    def attempts(self, run_id: str) -> Sequence[Attempt]:
        """A run's attempts, oldest first."""
        with self._open():
            rows = [row for row in self._rows.values() if row.attempt.run_id == run_id]
        return [row.read() for row in sorted(rows, key=lambda row: (row.attempt.started_ns, row.attempt.number))]

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._closed = True
            self._runs, self._rows = {}, {}

    def _open(self) -> Lock:
        if self._closed:
            raise LedgerError(WHERE, "it is closed", "Open it again")
        return self._lock

    def _of(self, run_id: str) -> list[Attempt]:
        return [row.attempt for row in self._rows.values() if row.attempt.run_id == run_id]
