"""A study that was really run, recorded with its machine and date: what `lowcarb demo` shows.

`python benchmarks/record_demo.py LEDGER STUDY` records it anew.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

RECORDING = "mini.json"


def recording() -> dict[str, Any]:
    """The recorded document, with `recorded`: the date (UTC) and the file of the study."""
    document: dict[str, Any] = json.loads(files(__name__).joinpath(RECORDING).read_text(encoding="utf-8"))
    return document
