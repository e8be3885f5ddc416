"""Tables of a study document, as plain data: the page, the Markdown and the terminal print the same ones."""

from __future__ import annotations

from collections.abc import Sequence

from lowcarb.report.ablation import ablation_table
from lowcarb.report.columns import Cell, Column, PlainTable, Table, changes, measure, told, untold, words
from lowcarb.report.digest import (
    METRICS,
    SCORES,
    SPLITS,
    ArmView,
    Document,
    added,
    arms_of,
    device_names,
    metric_of,
    name_of,
    phases_of,
)
from lowcarb.report.format import (
    UNKNOWN,
    Figure,
    change,
    exactly,
    figure,
)
from lowcarb.report.summary import device_carbon


def study_table(document: Document) -> tuple[PlainTable, ...]:
    """The tables that answer a study in a terminal: its arms, its comparisons and its levers if there are any.

    Made to fit 140 columns; the other reports have what is left out.
    """
    arms = arms_table(document).without("CPU time")
    comparisons = comparisons_table(document, levers=False).without("In words")
    levers = ablation_table(document, claims=False)
    return tuple(table.plain for table in (arms, comparisons, levers) if table.rows)


def arms_table(document: Document) -> Table:
    """What each arm costs and what it buys, in short."""
    arms = arms_of(document)
    metric = str(document["study"]["metric"])
    quality = tuple(
        _score(METRICS[metric].name if metric in METRICS else metric, arms, split, metric, group=split)
        for split in SPLITS
    )
    costs = [column for column in _costs(arms) if column.title != "Carbon of the machine"]
    short = [column._replace(title="Carbon") if column.title.startswith("Carbon") else column for column in costs]
    caption = "Arms: mean over seeds (interval); carbon of the electricity of training"
    return Table(caption, (*_names(arms), *quality, *short)).known


def costs_table(document: Document) -> Table:
    """What training each arm costs."""
    arms = arms_of(document)
    parameters = measure("Parameters", "", [exactly(arm.facts["parameters"]) for arm in arms])
    caption = "What one training costs: mean over seeds, interval in brackets"
    return Table(caption, (*_names(arms), *_costs(arms), parameters))


def quality_table(document: Document) -> Table:
    """What each arm answers."""
    arms = arms_of(document)
    scores = tuple(
        _score(METRICS[metric].name, arms, split, metric, group=split) for split in SPLITS for metric in SCORES
    )
    fertility = measure("Tokens a word", "", [arm.fact("fertility") for arm in arms])
    caption = "What it buys: mean over seeds, lowest and highest seed in brackets"
    return Table(caption, (_names(arms)[0], *scores, fertility))


def _names(arms: Sequence[ArmView]) -> tuple[Column, Column]:
    done = tuple(Cell(f"{len(arm.trials)} of {arm.planned}") for arm in arms)
    return Column("Arm", tuple(Cell(arm.id, tags=arm.tags) for arm in arms)), Column("Trials", done, numeric=True)


def _costs(arms: Sequence[ArmView]) -> tuple[Column, ...]:
    time = [arm.fact("wall_s") for arm in arms]
    return (
        measure("Carbon of electricity", "g", [arm.footprint("operational_g") for arm in arms]),
        measure("Carbon of the machine", "g", [arm.footprint("embodied_g") for arm in arms]),
        measure("Energy", "J", [arm.footprint("energy_j") for arm in arms]),
        measure("Time", "s", time),
        measure("CPU time", "s", [arm.fact("cpu_s") for arm in arms], like=time),
        measure("Money", "USD", [arm.footprint("cost") for arm in arms]),
    )


def comparisons_table(document: Document, *, levers: bool = True) -> Table:
    """One factor changed at a time, on pairs of one seed; without levers where they have a table of their own."""
    metric = metric_of(document)
    found = [one for one in document["comparisons"] if levers or one["factor"] != "lever"]
    ratios = [told(figure(one["carbon_ratio"]), one) for one in found]
    qualities = [told(figure(one["quality_change"]), one) if one["factor"] != "device" else None for one in found]
    return Table(
        "Comparisons: one factor changed, the same seed",
        (
            words("Choice", [name_of(document, one, "arm") for one in found]),
            words("Against", [name_of(document, one, "baseline") for one in found]),
            words("Changes", [str(one["factor"]) for one in found]),
            untold(measure("Carbon ratio", "", ratios), found),
            words("In words", [_in_words(figure(one["carbon_ratio"])) for one in found]),
            untold(changes(f"Change of {metric.name}", qualities, metric.decimals), found),
            words("Pairs", [str(one["pairs"]) for one in found], numeric=True),
            words("Verdict", [str(one["verdict"]) for one in found]),
        ),
    )


