"""The guide to forecasts does what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lowcarb.cli.batch import PAIR_COLUMNS, SCENARIO_COLUMNS

pytest.importorskip("numpy", reason="the plan extra is not installed")

GUIDE = (Path(__file__).parents[2] / "docs" / "guide-forecast.md").read_text()


def test_the_program_runs():
    (program,) = re.findall(r"```python\n(.*?)```", GUIDE, re.S)

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("(2, 2, 3, 2, 1)")


def test_every_column_is_named():
    words = set(re.findall(r"\w+", GUIDE))

    assert set(SCENARIO_COLUMNS) <= words
    assert set(PAIR_COLUMNS) <= words
