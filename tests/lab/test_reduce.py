"""The search for a cheaper recipe, with trainings whose energy and quality are known functions of the recipe."""

from __future__ import annotations

import json
import math
import random
import time
from dataclasses import replace

import pytest
import yaml

from lowcarb.catalogue import Catalogue
from lowcarb.cli.reduce import margin_of, seconds_of
from lowcarb.core.energy import Channel, Reading
from lowcarb.core.hardware import Machine
from lowcarb.core.levers import LEVERS, Able, parse_pulled
from lowcarb.core.trial import Arm, DataChoice, Inference, ModelChoice, Recipe, TokenizerChoice
from lowcarb.errors import DataError, SettingError, StudyError
from lowcarb.lab.base import Diverged, Step
from lowcarb.lab.data import load_questions
from lowcarb.lab.holdout import Holdout, Part, hold_out
from lowcarb.lab.outcome import NOTHING, outcome
from lowcarb.lab.paste import code, study_file, training_arguments
from lowcarb.lab.reduce import reduce
from lowcarb.lab.study import Bench
from lowcarb.lab.studyfile import read_study
from lowcarb.lab.task import Task
from lowcarb.lab.trying import Cost, Limits, Workshop
from lowcarb.ledger.memory import MemoryLedger
from lowcarb.sensors.replay import Replay

CATALOGUE = Catalogue.load()
SITE = CATALOGUE.site("fra")
ARM = Arm(ModelChoice("bert", "bert", "embedded:minilm"), TokenizerChoice("native"), Recipe(padding="max"), Inference())
DATA = DataChoice("train.json", "validation.json", "validation.json")
HOLDOUT = Holdout(
    Part(DataChoice("t", "s1", "s2"), "search", 160), Part(DataChoice("t", "j1", "j2"), "judge", 320), 1000, "h"
)
BASELINE_CPU_S, BASELINE_S = 100.0, 0.04
STEPS = 20


def cost(recipe):
    """Energy of a training over the baseline's."""
    share = recipe.epochs / 3.0 * recipe.data_share
    share *= 0.3 if recipe.padding == "grouped" else 1.0
    share *= 0.65 if recipe.precision == "bf16" else 1.0
    share *= 0.8 if recipe.dropout == 0.0 else 1.0
    share *= 0.85 if recipe.frozen_embeddings else 1.0
    return share * (0.7 if recipe.frozen_layers else 1.0)


def quality(recipe):
    """F1: steps and rate matter, frozen layers ruin it, half of the questions costs 6 points."""
    steps = recipe.epochs * recipe.data_share * 1000 / recipe.batch
    learnt = steps * recipe.learning_rate / (187.5 * 5e-5)
    return (
        35.0 + 3.0 * math.log(min(learnt, 5.0)) - (20.0 if recipe.frozen_layers else 0.0)
        - (6.0 if recipe.data_share < 0.6 else 0.0)
    )  # fmt: skip


