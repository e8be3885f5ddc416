"""`lowcarb reduce` on real questions: how much less energy, at what change of F1, for what search.

    python benchmarks/reduce.py --questions 1000 --seeds 5 [--quick] [--tuned] [--data FOLDER] [--train FILE ...]

The baseline is the paper's recipe: 3 epochs, fp32, all padded to 384, batch 16, AdamW 5e-5 with linear decay, dropout
0.1; with --tuned, an honest opponent: the same with its learning rate at 1.5e-4. One thread; energy by process CPU
seconds under one power model; margin of 1 point of F1, one-sided 95 %. The search trains on the training file, decides
on half of the paragraphs of the validation file, and is judged on the other half, or on --judge, with seeds that it has
not used. --quick: 2 seeds, few stacks, a wide margin: to see that it works, not what it reaches.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from lowcarb.catalogue import Catalogue
from lowcarb.cli.reduce import PAPER
from lowcarb.core.levers import LEVERS
from lowcarb.core.trial import Arm, DataChoice, Inference, ModelChoice, TokenizerChoice
from lowcarb.lab.holdout import hold_out
from lowcarb.lab.outcome import outcome
from lowcarb.lab.reduce import reduce
from lowcarb.lab.runner import TorchRunner
from lowcarb.lab.study import Bench
from lowcarb.lab.support import able_here
from lowcarb.lab.task import Task
from lowcarb.lab.trying import Limits, Workshop
from lowcarb.ledger import open_ledger
from lowcarb.ledger.home import home
from lowcarb.sensors.find import find_sensors
from lowcarb.sensors.machine import describe_machine

DATA = Path(__file__).parents[2] / "shared" / "data" / "qa"
TUNED_RATE = 1.5e-4
TARGET = {False: 20.0, True: 15.0}
"""Energy ratio to reach, against the paper's recipe and against the tuned one."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with squad_train_3000.json, squad_val_500.json")
    parser.add_argument("--train", type=Path)
    parser.add_argument("--validation", type=Path)
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--candidates", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--margin", type=float, default=1.0, help="points of F1")
    parser.add_argument("--tuned", action="store_true", help="against the baseline with a tuned learning rate")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--ledger", help="go on from here; the user's own where left out")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if asked.quick:
        asked.seeds, asked.candidates, asked.margin = 2, 3, max(asked.margin, 5.0)
    train = asked.train or asked.data / "squad_train_3000.json"
    validation = asked.validation or asked.data / "squad_val_500.json"
    if not (train.exists() and validation.exists()):
        print(f"skipped: {train} or {validation} is not there", file=sys.stderr)
        return 0
    document = searched(asked, train, validation)
    print(json.dumps(document, indent=2) if asked.json else table(document, tuned=asked.tuned))
    return 0


def searched(asked: argparse.Namespace, train: Path, validation: Path) -> dict[str, object]:
    recipe = replace(PAPER, learning_rate=TUNED_RATE) if asked.tuned else PAPER
    arm = Arm(ModelChoice("bert", "bert", "embedded:minilm"), TokenizerChoice("native"), recipe, Inference())
    data = DataChoice(str(train.resolve()), str(validation.resolve()), str(validation.resolve()), asked.questions)
    judge = str(asked.judge.resolve()) if asked.judge else None
    catalogue = Catalogue.load()
    found = find_sensors(catalogue)
    book = open_ledger(asked.ledger)
    try:
        machine = describe_machine(catalogue, found)
        bench = Bench(book, catalogue, machine, catalogue.unknown_site(), found.sensors)
        holdout = hold_out(data, judge, folder=home() / "reduce")
        task = Task(
            arm, holdout, asked.margin, able_here(), tuple(LEVERS.values()), machine.id, asked.threads,
            confirm_seeds=asked.seeds, candidates=asked.candidates,
        )  # fmt: skip
        workshop = Workshop(task.id, TorchRunner(), bench, Limits(), lambda line: print(line, file=sys.stderr))
        return outcome(task, workshop, reduce(task, workshop), data)
    finally:
        book.close()
        found.close()


def table(document: dict[str, object], *, tuned: bool) -> str:
    ratio, change, questions = document["ratio"], document["quality_change"], document["questions"]
    rows = [
        ("baseline", f"{'tuned' if tuned else 'the paper'}'s, {questions['train']} questions"),
        ("verdict", f"{document['verdict']}: {document['reason']}"),
        ("energy ratio", f"{ratio['mid']:.1f} ({ratio['low']:.1f} to {ratio['high']:.1f}); target {TARGET[tuned]:g}"),
        ("change of F1", f"{change['mid']:+.2f} ({change['low']:+.2f} to {change['high']:+.2f})"),
        ("F1 baseline, best", f"{document['baseline']['f1']:.1f}, {document['best']['f1']:.1f}"),
        ("search", f"{document['search_trainings']:.2f} trainings of the baseline; target 3 or fewer"),
        ("pays back after", f"{document['break_even_trainings']} trainings"),
        ("with confirmation", f"{document['break_even_with_confirmation']} trainings"),
        ("stack", " + ".join(document["best"]["levers"]) or "none"),
        ("judged on", f"{questions['judge']} questions, {document['confirmed_seeds']} seeds"),
    ]
    return "\n".join(f"| {name} | {value} |" for name, value in rows)


if __name__ == "__main__":
    sys.exit(main())