def _in_words(ratio: Figure | None) -> str:
    """A ratio in words, without its interval, which stands beside it."""
    return change(ratio, "carbon").partition(" (")[0] if ratio else UNKNOWN


def points_table(document: Document) -> Table:
    """The points of the figure of quality against carbon."""
    study, arms = document["study"], arms_of(document)
    metric = metric_of(document)
    return Table(
        "Quality against carbon of training",
        (
            _names(arms)[0],
            measure("Carbon of electricity", "g", [arm.footprint("operational_g") for arm in arms]),
            _score(metric.name, arms, str(study["split"]), str(study["metric"])),
            words("Beaten by no other arm", ["yes" if arm.on_front else "no" for arm in arms]),
        ),
    )


def phases_table(document: Document) -> Table:
    """Energy of one trial by phase."""
    arms, phases = arms_of(document), phases_of(document)
    wholes: list[Figure | None] = [None] * len(arms)
    columns: list[list[Figure | None]] = []
    for phase in phases:
        found = [arm.phase_energy(phase) for arm in arms]
        wholes = [one if whole is None else added(whole, one) for whole, one in zip(wholes, found, strict=True)]
        columns.append(found)
    shown = [measure(phase, "J", found, like=wholes) for phase, found in zip(phases, columns, strict=True)]
    return Table(
        "Energy of one trial by phase: mean over seeds",
        (_names(arms)[0], *shown, measure("All", "J", wholes)),
    )


def devices_table(document: Document, only: ArmView | None = None) -> Table:
    """The training of each arm, or of only one, here and, projected, on each device."""
    names = device_names(document)
    found = [only] if only else arms_of(document)
    arms = [arm for arm in found if any(trial["projections"] for trial in arm.trials)]
    where: list[tuple[ArmView, str | None]] = [(arm, device) for arm in arms for device in (None, *names)]

    def figures(name: str) -> list[Figure | None]:
        return [arm.projected(device, name) if device else arm.footprint(name) for arm, device in where]

    carbon = [
        device_carbon(arm, device) if device else added(arm.footprint("operational_g"), arm.footprint("embodied_g"))
        for arm, device in where
    ]
    return Table(
        "One training of each arm: here, and projected onto other devices",
        (
            words("Arm", [arm.id for arm, _ in where]),
            words("Device", [f"{names[device]}, projected" if device else "here, as it ran" for _, device in where]),
            measure("Time", "s", figures("duration_s")),
            measure("Energy", "J", figures("energy_j")),
            measure("Carbon", "g", carbon),
            measure("Money", "USD", figures("cost")),
            words("Limited by", [_limit(arm, device) for arm, device in where]),
        ),
    )


def _limit(arm: ArmView, device: str | None) -> str:
    found = [trial["projections"][device] for trial in arm.trials if device in trial["projections"]]
    limits = ", ".join(dict.fromkeys(str(one["bound"]) for one in found))
    return f"{limits}; does not fit its memory" if any(one["fits"] is False for one in found) else limits or UNKNOWN


def trials_table(document: Document) -> Table:
    """Every trial, also those that ended without a result."""
    trials, metric = document["trials"], metric_of(document)
    name = str(document["study"]["metric"])

    def figures(field: str) -> list[Figure | None]:
        return [figure((trial["footprint"] or {}).get(field)) for trial in trials]

    scores = [
        changes(f"{metric.name}, {split}", [exactly((t[split] or {}).get(name), "measured") for t in trials],
                 metric.decimals, plus=False)
        for split in SPLITS
    ]  # fmt: skip
    return Table(
        "Every trial: its training phase",
        (
            words("Arm", [str(trial["arm"]) for trial in trials]),
            words("Seed", [str(trial["seed"]) for trial in trials], numeric=True),
            words("Status", [_status(trial) for trial in trials]),
            *scores,
            measure("Time", "s", figures("duration_s")),
            measure(
                "CPU time", "s", [exactly(trial["cpu_s"], "measured") for trial in trials], like=figures("duration_s")
            ),
            measure("Energy", "J", figures("energy_j")),
            measure("Carbon of electricity", "g", figures("operational_g")),
        ),
    )


def _status(trial: Document) -> str:
    attempts = f", attempt {trial['attempt']}" if trial["attempt"] > 1 else ""
    return f"{trial['status']}{attempts}"


def _score(title: str, arms: Sequence[ArmView], split: str, metric: str, *, group: str = "") -> Column:
    """Means of a quality over the seeds, between the lowest and the highest."""
    figures = [arm.score(split, metric) for arm in arms]
    decimals = METRICS[metric].decimals if metric in METRICS else 2
    return changes(title, figures, decimals, plus=False, group=group)
