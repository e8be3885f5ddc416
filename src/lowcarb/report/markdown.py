"""The report in short, as Markdown: for a pull request, a README, a message."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from typing import Any

from lowcarb.report.ablation import ablation_table
from lowcarb.report.columns import Table
from lowcarb.report.digest import Document, device_names, name_of, status_counts, unfinished
from lowcarb.report.format import plain, quantity, writable
from lowcarb.report.summary import contrast_arm, lead, measured_words, sentences, total_carbon
from lowcarb.report.table import arms_table, comparisons_table, devices_table

METHOD = (
    "Energy = ∫ power dt; carbon = energy × PUE × grid intensity, and a share of making the machine. Intervals of "
    "comparisons are 90 %, from paired seeds and a bootstrap of paragraphs. Equations and limits: docs/methods.md."
)


def render_markdown(document: Mapping[str, Any]) -> str:
    """A study document in short: the answer, arms, comparisons, devices, findings, and how it was got."""
    blocks = [
        f"# {escaped(document['study']['question'] or document['study']['id'])}",
        f"**{escaped(lead(document))}**",
        items(one.plain for one in sentences(document)),
        _totals(document),
        markdown_table(arms_table(document)),
        markdown_table(comparisons_table(document, levers=False)),
        markdown_table(ablation_table(document)),
    ]
    if device_names(document):
        blocks += [
            "Devices are projected, not measured.",
            markdown_table(devices_table(document, contrast_arm(document))),
        ]
    blocks += [_drawbacks(document), _findings(document), _lost(document), _method(document)]
    return writable("\n\n".join(block for block in blocks if block) + "\n")


def escaped(value: object) -> str:
    """A text that Markdown, and the HTML that is made of it, show as it is, on one line."""
    text = html.escape(" ".join(str(value).split()), quote=False)
    return re.sub(r"([\\`*_{}\[\]|#~$])", r"\\\1", text)


def items(texts: Iterable[str]) -> str:
    """A list; empty of none."""
    return "\n".join(f"- {escaped(text)}" for text in texts)


def markdown_table(table: Table) -> str:
    """A table under its title; empty where it has no rows."""
    plain_table = table.plain
    if not plain_table.rows:
        return ""
    rule = ["---:" if index in plain_table.right else "---" for index in range(len(plain_table.columns))]
    lines = [
        [escaped(c) for c in plain_table.columns],
        rule,
        *([escaped(c) for c in row] for row in plain_table.rows),
    ]
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"## {escaped(plain_table.title)}\n\n{body}"


def _totals(document: Document) -> str:
    totals, counts = document["totals"], status_counts(document)
    trials = ", ".join(f"{count} {status}" for status, count in counts.items())
    carbon, energy = quantity(total_carbon(document), "g"), quantity(totals["energy_j"], "J")
    wasted = f"; {plain(totals['wasted_j'], 'J', 2)} without a result" if totals["wasted_j"] else ""
    return escaped(
        f"The whole study: {carbon} of carbon (CO₂e), {energy} of energy{wasted}; trials: {trials}; "
        f"{measured_words(totals.get('measured_share'))}."
    )


def _drawbacks(document: Document) -> str:
    """What speaks against each choice, so that a short report does not flatter it."""
    texts = []
    for one in document["comparisons"]:
        arm, baseline = (name_of(document, one, side) for side in ("arm", "baseline"))
        if one["drawbacks"]:
            texts.append(f"{arm} instead of {baseline}: {'; '.join(one['drawbacks'])}")
    return f"## Drawbacks\n\n{items(texts)}" if texts else ""


def _findings(document: Document) -> str:
    texts = [f"{one['level']}, {one['where']}: {one['message']} ({one['remedy']})" for one in document["checks"]]
    return f"## Findings\n\n{items(texts)}" if texts else ""


def _lost(document: Document) -> str:
    texts = [
        f"{one['arm']} seed {one['seed']}: {one['status']}, attempt {one['attempt']}"
        f"{': ' + one['error'] if one['error'] else ''}"
        for one in unfinished(document)
    ]
    return f"## Trials without a result\n\n{items(texts)}" if texts else ""


def _method(document: Document) -> str:
    site = document["site"]
    note = f" {site['note']}." if site["note"] else ""
    place = f"Site: {site['name']}, {quantity(site['intensity_g_per_kwh'], 'g CO₂e/kWh')}."
    return escaped(f"{METHOD} {place}{note}")
