"""Everything that lowcarb raises on purpose.

    LowcarbError
    ├── SettingError        one setting is wrong: its name, its value, what it may be
    ├── CatalogueError      an id that the catalogue does not hold, with the nearest ones
    ├── StudyError          every problem of a study file at once
    ├── DataError           a question-answering file that cannot be used, with the place
    ├── SensorUnavailable   a sensor that this machine does not offer, and the remedy
    ├── MissingExtra        an optional dependency that is not installed, and the install line
    ├── BudgetExceeded      a limit in joules, grams, seconds or money was reached
    └── LedgerError         a ledger that cannot be read or written

Constructors take facts; the message says what happened, why, and what to type.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class LowcarbError(Exception):
    """The root: catch this to catch all that lowcarb raises on purpose."""


class SettingError(LowcarbError):
    """One setting is outside what it may be."""

    def __init__(self, field: str, value: object, expected: str) -> None:
        self.field, self.value, self.expected = field, value, expected
        super().__init__(f"{field} = {value!r}: expected {expected}")


class CatalogueError(LowcarbError):
    """An id that the catalogue does not hold."""

    def __init__(self, kind: str, wanted: str, known: Iterable[str]) -> None:
        from difflib import get_close_matches  # noqa: PLC0415  # only where something went wrong

        self.kind, self.wanted = kind, wanted
        names = sorted(known)
        near = get_close_matches(wanted.lower(), names, n=3, cutoff=0.5)
        # A part of a long name, such as 8275CL, is no close match of it.
        self.near = tuple(near or [name for name in names if len(wanted) > 2 and wanted.lower() in name.lower()][:3])
        hint = f"did you mean {', '.join(self.near)}? " if self.near else ""
        several = kind if kind in ("published", "memory") else f"{kind}s"
        super().__init__(f"no {kind} {wanted!r} in the catalogue: {hint}`lowcarb catalogue {several}` lists them")


class StudyError(LowcarbError):
    """A study file that cannot be run: all its problems, each with its place and remedy."""

    def __init__(self, where: str, problems: Sequence[str]) -> None:
        self.where, self.problems = where, tuple(problems)
        count = f"{len(problems)} problem" + ("" if len(problems) == 1 else "s")
        super().__init__(f"{where}: {count}\n" + "\n".join(f"  - {problem}" for problem in problems))


class DataError(LowcarbError):
    """A question-answering file that cannot be used."""

    def __init__(self, where: str, problems: Sequence[str]) -> None:
        self.where, self.problems = where, tuple(problems)
        shown = "\n".join(f"  - {problem}" for problem in problems[:10])
        more = f"\n  … and {len(problems) - 10} more" if len(problems) > 10 else ""
        super().__init__(f"{where} cannot be used:\n{shown}{more}")


class SensorUnavailable(LowcarbError):
    """A sensor that this machine does not offer. Not a fault: the meter goes on without it."""

    def __init__(self, sensor: str, reason: str, remedy: str) -> None:
        self.sensor, self.reason, self.remedy = sensor, reason, remedy
        super().__init__(f"{sensor}: {reason}. {remedy}")


class MissingExtra(LowcarbError):
    """An optional dependency that is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        self.what, self.extra = what, extra
        super().__init__(f"{what} needs the extra '{extra}': pip install 'lowcarb[{extra}]'")


class BudgetExceeded(LowcarbError):
    """A limit was reached. What was done until then is kept."""

    def __init__(self, what: str, limit: float, spent: float, unit: str) -> None:
        self.what, self.limit, self.spent, self.unit = what, limit, spent, unit
        super().__init__(f"{what} budget of {limit:g} {unit} is used up ({spent:g} {unit} spent)")


class LedgerError(LowcarbError):
    """A ledger that cannot be read or written."""

    def __init__(self, where: str, reason: str, remedy: str) -> None:
        self.where, self.reason, self.remedy = where, reason, remedy
        super().__init__(f"ledger {where}: {reason}. {remedy}")
