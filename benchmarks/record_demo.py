"""Record the study that `lowcarb demo` shows.

    python benchmarks/record_demo.py LEDGER STUDY

Run the study first: `lowcarb study run studies/mini.yaml`. Writes src/lowcarb/report/demo/mini.json.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from lowcarb.catalogue import Catalogue
from lowcarb.cli.study import read_document
from lowcarb.core.units import s_from_ns
from lowcarb.ledger import open_ledger
from lowcarb.report.demo import RECORDING

TARGET = Path(__file__).parents[1] / "src" / "lowcarb" / "report" / "demo" / RECORDING


def main(ledger: str, study: str) -> None:
    """Write the recording."""
    book = open_ledger(ledger)
    try:
        document = read_document(book, study, Catalogue.load(), None)
        starts = [a.started_ns for run in book.runs(study=study, limit=10_000) for a in book.attempts(run.id)]
    finally:
        book.close()
    date = datetime.fromtimestamp(s_from_ns(max(starts)), UTC).date().isoformat()
    document["recorded"] = {"date": date, "file": f"studies/{study}.yaml"}
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    TARGET.write_text(text + "\n", encoding="utf-8")
    print(f"{TARGET}: {len(text.encode())} bytes, {len(document['trials'])} trials, recorded {date}")


if __name__ == "__main__":
    main(*sys.argv[1:])
