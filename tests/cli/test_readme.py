"""Every command and every program of the README runs, against a ledger that a cut-down `make study` leaves."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the lab extra is not installed")

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CONSOLE = [
    line.partition("   #")[0].strip()
    for block in re.findall(r"```console\n(.*?)```", README, re.S)
    for line in block.splitlines()
    if line.strip()
]
SMALL = "--set recipe.max_steps=2 --set data.train_questions=40 --set data.test_questions=16"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A working directory and a home in which the study has been made."""
    home, work = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("work")
    for name in ("studies", "Makefile", "pyproject.toml", "constraints.txt"):
        (work / name).symlink_to(ROOT / name)
    environment = os.environ | {
        "LOWCARB_HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "160",
    }  # fmt: skip

    def run(command, **changes):
        return subprocess.run(
            command, shell=True, cwd=work, env=environment, capture_output=True, text=True, timeout=400, **changes
        )

    venv = Path(sys.executable).parents[1]
    made = run(f"make -o {venv}/.lab study VENV={venv} ARGS='{SMALL}'")
    assert made.returncode == 0, made.stderr
    return work, run, made


def test_make_study_tells_its_progress_prints_the_table_and_says_where_the_report_is(world):
    work, _, made = world

    assert re.search(r"trial 1/\d+ \S+ seed \d · step \d+/2 · .* W · [\d.]+ gCO2e", made.stderr)
    assert "bert/native" in made.stdout
    assert "verdict" in made.stdout.lower()
    assert str((work / "out" / "mini.html").resolve()) in made.stderr
    page = (work / "out" / "mini.html").read_text()
    assert page.startswith(("<!doctype html>", "<!DOCTYPE html>"))


@pytest.mark.parametrize("command", [line for line in CONSOLE if not line.startswith("make")])
def test_the_command_runs(world, command):
    work, run, _ = world
    if "study run" in command:
        command += f" {SMALL}"

    done = run(command)

    assert done.returncode == 0, done.stderr
    file = re.search(r"(?:-o|--output) (\S+)", command)
    assert (work / file[1]).stat().st_size > 100 if file else done.stdout.strip()
    if "--json" in shlex.split(command):
        assert json.loads(done.stdout)["schema_version"] == 1


def test_the_two_commands_are_those_of_the_makefile():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))

    assert {"study", "test"} <= targets
    assert ["make study", "make test"] == [line for line in CONSOLE if line.startswith("make")]


def test_the_program_runs(world):
    _, run, _ = world
    (program,) = re.findall(r"```python\n(.*?)```", README, re.S)

    done = run("python -", input=program)

    assert done.returncode == 0, done.stderr
    assert "Estimate(low=" in done.stdout


def test_the_study_of_the_readme_is_a_study(world):
    work, run, _ = world
    (study,) = re.findall(r"```yaml\n(.*?)```", README, re.S)
    (work / "mine.yaml").write_text(study)

    done = run("lowcarb study check mine.yaml")

    assert done.returncode == 2
    assert "train.json: cannot be read" in done.stderr
    assert "unknown key" not in done.stderr


def test_study_show_has_what_it_promises(world):
    _, run, _ = world

    document = json.loads(run("lowcarb study show mini --json").stdout)

    assert {"trials", "comparisons", "pareto", "checks"} <= set(document)
    assert {"done"} == {trial["status"] for trial in document["trials"]}
    assert {"model", "tokenizer", "device"} <= {comparison["factor"] for comparison in document["comparisons"]}


def test_unknown_ids_and_impossible_settings_end_with_2_and_a_remedy(world):
    _, run, _ = world
    for command, said in (
        ("lowcarb forecast --params 7e9 --tokens 0 --device t4", "tokens"),
        ("lowcarb forecast --params 7e9 --tokens 1e9 --device t44", "t4"),
        ("lowcarb catalogue sites frnace", "france"),
        ("lowcarb study show nothing", "mini"),
        ("lowcarb report mini --format pdf", "html"),
        ("lowcarb study run none.yaml", "cannot be read"),
        ("lowcarb nonsense", "nonsense"),
    ):
        done = run(command)

        assert (2, "") == (done.returncode, done.stdout), command
        assert said in done.stderr.lower(), command


def test_track_passes_exit_codes_and_signals_through(world):
    _, run, _ = world
    for command, code in (("sh -c 'exit 7'", 7), ("sh -c 'kill -9 $$'", 137), ("no-such-program", 127)):
        assert code == run(f"lowcarb track --interval 0.2 -- {command}").returncode


def test_doctor_under_strict_ends_with_3_where_nothing_is_measured(world):
    _, run, _ = world
    done = run("lowcarb doctor --json --strict")

    assert (0 if json.loads(done.stdout)["measurable"] else 3) == done.returncode
