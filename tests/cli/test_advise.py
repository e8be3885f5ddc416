"""`lowcarb advise`: from a run, a study of the ledger or a study file."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from lowcarb.catalogue import Catalogue
from lowcarb.cli import advise as command
from lowcarb.cli.app import app, run
from lowcarb.core.documents import energy_as_dict, machine_as_dict, site_as_dict
from lowcarb.core.energy import DeviceEnergy, Energy
from lowcarb.core.estimate import Estimate
from lowcarb.core.hardware import Device, Installed, Machine
from lowcarb.core.levers import Able, parse_pulled, pull
from lowcarb.core.trial import Arm, DataChoice, Inference, ModelChoice, Recipe, Study, TokenizerChoice, Trial
from lowcarb.ledger import open_ledger

CATALOGUE = Catalogue.load()
MACHINE = Machine("m", "M", (), 2, 1e9)
BASE = Arm(
    ModelChoice("bert", "bert", "embedded:minilm"), TokenizerChoice("native"), Recipe(padding="max"), Inference()
)
DATA = DataChoice("t", "v", "a")
CPU = Able(frozenset({"fp32", "bf16"}))
FILE = """
id: s
question: which?
data:
  train: embedded:jouleqa/train
  validation: embedded:jouleqa/validation
  adversarial: embedded:jouleqa/adversarial
