"""A study that is killed outright: what it measured is in the ledger, and the same command goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the lab extra is not installed")

ROOT = Path(__file__).parents[2]
SMALL = [
    "--set", "data.train_questions=40", "--set", "data.test_questions=8", "--set", "arms=[t5/native]",
    "--set", "baseline=t5/native", "--set", "seeds=[0]", "--set", "devices=[]",
]  # fmt: skip


def lowcarb(*arguments, home):
    environment = os.environ | {"LOWCARB_HOME": str(home)}
    return [sys.executable, "-m", "lowcarb", *arguments], {"env": environment, "cwd": ROOT, "text": True}


def run(*arguments, home):
    command, settings = lowcarb(*arguments, home=home)
    return subprocess.run(command, capture_output=True, timeout=300, **settings)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_what_was_measured_is_kept_and_the_study_goes_on(tmp_path, number):
    study = ["study", "run", "studies/mini.yaml", *SMALL]
    command, settings = lowcarb(
        *study, "--set", "recipe.epochs=1000", "--set", "recipe.max_steps=100000", home=tmp_path
    )
    # A shell starts what it puts in the background with SIGINT ignored.
    settings["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, **settings) as child:
        for line in child.stderr:
            if "step" in line:
                break
        time.sleep(3.0)
        child.send_signal(number)
        child.wait(timeout=60)

    (killed,) = json.loads(run("ledger", "list", "--json", home=tmp_path).stdout)["runs"]
    attempt = killed["attempts"][-1]

    assert ("interrupted", "mini") == (attempt["status"], killed["study"])
    assert attempt["energy_j"] > 0
    assert (128 + number if number == signal.SIGINT else -number) == child.returncode

    again = run(*study, "--set", "recipe.max_steps=2", "--json", home=tmp_path)

    assert again.returncode == 0, again.stderr
    assert ["done"] == [trial["status"] for trial in json.loads(again.stdout)["trials"]]
