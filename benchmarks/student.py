"""A distilled student of fewer layers: what training it costs, teacher included, what using it costs, when it pays.

    python benchmarks/student.py --train FILE --test FILE [--questions 1000] [--layers 0-2-4] [--epochs 3] [--seeds 3]

The whole model and the student take the same recipe on the same questions; the student's training holds that of its
teacher, which is the whole model. One thread; energy by process CPU seconds under one power model, so that it cancels
in the ratios. An answer is one question read out of its paragraph, in batches, as tests are.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from lowcarb.catalogue import Catalogue
from lowcarb.core.levers import in_order, parse_pulled, pull
from lowcarb.core.trial import Arm, DataChoice, Inference, ModelChoice, Recipe, TokenizerChoice
from lowcarb.lab.holdout import hold_out
from lowcarb.lab.runner import TorchRunner
from lowcarb.lab.study import Bench
from lowcarb.lab.support import able_here
from lowcarb.lab.task import Task, f1_of
from lowcarb.lab.trying import Limits, Try, Workshop
from lowcarb.ledger import open_ledger
from lowcarb.ledger.home import home
from lowcarb.sensors.find import find_sensors
from lowcarb.sensors.machine import describe_machine

DATA = Path(__file__).parents[2] / "shared" / "data" / "qa"
ASKED_SHARE = 0.95
"""Of the whole model's F1, that a student is asked to keep."""
RECIPE = Recipe(
    batch=4, learning_rate=2e-4, warmup=0.1, fused=True, dropout=0.0, precision="bf16", padding="grouped",
    frozen_embeddings=True, attention="eager",
)  # fmt: skip
"""A frugal one, so that the comparison is not between two wasteful trainings."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, default=DATA / "squad_train_3000.json")
    parser.add_argument("--test", type=Path, default=DATA / "squad_val_500.json")
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--layers", default="0-2-4", help="of six, those that the student keeps")
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if not (asked.train.exists() and asked.test.exists()):
        print(f"skipped: {asked.train} or {asked.test} is not there", file=sys.stderr)
        return 0
    figures = compared(asked)
    print(json.dumps(figures, indent=2) if asked.json else table(figures))
    return 0


def compared(asked: argparse.Namespace) -> dict[str, float | None]:
    """F1, CPU seconds of a training and of a thousand answers, of both, and after how many answers the student pays."""
    recipe = replace(RECIPE, epochs=asked.epochs)
    arm = Arm(ModelChoice("bert", "bert", "embedded:minilm"), TokenizerChoice("native"), recipe, Inference())
    test = str(asked.test.resolve())
    holdout = hold_out(
        DataChoice(str(asked.train.resolve()), test, test, asked.questions), None, folder=home() / "sets"
    )
    catalogue = Catalogue.load()
    found = find_sensors(catalogue)
    book = open_ledger(None)
    try:
        machine = describe_machine(catalogue, found)
        able = able_here()
        task = Task(arm, holdout, 1.0, able, (), machine.id, 1)
        bench = Bench(book, catalogue, machine, catalogue.unknown_site(), found.sensors)
        shop = Workshop(task.id, TorchRunner(), bench, Limits(), print, currency="cpu")
        student = in_order((parse_pulled(f"fewer-layers={asked.layers}"), parse_pulled("distill")))
        sides: dict[str, list[Try]] = {"whole": [], "student": []}
        for seed in range(asked.seeds):
            for name, stack in (("whole", ()), ("student", student)):
                trial = pull(task.trial(holdout.judge, seed), stack, able)
                one = shop.run(trial, stack, "search")
                if not one.done:
                    raise SystemExit(f"{name} seed {seed}: {one.status}: {one.reason}")
                print(f"{name} seed {seed}: F1 {f1_of(one):.1f}, {one.train.cpu_s:.0f} CPU s", file=sys.stderr)
                sides[name].append(one)
    finally:
        book.close()
        found.close()
    figures: dict[str, float | None] = {"seeds": asked.seeds, "answers_tested": holdout.judge.questions}
    for name, tries in sides.items():
        figures[f"{name}_f1"] = fmean(f1_of(one) for one in tries)
        figures[f"{name}_training_cpu_s"] = fmean(one.train.cpu_s for one in tries)
        figures[f"{name}_cpu_s_per_1000_answers"] = fmean(_using(one) for one in tries) / holdout.judge.questions * 1e3
    figures["kept_share"] = figures["student_f1"] / figures["whole_f1"]
    more = figures["student_training_cpu_s"] - figures["whole_training_cpu_s"]
    less = (figures["whole_cpu_s_per_1000_answers"] - figures["student_cpu_s_per_1000_answers"]) / 1e3
    figures["break_even_answers"] = more / less if less > 0.0 else None
    return figures


def _using(one: Try) -> float:
    """CPU seconds in which the questions were answered."""
    return one.phases["evaluate"].cpu_s


def table(figures: dict[str, float | None]) -> str:
    rows = [
        ("", "whole", "student"),
        ("---", "---", "---"),
        ("F1", *(f"{figures[f'{name}_f1']:.1f}" for name in ("whole", "student"))),
        ("training, CPU s", *(f"{figures[f'{name}_training_cpu_s']:.0f}" for name in ("whole", "student"))),
        (
            "1,000 answers, CPU s",
            *(f"{figures[f'{name}_cpu_s_per_1000_answers']:.1f}" for name in ("whole", "student")),
        ),
    ]
    pays = figures["break_even_answers"]
    said = (
        f"{figures['kept_share']:.0%} of the F1 kept (asked {ASKED_SHARE:.0%}); the student's training, its teacher's "
        f"included, is paid back after {'no number of' if pays is None else f'{pays:,.0f}'} answers; "
        f"{figures['seeds']} seeds, {figures['answers_tested']} questions"
    )
    return "\n".join([*(f"| {' | '.join(row)} |" for row in rows), "", said])


if __name__ == "__main__":
    sys.exit(main())
