"""The well-known models as a page of the documentation, as a section of the HTML report, and as rows for a terminal."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from lowcarb.core.units import PERCENT
from lowcarb.report.figures import NARROW, WIDE
from lowcarb.report.format import UNKNOWN, number, plain, quantity, unit_for
from lowcarb.report.well_known import QUANTITIES, TITLES, UNITS, Comparison, Summary, summaries, well_known
from lowcarb.report.well_known_plot import plot

COMMAND = "lowcarb catalogue models --footprint --page docs/well-known-models.md"
COLUMNS = (
    "Model", "Scope", "Published", "Forecast (80 % interval)", "Error", "Inside", "Error, hours given",
    "What explains a miss",
)  # fmt: skip
RIGHT = (2, 3, 4, 6)
CALIBRATED = (
    "The forecast was calibrated on some of these very runs, so the errors here are smaller than on a run that it has "
    "not seen. What it does on families of models left out of the fit stands in BENCHMARKS.md, in the section on the "
    "forecast; those are the figures to quote."
)
HOW = (
    "A forecast starts from parameters, tokens, device and number of devices, with the PUE and the grid that the "
    "publication states. It is in the publication's own scope: many published figures are rated power times hours "
    "times PUE and leave the hosts out, which is written as “devices × PUE” and compared with the same. “Error, hours "
    "given” is that of a forecast that starts from the published hours instead: what it misses is power, building and "
    "grid."
)
SEE = (
    "Published figures and their sources: `lowcarb catalogue published ID`. Those that were quoted from memory, in "
    "whole or in part, are `assumed` there."
)
WHOLE = (
    "Every figure that was published is here, also where no forecast can be made of it: the last column then says why."
)


def cells(row: Comparison) -> tuple[str, ...]:
    """A row of a table, under `COLUMNS`."""
    unit = UNITS[row.quantity]
    shown = unit_for([row.published or None, row.forecast.mid if row.forecast else None], unit)
    published = number(row.published) if row.quantity == "hours" else plain(row.published, unit)
    return (
        row.name,
        row.scope,
        published,
        quantity(row.forecast, unit, shown=shown),
        signed_percent(row.error),
        {True: "yes", False: "no", None: UNKNOWN}[row.inside],
        signed_percent(row.error_given_hours),
        "; ".join(row.why),
    )


def signed_percent(share: float | None) -> str:
    """An error with its sign: `+12 %`, and as a factor from tenfold on: `×176`."""
    if share is None:
        return UNKNOWN
    if share >= 9.0:
        return f"×{number(share + 1.0)}"
    return f"{PERCENT * share:+.0f} %".replace("-", "−")


def summary_line(one: Summary) -> str:
    """One quantity in a sentence."""
    return (
        f"{TITLES[one.quantity]}: {one.published} published, {one.compared} with a forecast from totals; absolute "
        f"error {PERCENT * one.median:.0f} % in the median, {PERCENT * one.ninth_decile:.0f} % at the ninth decile; "
        f"{one.inside} of {one.compared} inside the 80 % interval."
    )


def page(rows: Sequence[Comparison], figure: str = "well-known-models.svg") -> str:
    """The page of the documentation, in Markdown.

    Args:
        rows: of `comparisons`.
        figure: address of the figure, from the page.
    """
    blocks = [
        "# Well-known models: published footprints and forecasts",
        f"Made by `{COMMAND}`; a test holds it to that.",
        WHOLE,
        HOW,
        f"**{CALIBRATED}**",
        "\n".join(f"- {summary_line(one)}" for one in summaries(rows)),
        f"![Published figures against forecasts, on logarithmic axes: hours, energy and carbon]({figure})",
        "On the dashed line the two agree. Upright lines are 80 % intervals; hollow points lie outside of theirs.",
    ]
    for name in QUANTITIES:
        mine = [row for row in rows if row.quantity == name]
        if mine:
            blocks += [f"## {TITLES[name]}", _markdown(mine)]
    blocks += [
        SEE,
    ]
    return "\n\n".join(blocks) + "\n"


def well_known_section(rows: Sequence[Comparison] | None = None) -> str:
    """A section for the HTML report: figure, summary, tables. It uses the report's style sheet and no script.

    Args:
        rows: of `comparisons`; those of the catalogue that ships unless given.
    """
    rows = well_known() if rows is None else rows
    said = "".join(f"<li>{html.escape(summary_line(one))}</li>" for one in summaries(rows))
    tables = "".join(
        f"<details><summary>{html.escape(TITLES[name])}: all {len(mine)} rows</summary>{_table(name, mine)}</details>"
        for name in QUANTITIES
        if (mine := [row for row in rows if row.quantity == name])
    )
    return (
        '<section id="well-known" aria-labelledby="well-known-title">'
        '<h2 id="well-known-title">Well-known models</h2>'
        f"<p>{html.escape(WHOLE)} {html.escape(HOW)}</p><p><strong>{html.escape(CALIBRATED)}</strong></p>"
        f"<ul>{said}</ul>"
        f'<figure><div><div class="wide">{plot(rows, WIDE)}</div><div class="narrow">{plot(rows, NARROW)}</div></div>'
        "<figcaption>On the dashed line the two agree. Upright lines are 80 % intervals; hollow points lie outside of "
        f"theirs.</figcaption></figure>{tables}</section>"
    )


def _markdown(rows: Sequence[Comparison]) -> str:
    rule = ["---:" if index in RIGHT else "---" for index in range(len(COLUMNS))]
    lines = [COLUMNS, rule, *([_escaped(cell) for cell in cells(row)] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(cell: str) -> str:
    """A cell that Markdown, and the HTML made of it, show as it is."""
    return re.sub(r"([\\`*_|~])", r"\\\1", html.escape(cell, quote=False))


def _table(name: str, rows: Sequence[Comparison]) -> str:
    head = "".join(f'<th scope="col"{_numeric(i)}>{html.escape(title)}</th>' for i, title in enumerate(COLUMNS))
    body = "".join(f"<tr>{_row(cells(row))}</tr>" for row in rows)
    label = html.escape(f"{TITLES[name]}, published and forecast")
    return (
        f'<div class="scroll" role="region" aria-label="{label}" tabindex="0"><table>'
        f"<caption><span>{label}</span></caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(texts: Sequence[str]) -> str:
    first, *others = (html.escape(one) for one in texts)
    rest = "".join(f"<td{_numeric(i)}>{one}</td>" for i, one in enumerate(others, start=1))
    return f'<th scope="row">{first}</th>{rest}'


def _numeric(column: int) -> str:
    return ' class="n"' if column in RIGHT else ""
