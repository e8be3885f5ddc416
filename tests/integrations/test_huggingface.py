"""A real Trainer with a tiny model: phases, logs, failures, budgets and resumption."""

from __future__ import annotations

import gc
import json
import pickle
import subprocess
import sys
import time

import pytest

from lowcarb.errors import CatalogueError, SettingError

torch = pytest.importorskip("torch", reason="the hf extra is not installed")
transformers = pytest.importorskip("transformers", reason="the hf extra is not installed")
pytest.importorskip("accelerate", reason="the hf extra is not installed")

from lowcarb.integrations.huggingface import LowcarbCallback, attach, callback_of  # noqa: E402  # after the check

KEYS = {"lowcarb/energy_kwh", "lowcarb/power_w", "lowcarb/co2e_g", "lowcarb/measured_share", "lowcarb/tokens_per_kwh"}
ROWS = [{"input_ids": torch.arange(8), "labels": torch.arange(8)} for _ in range(16)]
TOKENS_PER_STEP = 16


class Watcher(transformers.TrainerCallback):
    """Stands for a tracker of the user's: sees what is logged, and does something to the training."""

    def __init__(self, on_step_end=lambda step: None):
        self.logs, self._act = [], on_step_end

    def on_log(self, args, state, control, logs=None, **named):
        self.logs.append(dict(logs))

    def on_step_end(self, args, state, control, **named):
        self._act(state.global_step)


@pytest.fixture
def make(tmp_path):
    """A Trainer of six steps that logs each, and evaluates and saves at the third and the last."""

    def make(*callbacks, **changes):
        torch.manual_seed(0)
        config = transformers.LlamaConfig(
            vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=2,
        )  # fmt: skip
        usual = {
            "output_dir": str(tmp_path / "out"), "max_steps": 6, "per_device_train_batch_size": 2, "logging_steps": 1,
            "eval_strategy": "steps", "eval_steps": 3, "save_steps": 3, "use_cpu": True, "report_to": "none",
            "disable_tqdm": True, "include_num_input_tokens_seen": "all", "dataloader_pin_memory": False,
        }  # fmt: skip
        return transformers.Trainer(
            model=transformers.LlamaForCausalLM(config),
            args=transformers.TrainingArguments(**{**usual, **changes}),
            train_dataset=ROWS,
            eval_dataset=ROWS[:4],
            callbacks=list(callbacks),
        )

    return make


def raise_at(step, error):
    def act(now):
        if now == step:
            raise error

    return act


def test_a_training_is_one_attempt_with_its_phases(make, settings, attempts, phases):
    make(LowcarbCallback("fine-tune", **settings)).train()

    (attempt,) = attempts()
    assert (attempt.status, attempt.document["faults"]) == ("done", [])
    assert {"other": 1, "prepare": 1, "train": 3, "evaluate": 2, "save": 2} == phases(attempt)
    assert (6, 6 * TOKENS_PER_STEP) == (attempt.document["steps"], attempt.document["tokens"])
    notes = attempt.document["notes"]
    assert ("llama", 2, "fp32", 6) == tuple(
        notes[key] for key in ("model", "batch_per_device", "precision", "max_steps")
    )
    assert notes["parameters"] == notes["trainable_parameters"] > 0
    assert notes["total_flos"] > 0


@pytest.mark.parametrize("way", ["callbacks", "attach"])
def test_trackers_of_the_user_see_our_figures(make, settings, way):
    watcher = Watcher(lambda step: time.sleep(0.02))
    if way == "callbacks":
        trainer = make(watcher, LowcarbCallback(**settings))
    else:
        trainer = make(watcher)
        attach(trainer, **settings)

    trainer.train()

    steps = [logs for logs in watcher.logs if "loss" in logs]
    assert len(steps) == 6
    assert all(logs.keys() >= KEYS - {"lowcarb/power_w"} for logs in steps)
    energies_kwh = [logs["lowcarb/energy_kwh"] for logs in steps]
    assert sorted(energies_kwh) == energies_kwh
    assert watcher.logs[-1].keys() >= KEYS
    assert watcher.logs[-1]["lowcarb/power_w"] == pytest.approx(50.0)


def test_the_state_file_of_a_checkpoint_has_them_too(make, settings, tmp_path):
    make(LowcarbCallback(**settings)).train()

    state = json.loads((tmp_path / "out" / "checkpoint-6" / "trainer_state.json").read_text())
    assert all(entry.keys() >= KEYS - {"lowcarb/power_w"} for entry in state["log_history"])


def test_what_an_evaluation_returns_is_left_alone(make, settings):
    """A search for hyperparameters sums it up."""
    watcher, returned = Watcher(), []
    trainer = make(watcher, LowcarbCallback(**settings), eval_on_start=True)
    evaluate = trainer.evaluate
    trainer.evaluate = lambda *args, **named: returned.append(evaluate(*args, **named)) or returned[-1]

    trainer.train()

    assert 3 == len(returned)
    assert [] == [key for metrics in returned for key in metrics if key.startswith("lowcarb/")]


def test_tokens_that_nobody_counts_are_unknown(make, settings, attempts):
    watcher = Watcher()

    make(watcher, LowcarbCallback(**settings), include_num_input_tokens_seen="no").train()

    (attempt,) = attempts()
    assert "include_num_input_tokens_seen" in attempt.document["notes"]["tokens"]
    assert not any("lowcarb/tokens_per_kwh" in logs for logs in watcher.logs)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("no"), "failed"),
        (torch.OutOfMemoryError("no memory"), "out_of_memory"),
        (KeyboardInterrupt(), "interrupted"),
    ],
)
def test_a_training_that_raises_keeps_its_energy(make, settings, attempts, error, status):
    trainer = make(LowcarbCallback(**settings), Watcher(raise_at(2, error)))

    with pytest.raises(type(error)):
        trainer.train()

    (attempt,) = attempts()
    assert status == attempt.status
    assert attempt.energy_j > 0
    assert 2 == attempt.document["steps"]


