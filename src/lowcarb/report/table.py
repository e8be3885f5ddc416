"""Tables of a study document, as plain data: the page, the Markdown and the terminal print the same ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
    spread_unknown,
    weakest,
)
from lowcarb.report.format import (
    UNKNOWN,
    Figure,
    aligned,
    bounds,
    change,
    digits_of,
    exactly,
    figure,
    fixed,
    number,
    signed,
    unit_for,
)
from lowcarb.report.summary import device_carbon

CO2E = " CO₂e"


class Cell(NamedTuple):
    """What stands in one place of a table."""

    text: str
    interval: str = ""
    tags: tuple[str, ...] = ()

    @property
    def plain(self) -> str:
        """All of it as one string."""
        text = self.text.rstrip("\u2007\u2008 ")
        text = f"{text} ({self.interval})" if self.interval else text
        return f"{text} [{', '.join(self.tags)}]" if self.tags else text


class Column(NamedTuple):
    """A column with its cells."""

    title: str
    cells: tuple[Cell, ...]
    unit: str = ""
    basis: str = ""
    numeric: bool = False
    group: str = ""

    @property
    def heading(self) -> str:
        """Title with its unit, and its group where it has one."""
        title = f"{self.group} {self.title}" if self.group else self.title
        return f"{title}, {self.unit}" if self.unit else title


class PlainTable(NamedTuple):
    """A table of strings."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[int, ...]
    """Numbers of the columns that are set flush right."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table: the first column names its rows."""

    caption: str
    columns: tuple[Column, ...]

    @property
    def rows(self) -> tuple[tuple[Cell, ...], ...]:
        """Its cells, row by row."""
        return tuple(zip(*(column.cells for column in self.columns), strict=True))

    @property
    def basis(self) -> str:
        """What all its figures rest on, where that is one thing: then it is said once."""
        bases = {column.basis for column in self.columns if column.basis}
        return bases.pop() if len(bases) == 1 else ""

    @property
    def groups(self) -> tuple[tuple[str, int], ...]:
        """The groups of columns, each with how many it spans; empty where no column has one."""
        spans: list[tuple[str, int]] = []
        for column in self.columns:
            if spans and spans[-1][0] == column.group:
                spans[-1] = (column.group, spans[-1][1] + 1)
            else:
                spans.append((column.group, 1))
        return tuple(spans) if any(column.group for column in self.columns) else ()

    def without(self, *titles: str) -> Table:
        """The table without some of its columns."""
        return Table(self.caption, tuple(column for column in self.columns if column.title not in titles))

    @property
    def known(self) -> Table:
        """The table without the columns in which nothing is known."""
        kept = (c for c in self.columns if not c.cells or any(cell.text != UNKNOWN for cell in c.cells))
        return Table(self.caption, tuple(kept))

    @property
    def plain(self) -> PlainTable:
        """The same as strings."""
        return PlainTable(
            self.caption,
            tuple(column.heading for column in self.columns),
            tuple(tuple(cell.plain for cell in row) for row in self.rows),
            tuple(index for index, column in enumerate(self.columns) if column.numeric),
        )


def study_table(document: Document) -> tuple[PlainTable, ...]:
    """The tables that answer a study in a terminal: its arms, and its comparisons if there are any.

    Made to fit 140 columns; the other reports have what is left out.
    """
    arms = arms_table(document).without("CPU time")
    comparisons = comparisons_table(document).without("In words")
    return tuple(table.plain for table in (arms, comparisons) if table.rows)


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
    parameters = _measure("Parameters", "", [exactly(arm.facts["parameters"]) for arm in arms])
    caption = "What one training costs: mean over seeds, interval in brackets"
    return Table(caption, (*_names(arms), *_costs(arms), parameters))


def quality_table(document: Document) -> Table:
    """What each arm answers."""
    arms = arms_of(document)
    scores = tuple(
        _score(METRICS[metric].name, arms, split, metric, group=split) for split in SPLITS for metric in SCORES
    )
    fertility = _measure("Tokens a word", "", [arm.fact("fertility") for arm in arms])
    caption = "What it buys: mean over seeds, lowest and highest seed in brackets"
    return Table(caption, (_names(arms)[0], *scores, fertility))


def _names(arms: Sequence[ArmView]) -> tuple[Column, Column]:
    done = tuple(Cell(f"{len(arm.trials)} of {arm.planned}") for arm in arms)
    return Column("Arm", tuple(Cell(arm.id, tags=arm.tags) for arm in arms)), Column("Trials", done, numeric=True)


def _costs(arms: Sequence[ArmView]) -> tuple[Column, ...]:
    time = [arm.fact("wall_s") for arm in arms]
    return (
        _measure("Carbon of electricity", "g", [arm.footprint("operational_g") for arm in arms]),
        _measure("Carbon of the machine", "g", [arm.footprint("embodied_g") for arm in arms]),
        _measure("Energy", "J", [arm.footprint("energy_j") for arm in arms]),
        _measure("Time", "s", time),
        _measure("CPU time", "s", [arm.fact("cpu_s") for arm in arms], like=time),
        _measure("Money", "USD", [arm.footprint("cost") for arm in arms]),
    )


