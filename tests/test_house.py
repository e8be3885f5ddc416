"""Rules of this repository, as tests: what is imported, where factors stand, what a reader is promised."""

from __future__ import annotations

import ast
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "lowcarb"
MODULES = sorted(SOURCE.rglob("*.py"))


def modules_after(statement):
    """Names of all modules that a fresh interpreter holds after a statement, less those it starts with."""
    program = f"import sys; before = set(sys.modules); {statement}; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


def test_importing_lowcarb_loads_nothing_but_the_standard_library():
    loaded = {name.partition(".")[0] for name in modules_after("import lowcarb")} - {"lowcarb"}

    assert loaded <= set(sys.stdlib_module_names)


def test_importing_lowcarb_loads_few_modules():
    assert len(modules_after("import lowcarb")) < 60


@pytest.mark.parametrize("heavy", ["torch", "numpy", "pandas", "transformers"])
def test_forecast_ledger_report_and_tracker_do_not_need_the_lab(heavy):
    statement = "import lowcarb.cli.app, lowcarb.tracker.track, lowcarb.core.forecast, lowcarb.report.html"

    assert heavy not in modules_after(statement)


def numbers_in_arithmetic(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div, ast.FloorDiv, ast.Pow)):
            for side in (node.left, node.right):
                if isinstance(side, ast.Constant) and isinstance(side.value, (int, float)):
                    yield node.lineno, side.value


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_conversion_factors_stand_in_units_only(module):
    if module == SOURCE / "core" / "units.py":
        return
    factors = {60, 3600, 1000, 1e-3, 1e6, 1e-6, 1e9, 1e-9, 3.6e6, 86400, 1024}

    found = [(line, value) for line, value in numbers_in_arithmetic(ast.parse(module.read_text())) if value in factors]

    assert [] == found


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_can_be_held_in_the_head(module):
    assert len(module.read_text().splitlines()) <= 400


def test_broad_excepts_are_only_where_the_design_allows_them():
    """The meter's side of the border to user code, and the runner's border."""
    allowed = {"sensors", "tracker", "lab/study.py"}

    found = {
        str(module.relative_to(SOURCE))
        for module in MODULES
        if re.search(r"except (Base)?Exception|except:", module.read_text())
    }

    assert {name for name in found if not any(name.startswith(place) for place in allowed)} == set()


def test_no_file_names_a_registry_host():
    hosts = re.compile(r"pypi\.org|pythonhosted|npmjs\.|deb\.debian\.org|download\.pytorch")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )

    found = [
        name
        for name in listed
        if name
        and name != "tests/test_house.py"
        and hosts.search((ROOT / name).read_text(encoding="utf-8", errors="ignore"))
    ]

    assert [] == found


def test_the_suite_runs_without_a_network():
    """The socket of this very process is barred by conftest; a request to anywhere but this machine fails."""
    with socket.socket() as there, pytest.raises(RuntimeError, match="network"):
        there.connect(("192.0.2.1", 80))