def test_the_next_training_is_a_run_of_its_own(make, settings, attempts):
    trainer = make(LowcarbCallback(**settings))

    trainer.train()
    trainer.train()

    first, second = attempts()
    assert first.run_id != second.run_id
    assert ["done", "done"] == [first.status, second.status]


def test_a_smaller_batch_after_too_large_a_one_is_another_attempt(make, settings, attempts):
    once = iter([torch.OutOfMemoryError("CUDA out of memory.")])

    def act(step):
        for error in once:
            raise error

    trainer = make(LowcarbCallback(**settings), Watcher(act), auto_find_batch_size=True)
    trainer.train()

    first, second = attempts()
    assert first.run_id == second.run_id
    assert ["out_of_memory", "done"] == [first.status, second.status]


def test_where_train_is_not_the_trainers_own_a_failure_is_known_when_the_trainer_is_gone(make, settings, attempts):
    trainer = make(LowcarbCallback(**settings), Watcher(raise_at(2, ValueError("no"))))
    inner = transformers.Trainer.train.__wrapped__  # as a Trainer has it that overrides `train` altogether

    with pytest.raises(ValueError, match="no"):
        inner(trainer)
    (running,) = attempts()
    del trainer
    gc.collect()
    for _ in range(200):
        if attempts()[0].status != "running":
            break
        time.sleep(0.02)

    assert "running" == running.status
    (attempt,) = attempts()
    assert ("failed", 2) == (attempt.status, attempt.document["steps"])


def test_without_any_sign_the_next_training_ends_the_former_as_failed(make, settings, attempts):
    callback = LowcarbCallback(**settings)
    inner = transformers.Trainer.train.__wrapped__
    with pytest.raises(ValueError, match="no"):
        inner(make(callback, Watcher(raise_at(2, ValueError("no")))))

    inner(make(callback))

    first, second = attempts()
    assert first.run_id != second.run_id
    assert ["failed", "done"] == [first.status, second.status]


def test_a_budget_ends_the_training_with_a_checkpoint(make, settings, attempts, tmp_path):
    trainer = make(
        LowcarbCallback(budget="1 J", **settings), Watcher(lambda step: time.sleep(0.02)), max_steps=1000,
        save_strategy="no", eval_strategy="no",
    )  # fmt: skip

    trainer.train()

    (attempt,) = attempts()
    steps = trainer.state.global_step
    assert steps < 1000
    assert ("over_budget", steps) == (attempt.status, attempt.document["steps"])
    assert attempt.energy_j >= 1.0
    assert (tmp_path / "out" / f"checkpoint-{steps}" / "trainer_state.json").exists()


@pytest.mark.parametrize("restore", [False, True])
def test_a_resumed_training_is_the_second_attempt_of_its_run(make, settings, attempts, tmp_path, restore):
    with pytest.raises(ValueError, match="no"):
        make(LowcarbCallback(**settings), Watcher(raise_at(4, ValueError("no")))).train()
    trainer = make(LowcarbCallback(**settings), restore_callback_states_from_checkpoint=restore)

    trainer.train(resume_from_checkpoint=True)

    first, second = attempts()
    assert first.run_id == second.run_id
    assert ["failed", "done"] == [first.status, second.status]
    assert (3, 3 * TOKENS_PER_STEP) == (second.document["steps"], second.document["tokens"])
    assert 3 == second.document["notes"]["resumed_at_step"]
    assert trainer.callback_handler.callbacks[1] is callback_of(trainer)


def test_going_on_from_a_checkpoint_that_was_made_without_us(make, settings, attempts):
    make().train(None)

    make(LowcarbCallback(**settings), max_steps=8).train(resume_from_checkpoint=True)

    (attempt,) = attempts()
    assert ("done", 2) == (attempt.status, attempt.document["steps"])


def test_a_checkpoint_of_ours_is_good_for_those_who_do_without(make, settings):
    make(LowcarbCallback(**settings)).train()

    trainer = make(max_steps=8, restore_callback_states_from_checkpoint=True)
    trainer.train(resume_from_checkpoint=True)

    assert 8 == trainer.state.global_step


def test_settings_are_checked_where_the_callback_is_made():
    with pytest.raises(SettingError):
        LowcarbCallback(interval_s=-1.0)
    with pytest.raises(CatalogueError):
        LowcarbCallback(site="atlantis")


def test_attaching_twice_attaches_once(make, settings):
    trainer = make()

    assert attach(trainer, **settings) is attach(trainer)
    assert 1 == sum(isinstance(one, LowcarbCallback) for one in trainer.callback_handler.callbacks)


def test_a_callback_can_be_sent_to_another_process(tmp_path):
    """Ray does so with a Trainer, when it searches for hyperparameters."""
    callback = pickle.loads(pickle.dumps(LowcarbCallback("name", site="fra", home=tmp_path)))

    assert isinstance(callback, LowcarbCallback)


def test_a_fault_of_ours_does_not_reach_the_training(make, settings, attempts, monkeypatch):
    callback = LowcarbCallback(**settings)
    trainer = make(callback, Watcher(lambda step: monkeypatch.setattr(callback, "_training", object())))

    trainer.train()

    assert 6 == trainer.state.global_step


def test_importing_the_package_loads_no_framework():
    program = "import sys, lowcarb.integrations; print(*{'torch', 'transformers', 'lightning'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert "" == done.stdout.strip()
