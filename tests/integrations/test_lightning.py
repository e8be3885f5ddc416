"""A real Lightning Trainer with a tiny module: phases, logs, failures, budgets and resumption."""

from __future__ import annotations

import csv
import logging
import subprocess
import sys
import time
import warnings

import pytest

torch = pytest.importorskip("torch", reason="the lightning extra is not installed")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what it imports is not ours to mend
    pl = pytest.importorskip("lightning.pytorch", reason="the lightning extra is not installed")
    from lightning.pytorch.loggers import CSVLogger

from lowcarb.integrations import lightning as ours  # noqa: E402  # after the check
from lowcarb.integrations.lightning import LowcarbCallback  # noqa: E402  # after the check

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning warns of small data and few workers
KEYS = {"lowcarb/energy_kwh", "lowcarb/power_w", "lowcarb/co2e_g", "lowcarb/measured_share", "lowcarb/tokens_per_kwh"}


class Tiny(pl.LightningModule):
    def __init__(self, act=lambda step: None):
        super().__init__()
        self.layer, self._act = torch.nn.Linear(4, 1), act

    def training_step(self, batch, batch_idx):
        self._act(self.global_step)
        return self.layer(batch).mean()

    def validation_step(self, batch, batch_idx):
        return self.layer(batch).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.ones(6, 4), batch_size=1)

    def val_dataloader(self):
        return torch.utils.data.DataLoader(torch.ones(2, 4), batch_size=1)


@pytest.fixture(autouse=True)
def _quiet():
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)


@pytest.fixture
def make(tmp_path):
    """A Trainer of six steps that logs each, and evaluates and saves in the end."""

    def make(*callbacks, **changes):
        usual = {
            "accelerator": "cpu", "devices": 1, "max_epochs": 1, "log_every_n_steps": 1, "enable_progress_bar": False,
            "enable_model_summary": False, "default_root_dir": tmp_path, "logger": CSVLogger(tmp_path, version=0),
        }  # fmt: skip
        return pl.Trainer(**{**usual, **changes}, callbacks=list(callbacks))

    return make


def raise_at(step, error):
    def act(now):
        if now == step:
            raise error

    return act


def test_a_training_is_one_attempt_with_its_phases(make, settings, attempts, phases):
    make(LowcarbCallback("fine-tune", **settings)).fit(Tiny())

    (attempt,) = attempts()
    assert (attempt.status, attempt.document["faults"]) == ("done", [])
    assert {"other": 1, "prepare": 2, "evaluate": 2, "train": 2, "save": 1} == phases(attempt)
    assert 6 == attempt.document["steps"]
    notes = attempt.document["notes"]
    assert ("Tiny", 5, "32-true", 1) == tuple(notes[key] for key in ("model", "parameters", "precision", "epochs"))
    assert "tokens=" in notes["tokens"]


def test_loggers_see_our_figures(make, settings, tmp_path, attempts):
    callback = LowcarbCallback(tokens=lambda batch: batch.numel(), **settings)

    make(callback).fit(Tiny(lambda step: time.sleep(0.02)))

    with (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert 6 == len(rows)
    assert rows[-1].keys() >= KEYS
    assert float(rows[-1]["lowcarb/power_w"]) == pytest.approx(50.0)
    assert 24 == attempts()[0].document["tokens"]


@pytest.mark.parametrize(
    ("error", "status", "raised"),
    [
        (ValueError("no"), "failed", ValueError),
        (torch.OutOfMemoryError("no memory"), "out_of_memory", RuntimeError),
        (KeyboardInterrupt(), "interrupted", SystemExit),
    ],
)
def test_a_training_that_raises_keeps_its_energy(make, settings, attempts, error, status, raised):
    trainer = make(LowcarbCallback(**settings))

    with pytest.raises(raised):
        trainer.fit(Tiny(raise_at(2, error)))

    (attempt,) = attempts()
    assert (status, 2) == (attempt.status, attempt.document["steps"])
    assert attempt.energy_j > 0


def test_a_budget_ends_the_training_with_a_checkpoint_to_go_on_from(make, settings, attempts, tmp_path):
    trainer = make(LowcarbCallback(budget="1 J", **settings), max_epochs=1000, enable_checkpointing=False)

    trainer.fit(Tiny(lambda step: time.sleep(0.02)))

    steps = trainer.global_step
    assert steps < 6000
    (checkpoint,) = tmp_path.glob("over-budget-*.ckpt")
    make(LowcarbCallback(**settings), max_steps=steps + 2, max_epochs=-1).fit(Tiny(), ckpt_path=checkpoint)

    first, second = attempts()
    assert first.run_id == second.run_id
    assert [("over_budget", steps), ("done", 2)] == [(one.status, one.document["steps"]) for one in (first, second)]


def test_a_checkpoint_of_ours_is_good_for_those_who_do_without(make, settings, tmp_path):
    trainer = make(LowcarbCallback(**settings))
    trainer.fit(Tiny())

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make(max_epochs=2).fit(Tiny(), ckpt_path=trainer.checkpoint_callback.best_model_path)

    assert [] == [one for one in caught if "lowcarb" in str(one.message).lower()]


def test_two_callbacks_count_once(make, settings, attempts):
    """A user's own, and the hook's."""
    make(LowcarbCallback(**settings), LowcarbCallback(**settings)).fit(Tiny())

    assert [6] == [attempt.document["steps"] for attempt in attempts()]


@pytest.mark.parametrize(("value", "count"), [(None, 0), ("0", 0), ("1", 1)])
def test_installing_the_package_meters_nobody(make, monkeypatch, value, count):
    if value is not None:
        monkeypatch.setenv("LOWCARB_HOOK", value)

    trainer = make()

    assert count == sum(isinstance(one, ours.LowcarbEvents) for one in trainer.callbacks)


def test_the_module_loads_no_lightning_until_it_is_asked():
    program = "import sys, lowcarb.integrations.lightning; print(*{'torch', 'lightning'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert "" == done.stdout.strip()


def test_the_other_package_is_served_by_the_same_code(make, settings, attempts, tmp_path, monkeypatch):
    other = pytest.importorskip("pytorch_lightning")
    monkeypatch.setenv("LOWCARB_HOOK", "1")
    (callback,) = ours.pytorch_lightning_factory()

    assert isinstance(callback, other.Callback)
    assert not isinstance(callback, pl.Callback)