models: [{id: bert, family: bert, source: "embedded:minilm"}]
recipe: {padding: max}
seeds: [0, 1]
margin: 1.0
"""


@pytest.fixture
def lowcarb(capsys):
    if not any(one.name == "advise" for one in app.registered_commands):
        app.command("advise")(command.advise)

    def call(*arguments):
        code = run(["advise", *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def document(lowcarb, path):
    def of(*arguments):
        code, out, err = lowcarb(*arguments, "--ledger", path, "--json")
        assert code == 0, err
        return json.loads(out)

    return of


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "ledger.db")


@pytest.fixture
def book(path):
    opened = open_ledger(path)
    yield opened
    opened.close()


def energy(joules, kind="cpu", duration_s=10.0):
    drawn = DeviceEnergy("d0", kind, "nvml" if kind == "gpu" else "cpu-model", Estimate.around(joules, 1.1, "modelled"),
                         1.0, 0.0)  # fmt: skip
    return energy_as_dict(Energy(duration_s, (drawn,)))


def entry(book, key, joules, *, status="done", kind="track", name="job", study=None, notes=None, at=0, **document):
    attempt_id = f"{key}-{status}-{at}"
    book.begin(attempt_id=attempt_id, key=key, kind=kind, name=name, study=study, started_ns=at)
    device = document.pop("device", "cpu")
    held = {} if joules is None else {
        "energy": energy(joules, device),
        "phases": [{"name": "train", "wall_s": 10.0, "cpu_s": 19.0, "energy": energy(joules, device)}],
    }  # fmt: skip
    whole = {
        "machine": machine_as_dict(MACHINE), "site": site_as_dict(CATALOGUE.site("pol")), "notes": notes or {},
        "wall_s": 10.0, "cpu_s": 19.0, **held, **document,
    }  # fmt: skip
    book.finish(attempt_id, status=status, ended_ns=at + 10, document=whole)


def trials(book, figures, *, study_id="s", padding=(1000.0, 400.0)):
    """A study in the ledger: energy [J] and F1 of each seed, by arm."""
    arms = {"": BASE}
    for text in figures:
        if text:
            arms[text] = pull(Trial("", BASE, DATA, "", 0, ""), [parse_pulled(text)], CPU).arm
    levers = tuple(text for text in figures if text)
    study = Study(study_id, "which?", DATA, tuple(arms.values()), BASE.id, (0, 1, 2), levers=levers)
    for text, seeds in figures.items():
        for seed, (joules, f1) in enumerate(seeds):
            trial = Trial(study_id, arms[text], DATA, "digest", seed, "m", levers=arms[text].levers)
            scores = {"em": f1, "f1": f1, "cosine": 0.5, "sts": 0.5, "questions": 4, "per_question_f1": [f1] * 4,
                      "groups": [0, 0, 1, 1]}  # fmt: skip
            result = {
                "scores": {"validation": scores, "adversarial": scores},
                "training": {"tokens": padding[0], "real_tokens": padding[1], "steps": 3},
            }
            notes = {"study": asdict(study), "trial": asdict(trial), "result": result}
            entry(book, trial.key, joules, kind="trial", name=trial.name, study=study_id, notes=notes, at=seed)
    return study


def advised(found):
    return {one["id"]: one for one in found["advice"]}


def test_a_study_file_without_results_gives_claims_and_says_so(document, tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text(FILE)

    found = document(file)

    assert any("no result" in note for note in found["notes"])
    grouped = advised(found)["grouped-padding"]
    assert {one["kind"] for one in grouped["evidence"]} <= {"published", "assumed"}
    assert grouped["how"] == f"lowcarb study run {file} --set 'levers=[grouped-padding]'"
    assert found["energy_j"] is None
    assert [one["worth"] for one in found["advice"]] == sorted((a["worth"] for a in found["advice"]), reverse=True)
    assert all(one["saving"].keys() == {"low", "mid", "high", "basis"} for one in found["advice"])


def test_what_was_measured_in_the_ledger_decides(document, book):
    held = [(50.0, 50.1), (51.0, 51.2), (49.0, 49.9)]
    lost = [(40.0, 30.0), (41.0, 31.0), (40.5, 29.0)]
    trials(book, {"": [(100.0, 50.0), (101.0, 51.0), (99.0, 50.0)], "bf16": held, "no-dropout": lost})

    found = document("s")

    assert found["subject"]["kind"] == "study"
    bf16 = advised(found)["bf16"]
    assert bf16["evidence"][0]["kind"] == "measured here"
    assert bf16["saving"]["mid"] == pytest.approx(0.5, abs=0.02)
    assert "no-dropout" not in advised(found)
    assert "measured here" in next(one["why"] for one in found["not_advised"] if one["id"] == "no-dropout")
    assert "padding" in {one["id"] for one in found["waste"]}


def test_a_trial_of_the_study_is_advised_on_like_its_study(document, book):
    trials(book, {"": [(100.0, 50.0)] * 3, "bf16": [(50.0, 50.0), (51.0, 50.1), (50.0, 50.1)]})
    id_ = next(run.id for run in book.runs() if "+" not in run.name)

    found = document(id_)

    assert found["subject"]["kind"] == "run"
    assert advised(found)["bf16"]["evidence"][0]["kind"] == "measured here"


def test_results_of_another_study_stand_beside_the_claim(document, book, tmp_path):
    trials(book, {"": [(100.0, 50.0)] * 3, "bf16": [(50.0, 50.0), (51.0, 50.1), (50.0, 50.1)]}, study_id="other")
    file = tmp_path / "s.yaml"
    file.write_text(FILE)

    kinds = [one["kind"] for one in advised(document(file))["bf16"]["evidence"]]

    assert kinds == ["assumed", "measured here"]


HF = {
    "framework": "transformers 5", "model": "bert", "batch_per_device": 16, "gradient_accumulation_steps": 1,
    "epochs": 3, "precision": "fp32", "parameters": 1e8,
}  # fmt: skip


def test_a_tracked_training_is_advised_in_its_own_words(document, book):
    entry(book, "hf", 100.0, notes=HF)

    found = advised(document("hf"))

    assert found["bf16"]["how"] == "TrainingArguments(bf16=True)"
    assert "may do so already" in found["grouped-padding"]["drawbacks"][-1]
    assert not any("may do so already" in one for one in found["bf16"]["drawbacks"])
    assert any(name.startswith("greener-site") for name in found)


def test_a_training_in_bf16_is_not_told_to_use_it(document, book):
    entry(book, "hf", 100.0, notes={**HF, "precision": "bf16"})

    found = document("hf")

    assert "bf16" not in advised(found)
    assert "bf16" in {one["id"] for one in found["not_advised"]}


def test_failed_and_interrupted_attempts_are_waste_unless_the_next_went_on_from_them(document, book):
    entry(book, "hf", 30.0, status="interrupted", notes=HF, at=1)
    entry(book, "hf", 70.0, notes=HF, at=2)
    (lost,) = [one for one in document("hf")["waste"] if one["id"] == "lost-attempts"]
    assert lost["share"]["mid"] == pytest.approx(0.3)

    entry(book, "again", 30.0, status="interrupted", notes=HF, at=3)
    entry(book, "again", 70.0, notes={**HF, "resumed_at_step": 7}, at=4)
    assert "lost-attempts" not in {one["id"] for one in document("again")["waste"]}


def state(folder, key, losses):
    history = [
        {"eval_loss": loss, "epoch": float(index), "lowcarb/energy_kwh": index * 1e-5}
        for index, loss in enumerate(losses, start=1)
    ]
    saved = {"log_history": history, "stateful_callbacks": {"lowcarb": {"args": {}, "attributes": {"key": key}}}}
    (folder / "checkpoint-9").mkdir()
    (folder / "checkpoint-9" / "trainer_state.json").write_text(json.dumps(saved))


def test_epochs_after_the_best_are_read_off_the_trainers_own_state(document, book, tmp_path):
    state(tmp_path, "hf", [2.0, 1.0, 1.5, 1.6])
    entry(book, "hf", 144.0, notes={**HF, "output_dir": str(tmp_path)})

    found = document("hf")

    (waste,) = [one for one in found["waste"] if one["id"] == "after-the-best"]
    assert waste["share"]["mid"] == pytest.approx(0.5)
    assert advised(found)["stop-at-the-best"]["saving"]["high"] == pytest.approx(0.5)


def test_the_state_of_another_run_is_left_alone(document, book, tmp_path):
    state(tmp_path, "somebody else's", [2.0, 1.0, 1.5, 1.6])
    entry(book, "hf", 144.0, notes={**HF, "output_dir": str(tmp_path)})

    assert "after-the-best" not in {one["id"] for one in document("hf")["waste"]}


def test_a_run_on_a_gpu_is_told_of_idle_time_other_devices_and_a_power_cap(document, book):
    card = CATALOGUE.device("v100-sxm2-16gb")
    machine = replace(MACHINE, devices=(Installed(card),))
    entry(book, "hf", 900.0, notes=HF, device="gpu", machine=machine_as_dict(machine))

    found = document("hf")

    assert {"idle-gpu", "data-stall"} <= {one["id"] for one in found["waste"]}
    assert any(name.startswith("other-device") for name in advised(found))
    assert "gpu_limits" in advised(found)["power-cap"]["how"]


def test_a_device_that_the_catalogue_does_not_know_is_no_reason_to_fail(document, book):
    machine = replace(MACHINE, devices=(Installed(Device("nobody's", "X", "gpu")),))
    entry(book, "hf", 900.0, notes=HF, device="gpu", machine=machine_as_dict(machine))

    assert not any(name.startswith("other-device") for name in advised(document("hf")))


def test_a_run_without_energy_is_advised_and_that_is_said(document, book):
    entry(book, "hf", None, notes=HF)

    found = document("hf")

    assert found["advice"]
    assert "no-energy" in {one["id"] for one in found["waste"]}
    assert any("energy is not known" in note for note in found["notes"])


def test_a_run_of_which_nothing_is_known_is_advised_all_the_same(document, book):
    book.begin(attempt_id="a", key="k", kind="track", name="n", study=None, started_ns=1)

    found = document()

    assert found["subject"]["name"] == "n"
    assert {"no-energy", "unknown-site"} <= {one["id"] for one in found["waste"]}


def test_another_site_prices_it_anew(document, book):
    entry(book, "hf", 100.0, notes=HF)

    assert document("hf", "--site", "fra")["subject"]["site"] == "fra"
    assert document("hf")["subject"]["site"] == "pol"


def test_where_nobody_said_where_it_runs_one_place_is_named_and_nothing_is_sure(document, book):
    entry(book, "hf", 100.0, notes=HF, site=site_as_dict(CATALOGUE.unknown_site()))

    (place,) = (one for one in document("hf")["advice"] if one["of"] == "carbon")
    assert place["saving"]["low"] == 0.0 < place["saving"]["mid"]


def test_the_levers_that_are_put_together_are_named_and_what_did_not_hold_here_too(lowcarb, book, path):
    trials(book, {"": [(100.0, 50.0)] * 3, "bf16": [(150.0, 50.0), (151.0, 50.1), (150.0, 50.1)]})

    code, out, err = lowcarb("s", "--ledger", path)

    assert code == 0, err
    shown = " ".join(out.split())
    assert "Not advised" in shown
    assert " + " in shown[: shown.index("not measured together")].rsplit("try:", 1)[1]


def test_the_limit_on_quality_is_kept(document, book):
    entry(book, "hf", 100.0, notes=HF)

    found = document("hf", "--max-quality-loss", 0.3)

    assert all(one["quality_change"]["low"] >= -0.3 for one in found["advice"] if one["levers"])


def test_an_unknown_name_is_answered_with_near_ones(lowcarb, book, path):
    entry(book, "hf", 100.0, name="finetune")

    code, out, err = lowcarb("finetun", "--ledger", path)

    assert (code, out) == (2, "")
    assert "did you mean" in err
    assert "(finetune)" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "which has none yet"),
        (("nobody",), "`lowcarb ledger list`"),
        (("missing.yaml",), "cannot be read"),
        (("--max-quality-loss", "-1"), "max-quality-loss"),
    ],
)
def test_bad_input_is_named(lowcarb, path, arguments, said):
    code, out, err = lowcarb(*arguments, "--ledger", path)

    assert (code, out) == (2, "")
    assert said in " ".join(err.split())


def test_people_are_shown_both_sides_the_evidence_and_what_to_type(lowcarb, book, path):
    entry(book, "hf", 100.0, notes=HF)

    code, out, err = lowcarb("hf", "--ledger", path)

    assert code == 0, err
    shown = " ".join(out.split())
    assert "try: TrainingArguments(bf16=True)" in shown
    assert "arXiv:1905.12322" in shown
    assert "not measured together" in shown
