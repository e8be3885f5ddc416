"""Cells of a CSV file that nothing runs: a text that a spreadsheet takes for a formula has an apostrophe in front.

The writing and the reading side are each other's inverse for every text: `restored(defused(text)) == text`.
"""

from __future__ import annotations

import re

RISKY = "=+-@\t\r\n＝＋－＠"
"""What a spreadsheet takes for the beginning of a formula, or skips before one; the wide forms are the same to some.
(OWASP, "CSV Injection")"""
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_LIVE = re.compile(f"'*[{re.escape(RISKY)}]")
_HELD = re.compile(f"'+[{re.escape(RISKY)}]")


def defused(cell: object) -> object:
    """The cell as it may stand in a CSV file: no formula, None as nothing, truth as `true` or `false`.

    Numbers stay numbers, and so does a text that is one. A text that had an apostrophe there gets another.
    """
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, str) and _LIVE.match(cell) and not _NUMBER.fullmatch(cell):
        return "'" + cell
    return "" if cell is None else cell


def restored(cell: str) -> str:
    """The text that was defused to this cell."""
    return cell[1:] if _HELD.match(cell) else cell