def comparisons_table(document: Document) -> Table:
    """One factor changed at a time, on pairs of one seed."""
    found, metric = document["comparisons"], metric_of(document)
    ratios = [_told(figure(one["carbon_ratio"]), one) for one in found]
    qualities = [_told(figure(one["quality_change"]), one) if one["factor"] != "device" else None for one in found]
    return Table(
        "Comparisons: one factor changed, the same seed",
        (
            _words("Choice", [name_of(document, one, "arm") for one in found]),
            _words("Against", [name_of(document, one, "baseline") for one in found]),
            _words("Changes", [str(one["factor"]) for one in found]),
            _untold(_measure("Carbon ratio", "", ratios), found),
            _words("In words", [_in_words(figure(one["carbon_ratio"])) for one in found]),
            _untold(_changes(f"Change of {metric.name}", qualities, metric.decimals), found),
            _words("Pairs", [str(one["pairs"]) for one in found], numeric=True),
            _words("Verdict", [str(one["verdict"]) for one in found]),
        ),
    )


def _in_words(ratio: Figure | None) -> str:
    """A ratio in words, without its interval, which stands beside it."""
    return change(ratio, "carbon").partition(" (")[0] if ratio else UNKNOWN


def _told(value: Figure | None, comparison: Document) -> Figure | None:
    """The figure; without its interval where that stands for nothing known."""
    return exactly(value.mid, value.basis) if value and spread_unknown(comparison) else value


def _untold(column: Column, comparisons: Sequence[Document]) -> Column:
    """The column, saying where an interval is not known."""
    cells = (
        cell._replace(interval="interval not known") if spread_unknown(one) and cell.text != UNKNOWN else cell
        for cell, one in zip(column.cells, comparisons, strict=True)
    )
    return column._replace(cells=tuple(cells))


def points_table(document: Document) -> Table:
    """The points of the figure of quality against carbon."""
    study, arms = document["study"], arms_of(document)
    metric = metric_of(document)
    return Table(
        "Quality against carbon of training",
        (
            _names(arms)[0],
            _measure("Carbon of electricity", "g", [arm.footprint("operational_g") for arm in arms]),
            _score(metric.name, arms, str(study["split"]), str(study["metric"])),
            _words("Beaten by no other arm", ["yes" if arm.on_front else "no" for arm in arms]),
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
    shown = [_measure(phase, "J", found, like=wholes) for phase, found in zip(phases, columns, strict=True)]
    return Table(
        "Energy of one trial by phase: mean over seeds",
        (_names(arms)[0], *shown, _measure("All", "J", wholes)),
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
            _words("Arm", [arm.id for arm, _ in where]),
            _words("Device", [f"{names[device]}, projected" if device else "here, as it ran" for _, device in where]),
            _measure("Time", "s", figures("duration_s")),
            _measure("Energy", "J", figures("energy_j")),
            _measure("Carbon", "g", carbon),
            _measure("Money", "USD", figures("cost")),
            _words("Limited by", [_limit(arm, device) for arm, device in where]),
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
        _changes(f"{metric.name}, {split}", [exactly((t[split] or {}).get(name), "measured") for t in trials],
                 metric.decimals, plus=False)
        for split in SPLITS
    ]  # fmt: skip
    return Table(
        "Every trial: its training phase",
        (
            _words("Arm", [str(trial["arm"]) for trial in trials]),
            _words("Seed", [str(trial["seed"]) for trial in trials], numeric=True),
            _words("Status", [_status(trial) for trial in trials]),
            *scores,
            _measure("Time", "s", figures("duration_s")),
            _measure(
                "CPU time", "s", [exactly(trial["cpu_s"], "measured") for trial in trials], like=figures("duration_s")
            ),
            _measure("Energy", "J", figures("energy_j")),
            _measure("Carbon of electricity", "g", figures("operational_g")),
        ),
    )


def _status(trial: Document) -> str:
    attempts = f", attempt {trial['attempt']}" if trial["attempt"] > 1 else ""
    return f"{trial['status']}{attempts}"


def _words(title: str, texts: Iterable[str], *, numeric: bool = False) -> Column:
    return Column(title, tuple(Cell(text) for text in texts), numeric=numeric)


def _measure(
    title: str, unit: str, figures: Sequence[Figure | None], *, like: Sequence[Figure | None] | None = None
) -> Column:
    """A column of figures in one unit, each with the digits that its interval bears.

    Args:
        title: its heading.
        unit: the stored unit.
        figures: what stands in it.
        like: the figures that choose the unit, where other columns are to be in the same one.
    """
    shown = unit_for([one.mid for one in (like or figures) if one is not None], unit)
    texts = aligned(number(one.mid / shown.size, digits_of(one)) if one else UNKNOWN for one in figures)
    cells = tuple(Cell(text, bounds(one, shown) if one else "") for text, one in zip(texts, figures, strict=True))
    name = shown.name + CO2E if unit == "g" else shown.name
    return Column(title, cells, name, weakest(one.basis for one in figures if one), numeric=True)


def _score(title: str, arms: Sequence[ArmView], split: str, metric: str, *, group: str = "") -> Column:
    """Means of a quality over the seeds, between the lowest and the highest."""
    figures = [arm.score(split, metric) for arm in arms]
    decimals = METRICS[metric].decimals if metric in METRICS else 2
    return _changes(title, figures, decimals, plus=False, group=group)


def _changes(
    title: str, figures: Sequence[Figure | None], decimals: int, *, plus: bool = True, group: str = ""
) -> Column:
    """A column of scores, or of their changes with a sign, with so many decimals."""

    def written(value: float) -> str:
        return signed(value, decimals) if plus else fixed(value, decimals)

    cells = []
    for one in figures:
        if one is None:
            cells.append(Cell(UNKNOWN))
            continue
        low, high = written(one.low), written(one.high)
        between = f"{low} to {high}" if plus else f"{low}–{high}"
        cells.append(Cell(written(one.mid), between if low != high else ""))
    basis = weakest(one.basis for one in figures if one)
    return Column(title, tuple(cells), "", basis, numeric=True, group=group)
