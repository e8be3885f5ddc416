"""`lowcarb reduce`: the recipe with the least energy that keeps the quality."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from lowcarb.catalogue import Catalogue
from lowcarb.cli.console import EXIT_BUDGET, Json, LedgerPath, SiteId, emit, out, say, show, writable
from lowcarb.cli.ledger import opened
from lowcarb.cli.study import bench_here
from lowcarb.core.budget import parse_budget
from lowcarb.core.levers import LEVERS, Pulled, parse_pulled
from lowcarb.core.trial import Arm, DataChoice, Inference, ModelChoice, Recipe, Study, TokenizerChoice
from lowcarb.core.units import PERCENT
from lowcarb.errors import MissingExtra, SettingError
from lowcarb.ledger.home import home
from lowcarb.report.reduce import render_reduce_html

PAPER = Recipe(padding="max")
"""The baseline where no study is given: 3 epochs, fp32, padded to 384, batch 16, AdamW 5e-5 with linear decay."""
SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
LEAST_SEEDS = 5
"""Seeds of a confirmation, unless the budget pays for fewer."""

File = Annotated[Path | None, typer.Argument(metavar="[STUDY]", help="A study file: its baseline arm is made cheaper.")]
Loss = Annotated[
    float,
    typer.Option(
        "--max-quality-loss",
        metavar="X",
        help="F1 that may be lost, as a fraction of the whole scale: 0.01 is one point of a hundred.",
    ),
]
Questions = Annotated[int | None, typer.Option("--questions", min=1, help="At most so many training questions.")]
Levers = Annotated[
    list[str], typer.Option("--lever", metavar="LEVER", help="A lever that must be part of it; repeatable.")
]
Without = Annotated[list[str], typer.Option("--without", metavar="ID", help="A lever to leave out; repeatable.")]


def reduce(
    study: File = None,
    *,
    max_quality_loss: Loss,
    train: Annotated[str | None, typer.Option("--train", metavar="FILE", help="SQuAD-format training file.")] = None,
    validation: Annotated[
        str | None, typer.Option("--validation", metavar="FILE", help="SQuAD-format file that the search decides on.")
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option("--judge", metavar="FILE", help="SQuAD-format file to be judged on; the search never sees it."),
    ] = None,
    questions: Questions = None,
    quality_floor: Annotated[
        float | None, typer.Option("--quality-floor", metavar="F1", help="F1 that the baseline must reach, 0 to 100.")
    ] = None,
    budget_time: Annotated[str | None, typer.Option("--budget-time", metavar="TIME", help="Such as 15m.")] = None,
    budget_energy: Annotated[
        str | None, typer.Option("--budget-energy", metavar="ENERGY", help="Such as 500 kJ.")
    ] = None,
    budget_carbon: Annotated[
        str | None, typer.Option("--budget-carbon", metavar="CARBON", help="Such as 500 g.")
    ] = None,
    budget_money: Annotated[str | None, typer.Option("--budget-money", metavar="MONEY", help="Such as 3 USD.")] = None,
    whole_baseline: Annotated[
        bool, typer.Option("--whole-baseline", help="Train the baseline itself to judge it, not its cheaper twin.")
    ] = False,
    seeds: Annotated[int, typer.Option("--seeds", min=2, help="Seeds of the confirmation.")] = LEAST_SEEDS,
    candidates: Annotated[int, typer.Option("--candidates", min=1, help="At most so many stacks are tried.")] = 24,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="Processor threads of a training.")] = None,
    lever: Levers = [],  # noqa: B006  # typer reads it, nobody writes
    without: Without = [],  # noqa: B006
    save: Annotated[
        Path | None, typer.Option("--save", metavar="PATH", help="Write the recipe here, as a study file.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="PATH", help="Write a page on the search here.")
    ] = None,
    site: SiteId = None,
    ledger: LedgerPath = None,
    json: Json = False,
) -> int:
    """Find the recipe with the least energy that keeps the quality, and confirm it on questions it has not seen."""
    margin = margin_of(max_quality_loss)
    if quality_floor is not None and not 0.0 <= quality_floor <= PERCENT:
        raise SettingError("quality-floor", quality_floor, "F1 from 0 to 100")
    save, report = writable("save", save), writable("report", report)
    limits = {
        "wall_s": seconds_of(budget_time), "energy_j": _amount("energy", budget_energy),
        "carbon_g": _amount("carbon", budget_carbon), "money": _amount("cost", budget_money),
    }  # fmt: skip
    arm, data, root, given = _asked(study, train, validation, questions)
    catalogue = Catalogue.load()
    place = (
        catalogue.unknown_site() if (name := site or (given.site if given else None)) is None else catalogue.site(name)
    )
    threads = threads or (given.threads if given else None)
    _loadable()
    from lowcarb.lab.holdout import hold_out  # noqa: PLC0415
    from lowcarb.lab.outcome import outcome  # noqa: PLC0415
    from lowcarb.lab.reduce import reduce as search  # noqa: PLC0415
    from lowcarb.lab.runner import TorchRunner  # noqa: PLC0415
    from lowcarb.lab.support import able_here, check_arm  # noqa: PLC0415
    from lowcarb.lab.task import Task  # noqa: PLC0415
    from lowcarb.lab.trying import Limits, Workshop  # noqa: PLC0415

    everything = tuple(LEVERS.values())
    pinned, left_out = _levers(lever, without, [one.id for one in everything])
    check_arm(arm)
    split = given.split if given else None
    holdout = hold_out(data, judge, folder=home() / "reduce", root=root, split=split)
    book = opened(ledger)
    try:
        with bench_here(book, catalogue, place) as bench:
            task = Task(
                arm, holdout, margin, able_here(), everything, bench.machine.id, threads, pinned, left_out,
                floor=quality_floor, confirm_seeds=seeds, candidates=candidates, whole_baseline=whole_baseline,
            )  # fmt: skip
            workshop = Workshop(task.id, TorchRunner(), bench, Limits(**limits), say)
            found = search(task, workshop)
            document = outcome(task, workshop, found, data)
    finally:
        book.close()
    if save is not None:
        save.write_text(yaml.safe_dump(document["recipe"]["study"], sort_keys=False), encoding="utf-8")
        say(f"recipe: {save.resolve()}")
    if report is not None:
        report.write_text(render_reduce_html(document), encoding="utf-8")
        say(f"report: {report.resolve()}")
    if json:
        emit(document, kind="reduction")
    else:
        _tell(document)
    return EXIT_BUDGET if found.ended else 0


def margin_of(fraction: float) -> float:
    """The loss of F1 [points] that a fraction of the whole scale is.

    Raises:
        SettingError: it is not above 0 and below 1.
    """
    if not 0.0 < fraction < 1.0:
        raise SettingError(
            "max-quality-loss", fraction,
            "a fraction of F1 above 0 and below 1, such as 0.01 for one point; no test can show a loss of exactly 0",
        )  # fmt: skip
    return fraction * PERCENT


def seconds_of(text: str | None) -> float | None:
    """The time that a person wrote, such as `15m`, `90s`, `1h30m` or `900` [s]; None of None.

    Raises:
        SettingError: it is no time above zero.
    """
    if text is None:
        return None
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(min|[smhd]?)", text.strip())
    whole = "".join(f"{amount}{unit}" for amount, unit in parts) == re.sub(r"\s+", "", text)
    seconds = sum(float(amount) * SECONDS.get(unit, 1.0) for amount, unit in parts)
    if not parts or not whole or not 0.0 < seconds < math.inf:
        raise SettingError("budget-time", text, "a time above zero, such as 15m, 90s or 1h30m")
    return seconds


def _amount(what: str, text: str | None) -> float | None:
    budget = parse_budget(text)
    if budget is not None and budget.what != what:
        raise SettingError(f"budget of {what}", text, f"an amount of {what}, not of {budget.what}")
    return budget.limit if budget else None


def _asked(
    file: Path | None, train: str | None, validation: str | None, questions: int | None
) -> tuple[Arm, DataChoice, Path | None, Study | None]:
    """The baseline, its questions, where relative names start, and the study if there is one."""
    if file is None:
        if train is None or validation is None:
            raise SettingError("STUDY", None, "a study file, or --train FILE and --validation FILE")
        arm = Arm(ModelChoice("bert", "bert", "embedded:minilm"), TokenizerChoice("native"), PAPER, Inference())
        return arm, DataChoice(train, validation, validation, train_questions=questions), None, None
    if train is not None or validation is not None:
        raise SettingError("--train", train or validation, "either a study file or --train and --validation")
    from lowcarb.lab.studyfile import read_study  # noqa: PLC0415  # pydantic models, built when needed

    study = read_study(file)
    data = study.data
    if questions is not None:
        data = DataChoice(data.train, data.validation, data.adversarial, questions, data.test_questions)
    return study.arm(study.baseline), data, file.parent, study


def _levers(wanted: list[str], without: list[str], known: list[str]) -> tuple[tuple[Pulled, ...], frozenset[str]]:
    pinned = tuple(parse_pulled(one) for one in wanted)
    for name in without:
        if name not in known:
            raise SettingError("without", name, f"a lever: {', '.join(known)}")
        if any(one.lever == name for one in pinned):
            raise SettingError("without", name, "a lever that is not also asked for by --lever")
    return pinned, frozenset(without)


def _loadable() -> None:
    try:
        import optuna  # noqa: F401, PLC0415
        import torch  # noqa: F401, PLC0415
    except ImportError as error:
        raise MissingExtra("a search for a cheaper recipe", "lab") from error


def _tell(document: dict[str, Any]) -> None:
    ratio, change = document["ratio"], document["quality_change"]
    show(
        f"{document['verdict']}: {document['reason']}",
        ("", "F1", "energy [J]", "levers"),
        [
            (
                name, "?" if side["f1"] is None else f"{side['f1']:.1f}", f"{side['energy_j']['mid']:.4g}",
                " + ".join(side["levers"]) or "none",
            )
            for name, side in (("baseline", document["baseline"]), ("best", document["best"]))
        ],
        right=(1, 2),
    )  # fmt: skip
    out().print(
        f"the baseline takes {ratio['mid']:.1f} times the energy ({ratio['low']:.1f} to {ratio['high']:.1f}); "
        f"F1 {change['mid']:+.1f} "
        f"({change['low']:+.1f} to {change['high']:+.1f}), {document['confirmed_seeds']} seeds",
        markup=False,
    )
    pays = document["break_even_trainings"]
    out().print(
        f"the search took {document['search_trainings']:.1f} trainings of the baseline"
        + ("" if pays is None else f" and pays back after {math.ceil(pays)} trainings"),
        markup=False,
    )
    rows = [
        (one["lever"], f"{one['energy_ratio_without']['mid']:.2f}", "; ".join(one["drawbacks"]))
        for one in document["contributions"]
    ]
    if rows:
        show("Without it, energy times", ("lever", "energy", "drawbacks"), rows, right=(1,))
        out().print(document["recipe"]["code"], markup=False)
