"""Between ledgers and the files of others: what comes in, and what goes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from lowcarb.errors import SettingError
from lowcarb.ledger.exchange.base import Item, Settings

READERS: Mapping[str, tuple[str, str]] = {
    "codecarbon": ("lowcarb.ledger.exchange.codecarbon", "read_codecarbon"),
    "carbontracker": ("lowcarb.ledger.exchange.carbontracker", "read_carbontracker"),
    "mlflow": ("lowcarb.ledger.exchange.mlflow", "read_mlflow"),
    "jsonl": ("lowcarb.ledger.exchange.lines", "read_lines"),
}
"""Formats that can be read: the module and the function that read them."""
_SUFFIXES = {
    ".csv": "codecarbon", ".tsv": "codecarbon", ".jsonl": "jsonl", ".ndjson": "jsonl", ".log": "carbontracker",
    ".db": "mlflow", ".sqlite": "mlflow", ".sqlite3": "mlflow",
}  # fmt: skip


def format_of(path: Path) -> str:
    """The format of a file by its name, or of a folder by what lies in it.

    Raises:
        SettingError: the name does not tell.
    """
    if path.is_dir():
        return "carbontracker" if any(path.glob("*carbontracker*.log")) else "mlflow"
    found = _SUFFIXES.get(path.suffix.lower())
    if found is None:
        known = ", ".join(READERS)
        raise SettingError("format", path.name, f"a file whose name tells, or --format with one of {known}")
    return found


def reader(format_: str, path: Path, settings: Settings) -> Callable[[], Iterator[Item]]:
    """What reads a file, anew each time it is called.

    Raises:
        SettingError: there is no such format.
    """
    if format_ not in READERS:
        raise SettingError("format", format_, f"one of {', '.join(READERS)}")
    from importlib import import_module  # noqa: PLC0415  # one format is read, not all

    module, name = READERS[format_]
    read: Callable[[Path, Settings], Iterator[Item]] = getattr(import_module(module), name)
    return lambda: read(path, settings)
