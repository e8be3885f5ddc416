"""Running a study: resumable, and no trial takes another one with it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lowcarb.catalogue import Catalogue
from lowcarb.core.design import design
from lowcarb.core.hardware import Machine
from lowcarb.core.trial import Arm, DataChoice, Inference, ModelChoice, Recipe, Study, TokenizerChoice
from lowcarb.errors import BudgetExceeded
from lowcarb.lab.base import Diverged, DryRunner
from lowcarb.lab.data import Corpus
from lowcarb.lab.study import Bench, run_study
from lowcarb.ledger.memory import MemoryLedger
from lowcarb.report.records import read_study
from lowcarb.report.study import study_document
from lowcarb.sensors.replay import Replay

CATALOGUE = Catalogue.load()
SITE = CATALOGUE.site("fra")
DATA = DataChoice("t", "v", "a")
MODELS = (
    ModelChoice("bert", "bert", "embedded:minilm"),
    ModelChoice("distilbert", "distilbert", "embedded:minilm", layers=(0, 2, 4)),
)
STUDY = Study(
    "s", "which?", DATA,
    tuple(Arm(model, TokenizerChoice("native"), Recipe(), Inference()) for model in MODELS),
    "bert/native", (0, 1), devices=("t4", "a100"),
)  # fmt: skip


class Heard:
    def __init__(self):
        self.ends, self.skips, self.steps = [], [], []

    def progress(self, progress):
        self.steps.append(progress)

    def ended(self, trial, number, trials, status, error):
        self.ends.append((trial.arm.id, trial.seed, status, error))

    def skipped(self, trial, number, trials):
        self.skips.append((trial.arm.id, trial.seed))


class Failing(DryRunner):
    """Raises once, in the training phase of one trial."""

    def __init__(self, error, at=("distilbert/native", 0)):
        super().__init__()
        self.error, self.at = error, at

    def run(self, trial, tracker, on_step):
        if (trial.arm.id, trial.seed) == self.at and self.error is not None:
            error, self.error = self.error, None
            with tracker.phase("train"):
                raise error
        return super().run(trial, tracker, on_step)


@pytest.fixture
def ledger():
    return MemoryLedger()


def bench(ledger):
    machine = Machine("m", "M", (), 2, 1e9)
    return Bench(ledger, CATALOGUE, machine, SITE, (Replay.steady(20.0),), interval_s=0.1)


def run(ledger, runner=None, study=STUDY):
    heard = Heard()
    whole = run_study(study, Corpus((), (), ()), runner or DryRunner(), bench(ledger), heard)
    return whole, heard


def document(ledger, study_id="s"):
    return study_document(*read_study(ledger, study_id), CATALOGUE, SITE)


def test_every_arm_meets_every_seed_and_is_recorded(ledger):
    whole, heard = run(ledger)

    assert whole
    assert {(arm.id, seed, "done") for arm in STUDY.arms for seed in STUDY.seeds} == {end[:3] for end in heard.ends}
    assert [("done", 1)] * 4 == [(t["status"], t["attempt"]) for t in document(ledger)["trials"]]


def test_a_study_that_was_done_runs_nothing_again(ledger):
    run(ledger)

    whole, heard = run(ledger)

    assert whole
    assert ([], 4) == (heard.ends, len(heard.skips))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Diverged("the loss is nan at step 3 of 9"), "diverged"),
        (MemoryError(), "out_of_memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out_of_memory"),
        (ValueError("surprise"), "failed"),
    ],
)
def test_a_trial_that_fails_is_marked_and_the_others_run(ledger, error, status):
    whole, heard = run(ledger, Failing(error))

    assert not whole
    assert [status] == [end[2] for end in heard.ends if end[2] != "done"]
    assert 4 == len(heard.ends)
    failed = next(trial for trial in document(ledger)["trials"] if trial["status"] != "done")
    assert (status, None) == (failed["status"], failed["validation"])
    assert failed["error"]


def test_a_failed_trial_is_tried_again_and_its_first_attempt_stays_on_the_bill(ledger):
    run(ledger, Failing(ValueError("surprise")))

    whole, heard = run(ledger)

    assert whole
    assert [("distilbert/native", 0, "done", None)] == heard.ends
    found = document(ledger)
    assert [2] == [trial["attempt"] for trial in found["trials"] if trial["attempt"] != 1]
    assert found["totals"]["wasted_j"] > 0
    assert found["totals"]["energy_j"]["mid"] > sum(
        phase["footprint"]["energy_j"]["mid"] for trial in found["trials"] for phase in trial["phases"]
    )


def test_ctrl_c_leaves_a_marked_trial_and_a_study_that_goes_on(ledger):
    with pytest.raises(KeyboardInterrupt):
        run(ledger, Failing(KeyboardInterrupt()))
    statuses = {trial["status"] for trial in document(ledger)["trials"]}

    whole, heard = run(ledger)

    assert "interrupted" in statuses
    assert whole
    assert ("distilbert/native", 0, "done", None) in heard.ends


def test_a_budget_stops_the_study_and_keeps_what_was_done(ledger):
    with pytest.raises(BudgetExceeded, match="time budget"):
        run(ledger, study=replace(STUDY, budget_s=1e-9))

    assert "over_budget" in {trial["status"] for trial in document(ledger)["trials"]}


def test_the_order_of_trials_is_drawn_anew_for_each_seed_but_always_the_same():
    study = replace(STUDY, seeds=tuple(range(8)))
    orders = [[t.arm.id for t in design(study, data_digest="d", machine="m") if t.seed == s] for s in study.seeds]

    assert design(study, data_digest="d", machine="m") == design(study, data_digest="d", machine="m")
    assert len({tuple(order) for order in orders}) > 1
    assert all(sorted(order) == sorted(orders[0]) for order in orders)


@pytest.mark.parametrize("change", ["seed", "data", "machine", "recipe"])
def test_what_changes_the_training_changes_the_key(change):
    trial = design(STUDY, data_digest="d", machine="m")[0]
    other = {
        "seed": replace(trial, seed=99),
        "data": replace(trial, data_digest="e"),
        "machine": replace(trial, machine="n"),
        "recipe": replace(trial, arm=replace(trial.arm, recipe=Recipe(batch=3))),
    }[change]

    assert trial.key != other.key
    assert trial.key == replace(trial, arm=replace(trial.arm, site="fra"), study="other").key


def test_the_document_is_json_with_the_promised_keys(ledger):
    run(ledger)

    found = json.loads(json.dumps(document(ledger), allow_nan=False))

    trial = found["trials"][0]
    promised = {"model", "tokenizer", "device", "seed", "status", "attempt", "validation", "adversarial", "steps",
                "tokens", "cpu_s", "wall_s", "footprint", "projections"}  # fmt: skip
    assert promised <= set(trial)
    assert {"em", "f1", "cosine", "sts"} <= set(trial["validation"])
    assert {"energy_j", "operational_g", "embodied_g", "water_l", "cost", "duration_s", "measured_share", "scope",
            "method", "sources"} == set(trial["footprint"])  # fmt: skip
    comparison = found["comparisons"][0]
    assert {"factor", "baseline", "arm", "carbon_ratio", "quality_change", "pairs", "verdict", "benefits",
            "drawbacks"} <= set(comparison)  # fmt: skip
    assert {"low", "mid", "high", "basis"} == set(comparison["carbon_ratio"])
    assert {"pareto", "checks", "sources", "totals"} <= set(found)


def test_the_hardware_contrast_is_there_and_is_called_modelled(ledger):
    run(ledger)

    found = document(ledger)

    assert {"t4", "a100"} == set(found["trials"][0]["projections"])
    assert [("t4", "a100", "modelled")] == [
        (c["baseline"], c["arm"], c["carbon_ratio"]["basis"]) for c in found["comparisons"] if c["factor"] == "device"
    ]


def test_a_device_that_cannot_be_projected_onto_is_named(ledger):
    run(ledger, study=replace(STUDY, arms=tuple(replace(a, recipe=Recipe(precision="bf16")) for a in STUDY.arms)))

    found = document(ledger)

    assert {"a100"} == set(found["trials"][0]["projections"])
    assert ["devices.t4"] == [c["where"] for c in found["checks"] if c["check"] == "device-left-out"]
    assert not [c for c in found["comparisons"] if c["factor"] == "device"]


def test_a_swap_that_changed_nothing_is_still_told_when_the_study_is_shown_later(ledger):
    class Same(DryRunner):
        def run(self, trial, tracker, on_step):
            facts = dict(super().run(trial, tracker, on_step))
            return facts | {"tokenizer": facts["tokenizer"] | {"same_vocabulary": trial.arm.tokenizer.kind != "native"}}

    swapped = replace(STUDY.arms[0], tokenizer=TokenizerChoice("again", "pretrained", source="there"))
    run(ledger, Same(), replace(STUDY, arms=(*STUDY.arms, swapped)))

    assert ["bert/again"] == [c["where"] for c in document(ledger)["checks"] if c["check"] == "no-op-swap"]


def test_another_site_prices_the_same_energy_anew(ledger):
    run(ledger)
    records = read_study(ledger, "s")

    here, there = (study_document(*records, CATALOGUE, CATALOGUE.site(name)) for name in ("fra", "pol"))

    a, b = here["trials"][0]["footprint"], there["trials"][0]["footprint"]
    assert a["energy_j"] == b["energy_j"]
    assert b["operational_g"]["mid"] > 2 * a["operational_g"]["mid"]
