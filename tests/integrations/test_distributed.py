"""Two real processes that train together: one meter, and one stop for both."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest

from lowcarb.integrations.hook import hook_environment
from lowcarb.sensors.replay import Replay
from lowcarb.tracker.command import run_command
from lowcarb.tracker.recover import open_ledger

pytest.importorskip("accelerate", reason="the hf extra is not installed")

TRAIN = """
    import json, os, sys, time
    from pathlib import Path

    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

    rank, folder, settings = int(os.environ["RANK"]), Path(sys.argv[1]), json.loads(sys.argv[2])


    class Watcher(TrainerCallback):
        seen = False

        def on_log(self, args, state, control, logs=None, **named):
            self.seen |= "lowcarb/energy_kwh" in logs

        def on_step_end(self, args, state, control, **named):
            (folder / "trains").touch()
            time.sleep(0.01 * (1 + rank))


    callbacks = [watcher := Watcher()]
    if settings is not None:
        from lowcarb.integrations.huggingface import LowcarbCallback
        from lowcarb.sensors.replay import Replay

        callbacks.append(LowcarbCallback(sensors=[Replay.steady(50.0)], interval_s=0.1, **settings))
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2,
    ))
    arguments = TrainingArguments(
        output_dir=str(folder / "out"), max_steps=100_000, per_device_train_batch_size=2, logging_steps=5,
        use_cpu=True, report_to="none", disable_tqdm=True, save_strategy="no", include_num_input_tokens_seen="all",
    )
    rows = [{"input_ids": torch.arange(8), "labels": torch.arange(8)} for _ in range(16)]
    trainer = Trainer(model=model, args=arguments, train_dataset=rows, callbacks=callbacks)
    trainer.train()
    (folder / f"{rank}.json").write_text(json.dumps([trainer.state.global_step, watcher.seen]))
    trainer.end()
"""
TOKENS_PER_STEP = 32
"""Of both processes."""


class Waking(Replay):
    """Draws next to nothing until a file appears, and then a lot."""

    def wait_for(self, path):
        self._path = path
        return self

    def read(self, at_s):
        return tuple(replace(one, value=one.value if self._path.exists() else 0.001) for one in super().read(at_s))


@pytest.fixture
def argv(tmp_path, monkeypatch):
    """A command that trains in two processes."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    program = tmp_path / "train.py"
    program.write_text(textwrap.dedent(TRAIN))

    def argv(settings):
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        return [*launcher, str(program), str(tmp_path), json.dumps(settings)]

    return argv


@pytest.fixture
def check(tmp_path):
    """What holds in any case: one attempt, which ended at one step in both processes, with a checkpoint."""

    def check(attempts):
        (steps, first_seen), (other_steps, second_seen) = (
            json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)
        )
        (attempt,) = attempts
        assert steps == other_steps < 100_000
        assert (True, False) == (first_seen, second_seen)
        assert "over_budget" == attempt.status
        assert (steps, steps * TOKENS_PER_STEP) == (attempt.document["steps"], attempt.document["tokens"])
        assert (tmp_path / "out" / f"checkpoint-{steps}" / "trainer_state.json").exists()

    return check


def test_both_stop_after_the_same_step(argv, check):
    done = subprocess.run(argv({"site": "fra", "budget": "60 J"}), capture_output=True, text=True, timeout=100)

    assert 0 == done.returncode, done.stderr
    ledger = open_ledger()
    check([one for run in ledger.runs() for one in ledger.attempts(run.id)])
    ledger.close()


def test_both_stop_at_the_budget_of_the_command_that_they_run_under(argv, check, settings, attempts, tmp_path):
    settings["sensors"] = [Waking.steady(50.0).wait_for(tmp_path / "trains")]

    outcome = run_command(argv(None), environ=hook_environment({}), budget="20 J", **settings)

    assert (0, "over_budget") == (outcome.exit_code, outcome.status)
    check(attempts())