class Known:
    """Takes processor time, and scores, as two functions of the recipe say; and real time too where it is paced."""

    def __init__(self, cost=cost, quality=quality, hook=lambda trial, number: None, *, paced=False):
        self.cost, self.quality, self.hook, self.paced, self.seen = cost, quality, hook, paced, []

    def run(self, trial, tracker, on_step):
        self.seen.append(trial)
        self.hook(trial, len(self.seen))
        now_s = tracker.own.cpu_clock()
        tracker.own.cpu_clock = lambda: now_s
        with tracker.phase("train"):
            for step in range(1, STEPS + 1):
                share = self.cost(trial.arm.recipe) / STEPS
                now_s += BASELINE_CPU_S * share
                if self.paced:
                    time.sleep(BASELINE_S * share)
                on_step(Step(step, STEPS, 1.0))
        rng = random.Random(trial.key)
        f1 = self.quality(trial.arm.recipe) + rng.gauss(0.0, 0.5)
        scores = {name: self._scores(f1, trial.data.validation + name, rng) for name in ("validation", "adversarial")}
        return {"scores": scores}

    def _scores(self, f1, questions, rng):
        hard = random.Random(questions)
        each = [f1 + hard.gauss(0.0, 15.0) + rng.gauss(0.0, 5.0) for _ in range(80)]
        shift = f1 - sum(each) / len(each)
        each = [one + shift for one in each]
        return {
            "em": f1, "f1": f1, "cosine": 0.5, "sts": 0.5, "questions": len(each), "per_question_f1": each,
            "groups": [number // 4 for number in range(len(each))],
        }  # fmt: skip


def modelled():
    """A processor whose power is only modelled: trainings are then compared by processor time."""
    channel = Channel("m:cpu", "cpu-0", "cpu", "power", "replay", "modelled", 0.8, 1.2, 100.0)
    return Replay([channel], [Reading(0.0, channel.id, 20.0)], hold_last=True)


def search(runner=None, ledger=None, limits=None, **changes):
    """A search, with its workshop."""
    settings = {
        "margin": 1.0, "able": Able(frozenset({"fp32", "bf16"})), "levers": tuple(LEVERS.values()), "machine": "m",
        "candidates": 10, "confirm_seeds": 3,
    }  # fmt: skip
    task = Task(ARM, HOLDOUT, **(settings | changes))
    machine = Machine("m", "M", (), 2, 1e9)
    bench = Bench(ledger or MemoryLedger(), CATALOGUE, machine, SITE, (modelled(),), interval_s=0.1)
    said = []
    workshop = Workshop(task.id, runner or Known(), bench, limits or Limits(), said.append)
    found = reduce(task, workshop)
    return outcome(task, workshop, found, DATA), workshop


def best_ids(document):
    return {name.partition("=")[0].partition(":")[0] for name in document["best"]["levers"]}


@pytest.fixture(scope="module")
def found():
    return search()[0]


def test_a_recipe_close_to_the_known_optimum_is_found(found):
    # One epoch in small batches at a high rate, with all that saves for free and without what ruins it.
    free = {"grouped-padding", "bf16", "no-dropout", "freeze-embeddings"}
    optimum = 1.0 / cost(Recipe(1.0, padding="grouped", precision="bf16", dropout=0.0, frozen_embeddings=True))
    assert found["verdict"] in ("better", "not inferior")
    assert free <= best_ids(found)
    assert found["ratio"]["low"] > optimum * 0.8


def test_a_bad_lever_is_never_taken(found):
    assert "freeze-layers" not in best_ids(found)
    assert found["quality_change"]["low"] > -1.0


def test_the_document_has_what_is_promised_and_is_json(found):
    promised = {"baseline", "best", "ratio", "quality_change", "verdict", "search_energy_j", "break_even_trainings",
                "recipe", "contributions", "drawbacks", "pareto"}  # fmt: skip
    assert promised <= set(json.loads(json.dumps(found, allow_nan=False)))
    for figure in (found["ratio"], found["quality_change"], found["baseline"]["energy_j"]):
        assert figure["low"] <= figure["mid"] <= figure["high"]
    assert found["drawbacks"]


def test_each_lever_of_the_best_stack_has_its_own_contribution(found):
    contributions = {one["lever"]: one["energy_ratio_without"]["mid"] for one in found["contributions"]}

    assert set(found["best"]["levers"]) == set(contributions)
    assert contributions["grouped-padding"] > 1.3


def test_the_search_says_what_it_cost_and_after_how_many_trainings_it_pays(found):
    assert 0.3 < found["search_trainings"] < 3.5
    saved = found["baseline"]["energy_j"]["mid"] - found["best"]["energy_j"]["mid"]
    assert found["break_even_trainings"] == pytest.approx(found["search_energy_j"] / saved)
    assert found["break_even_with_confirmation"] > found["break_even_trainings"]


def test_the_recipe_can_be_run_as_a_study(found, tmp_path):
    path = tmp_path / "found.yaml"
    path.write_text(yaml.safe_dump(found["recipe"]["study"]), encoding="utf-8")

    study = read_study(path)

    assert ["baseline/native", "best/native"] == [arm.id for arm in study.arms]
    assert study.arm("baseline/native").recipe == ARM.recipe
    assert study.arm("best/native").recipe == Recipe(**found["best"]["recipe"])


def test_the_judged_questions_are_not_seen_before_the_confirmation():
    runner = Known()
    search(runner)

    sets = [trial.data_digest for trial in runner.seen]
    first = sets.index("judge")
    judged = [trial for trial in runner.seen if trial.data_digest == "judge"]
    assert set(sets[:first]) == {"search"}
    assert not {trial.seed for trial in judged} & {trial.seed for trial in runner.seen[:first]}
    assert {(trial.seed, trial.arm.id) for trial in judged} == {
        (seed, arm) for seed in {t.seed for t in judged} for arm in {t.arm.id for t in judged}
    }


def test_the_baseline_is_given_back_where_nothing_keeps_the_quality():
    recipe = replace(ARM.recipe)

    document, _ = search(Known(quality=lambda one: 40.0 if one == recipe else 20.0))

    # Even what should be exact costs quality here: the confirmation finds it out.
    assert NOTHING == document["verdict"]
    assert document["best"] == document["baseline"]
    assert (1.0, 0.0, None) == (
        document["ratio"]["mid"], document["quality_change"]["mid"], document["break_even_trainings"],
    )  # fmt: skip


def test_no_saving_is_claimed_where_none_is_there():
    noise = random.Random(5)

    document, _ = search(Known(cost=lambda recipe: noise.uniform(0.7, 1.3), quality=lambda recipe: 40.0))

    assert NOTHING == document["verdict"]


def test_a_search_that_was_done_runs_nothing_again_and_says_the_same():
    ledger, again = MemoryLedger(), Known()
    first, _ = search(ledger=ledger)

    second, workshop = search(again, ledger)

    assert [] == again.seen
    assert workshop.trained == 0
    assert {**first, "trainings": 0} == {**second, "trainings": 0}


def test_what_one_search_gave_up_another_trains_to_the_end():
    ledger = MemoryLedger()
    machine = Machine("m", "M", (), 2, 1e9)
    bench = Bench(ledger, CATALOGUE, machine, SITE, (modelled(),), interval_s=0.1)
    trial = Task(ARM, HOLDOUT, 1.0, Able(frozenset({"fp32"})), (), "m").trial(HOLDOUT.search, 0)

    def shop(study):
        return Workshop(study, Known(), bench, Limits(), lambda line: None, currency="cpu")

    def stop(step, taken):
        return "dominated" if step.step == 3 else None

    given_up = shop("one").run(trial, (), "search", stop=stop)
    again, elsewhere = shop("one"), shop("two")

    assert not given_up.done
    assert not again.run(trial, (), "search").done
    assert again.trained == 0
    assert elsewhere.run(trial, (), "search").done
    assert elsewhere.trained == 1


def test_an_interrupted_search_goes_on_where_it_was():
    def interrupt(trial, number):
        if number == 9:
            raise KeyboardInterrupt

    ledger, before, after = MemoryLedger(), Known(hook=interrupt), Known()
    with pytest.raises(KeyboardInterrupt):
        search(before, ledger)

    document, _ = search(after, ledger)

    # Probes share a trial with a training; the trainings that came to their end are not run again.
    done = [trial.key for trial in before.seen[:-1]]
    repeated = [key for key in {trial.key for trial in after.seen} if key in done]
    assert all(done.count(key) == 1 for key in repeated)
    assert document["verdict"] in ("better", "not inferior")
    assert len(before.seen) + len(after.seen) <= document["trainings"] + 1


def test_a_training_that_fails_is_on_the_bill_and_does_not_end_the_search():
    def fail(trial, number):
        if trial.arm.recipe.learning_rate > 1.5e-4:
            raise Diverged("the loss is nan at step 3 of 9")

    ledger = MemoryLedger()
    document, workshop = search(Known(hook=fail), ledger)

    statuses = {a.status for run in ledger.runs(limit=1000) for a in ledger.attempts(run.id)}
    assert "diverged" in statuses
    assert document["verdict"] in ("better", "not inferior")
    assert document["best"]["recipe"].get("learning_rate", 5e-5) <= 1.5e-4
    booked = sum(a.energy_j for run in ledger.runs(limit=1000) for a in ledger.attempts(run.id))
    assert workshop.total.energy_j == pytest.approx(booked, rel=0.05)


@pytest.mark.parametrize("limits", [Limits(wall_s=BASELINE_S / 2), Limits(energy_j=0.2), Limits(carbon_g=1e-7)])
def test_a_budget_too_small_for_one_baseline_is_named_after_a_few_steps(limits):
    runner = Known(paced=True)

    with pytest.raises(SettingError, match="budget"):
        search(runner, limits=limits)

    assert len(runner.seen) == 1


def test_a_budget_of_money_is_refused_where_no_price_is_known():
    runner = Known()

    with pytest.raises(SettingError, match="price is known"):
        search(runner, limits=Limits(money=5.0))

    assert not runner.seen


def test_an_unknown_price_is_unknown_and_over_any_budget():
    known, unknown = Cost(1.0, 2.0, 3.0, 4.0, 5.0), Cost(1.0, 2.0, 3.0, 4.0, None)

    assert known.plus(known) == known.times(2.0)
    assert known.plus(unknown) == Cost(2.0, 4.0, 6.0, 8.0, None) == unknown.times(2.0)
    assert Limits(money=1e9).share(unknown) == math.inf
    assert Limits(energy_j=2.0).share(unknown) == 0.5


@pytest.mark.parametrize("limits", [Limits(carbon_g=2e-5), Limits(energy_j=1.0)])
def test_a_budget_that_pays_for_no_comparison_is_named_before_candidates(limits):
    runner = Known(paced=True)

    with pytest.raises(SettingError, match="budget"):
        search(runner, limits=limits, whole_baseline=True)

    assert 1 == len(runner.seen)


def cost_with_a_twin(recipe):
    return cost(recipe) * (0.4 if recipe.padding == "split" else 1.0)


def test_a_baseline_is_judged_by_its_cheaper_twin_at_its_own_energy():
    runner = Known(cost_with_a_twin)
    document, workshop = search(runner)
    judged = [trial for trial in runner.seen if trial.data_digest == "judge"]

    assert "its twin: split-padding" == document["baseline"]["quality_by"]
    assert {"max", "split"} <= {trial.arm.recipe.padding for trial in judged}
    whole, plain = search(Known(cost_with_a_twin), whole_baseline=True)
    assert "its own trainings" == whole["baseline"]["quality_by"]
    assert whole["ratio"]["mid"] == pytest.approx(document["ratio"]["mid"])
    assert workshop.spent["confirmation"].cpu_s < 0.7 * plain.spent["confirmation"].cpu_s


def test_a_twin_that_saves_little_is_no_twin():
    document, _ = search()

    assert "its own trainings" == document["baseline"]["quality_by"] == document["baseline"]["energy_by"]


def test_a_budget_makes_the_search_smaller_and_is_kept():
    limits = Limits(energy_j=20.0 * BASELINE_S * 12.0)

    _, workshop = search(Known(paced=True), limits=limits, whole_baseline=True)
    _, free = search(Known(paced=True))

    # It is looked at once a second and at first steps: a training as short as these may run over it.
    assert workshop.total.energy_j < limits.energy_j + 2.0 * 20.0 * BASELINE_S
    assert workshop.tries < free.tries


def test_a_budget_that_is_reached_while_confirming_ends_it_with_the_baseline():
    slow = Known(lambda recipe: 60.0 if recipe == ARM.recipe and confirming else cost(recipe), paced=True)
    confirming = []
    slow.hook = lambda trial, number: confirming.append(1) if trial.data_digest == "judge" else None

    document, _ = search(slow, limits=Limits(energy_j=20.0 * BASELINE_S * 20.0), whole_baseline=True)

    assert "energy budget" in document["ended"]
    assert NOTHING == document["verdict"]


def test_a_floor_that_the_baseline_misses_is_named_before_any_candidate():
    runner = Known()

    with pytest.raises(SettingError, match="quality floor"):
        search(runner, floor=80.0)

    assert all(trial.arm.recipe.learning_rate == 5e-5 for trial in runner.seen)


@pytest.mark.parametrize("names", [("packing", "grouped-padding"), ("fp16",), ("fewer-epochs=5",)])
def test_pinned_levers_that_cannot_be_pulled_are_named_before_anything_trains(names):
    runner = Known()

    with pytest.raises(SettingError):
        search(runner, pinned=tuple(parse_pulled(name) for name in names))

    assert [] == runner.seen


def test_a_pinned_lever_is_in_the_best_stack_and_a_barred_one_is_not():
    document, _ = search(pinned=(parse_pulled("batch=8"),), without=frozenset({"freeze-embeddings"}))

    assert "batch=8" in document["best"]["levers"]
    assert "freeze-embeddings" not in best_ids(document)


@pytest.mark.parametrize(
    ("text", "seconds"), [("15m", 900.0), ("90s", 90.0), ("1h30m", 5400.0), ("20 min", 1200.0), ("45", 45.0)]
)
def test_a_time_is_read_as_people_write_it(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["0m", "soon", "5 parsecs", "-3m", "", "m"])
def test_what_is_no_time_is_named(text):
    with pytest.raises(SettingError, match="budget-time"):
        seconds_of(text)


def test_a_loss_is_a_fraction_of_the_scale_and_never_zero():
    assert margin_of(0.01) == pytest.approx(1.0)
    for fraction in (0.0, -0.01, 1.0, math.nan):
        with pytest.raises(SettingError, match="max-quality-loss"):
            margin_of(fraction)


def squad(path, paragraphs, name):
    rows = [
        {"context": f"{name} {p} is here.", "qas": [
            {"id": f"{name}{p}{q}", "question": f"Who {q}?", "answers": [{"text": name, "answer_start": 0}]}
            for q in range(5)]}
        for p in paragraphs
    ]  # fmt: skip
    path.write_text(json.dumps({"data": [{"title": "t", "paragraphs": rows}]}), encoding="utf-8")
    return str(path)


def test_without_a_judge_half_of_the_validation_paragraphs_are_kept_back(tmp_path):
    train, validation = squad(tmp_path / "t.json", range(4), "Ann"), squad(tmp_path / "v.json", range(20), "Bob")

    held = hold_out(DataChoice(train, validation, validation), None, folder=tmp_path / "sets")

    sets = [
        {q.paragraph for name in (part.data.validation, part.data.adversarial) for q in load_questions(name)}
        for part in (held.search, held.judge)
    ]
    assert not sets[0] & sets[1]
    assert len(sets[0] | sets[1]) == 20
    assert (50, 50) == (held.search.questions, held.judge.questions)
    assert held == hold_out(DataChoice(train, validation, validation), None, folder=tmp_path / "sets")


@pytest.mark.parametrize("split", ["validation", "adversarial"])
def test_a_study_is_judged_on_its_own_split_and_decided_on_the_other(tmp_path, split):
    train, validation, adversarial = (
        squad(tmp_path / f"{name}.json", range(paragraphs), name)
        for name, paragraphs in (("train", 4), ("validation", 20), ("adversarial", 12))
    )

    held = hold_out(DataChoice(train, validation, adversarial), None, folder=tmp_path / "sets", split=split)

    counts = {"validation": 100, "adversarial": 60}
    assert counts.pop(split) == held.judge.questions
    assert [held.search.questions] == list(counts.values())


def test_a_study_whose_test_sets_share_paragraphs_is_judged_on_half_of_one(tmp_path):
    train, validation = squad(tmp_path / "t.json", range(4), "Ann"), squad(tmp_path / "v.json", range(20), "Bob")
    same = squad(tmp_path / "a.json", range(5), "Bob")

    held = hold_out(DataChoice(train, validation, same), None, folder=tmp_path / "sets", split="validation")

    assert (50, 50) == (held.search.questions, held.judge.questions)


@pytest.mark.parametrize(("judge", "where"), [("Ann", "train"), ("Bob", "validation")])
def test_a_judge_that_shares_paragraphs_is_refused(tmp_path, judge, where):
    train, validation = squad(tmp_path / "t.json", range(8), "Ann"), squad(tmp_path / "v.json", range(8), "Bob")

    with pytest.raises(StudyError, match=f"also in {where}"):
        hold_out(
            DataChoice(train, validation, validation), squad(tmp_path / "j.json", range(7, 20), judge), folder=tmp_path
        )


def test_too_few_questions_to_decide_on_are_refused(tmp_path):
    train, validation = squad(tmp_path / "t.json", range(8), "Ann"), squad(tmp_path / "v.json", range(3), "Bob")

    with pytest.raises(DataError, match="too few"):
        hold_out(DataChoice(train, validation, validation), None, folder=tmp_path)


RECIPES = [
    ARM.recipe,
    Recipe(1.0, batch=4, learning_rate=2e-4, precision="bf16", padding="grouped", fused=True, dropout=0.0,
           frozen_embeddings=True, frozen_layers=2, data_share=0.7, answer_windows=True, patience=2, max_steps=10),
    Recipe(lora_rank=8, checkpointing=True, schedule="constant", warmup=0.1),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::FutureWarning")  # a name that both version 4 and version 5 know
@pytest.mark.parametrize("recipe", RECIPES)
def test_what_is_to_be_pasted_is_python_and_arguments_that_transformers_takes(recipe, tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")

    arguments = transformers.TrainingArguments(output_dir=str(tmp_path), use_cpu=True, **training_arguments(recipe))

    compile(code(replace(ARM, recipe=recipe)), "pasted", "exec")
    assert (recipe.batch, recipe.learning_rate, recipe.precision == "bf16") == (
        arguments.per_device_train_batch_size, arguments.learning_rate, arguments.bf16,
    )  # fmt: skip


def test_a_study_file_says_recipes_layers_and_tokenizers_that_differ(tmp_path):
    other = replace(
        ARM, model=replace(ARM.model, layers=(0, 2)), tokenizer=TokenizerChoice("w", "wordpiece", vocabulary=800)
    )
    document = study_file("x", {"baseline": ARM, "best": other}, DATA, seeds=(0, 1), margin=1.0, threads=1)
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")

    study = read_study(path)

    assert (("baseline/native", "best/w"), (0, 2), 1) == (
        tuple(arm.id for arm in study.arms), study.arm("best/w").model.layers, study.threads,
    )  # fmt: skip
