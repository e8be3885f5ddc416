"""A table in LaTeX, for `booktabs`: what the trainings took by arm, and the project as a whole."""

from __future__ import annotations

from collections.abc import Sequence

from lowcarb.errors import SettingError
from lowcarb.report.exports import words
from lowcarb.report.exports.account import Account
from lowcarb.report.exports.tex import escaped, figure
from lowcarb.report.exports.trained import Quality
from lowcarb.report.format import fixed

METRICS = {"em": "EM", "f1": "F1", "cosine": "cosine", "sts": "STS"}
DECIMALS_OF_A_HUNDRED, DECIMALS_OF_ONE = 1, 3
"""Of a score that goes to 100, and of one that goes to 1."""


def render_latex(account: Account) -> str:
    """A `table` with its caption; the package booktabs is all that it needs.

    Raises:
        SettingError: no carbon is known.
    """
    if account.whole is None:
        raise SettingError("latex", account.title, "a run or study of which energy and carbon are known")
    scores = _scores(account)
    columns: list[str] = ["", "runs", "time", "energy", "carbon", *(escaped(name) for name in scores)]
    rows = [[*row, *[""] * (len(columns) - len(row))] for row in _totals(account)]
    arms = [*_arms(account, scores)]
    body = "  \\midrule\n".join(_lines(part) for part in ([columns], arms, rows) if part)
    name = escaped(account.title)
    lines = [
        f"% Made by {words.MAKER}; needs \\usepackage{{booktabs}}.",
        r"\begin{table}",
        r"  \centering",
        f"  \\caption{{{_caption(account, name, arms=bool(arms))}}}",
        f"  \\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
        r"  \toprule",
        body.rstrip("\n"),
        r"  \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _lines(rows: Sequence[Sequence[str]]) -> str:
    return "".join(f"  {' & '.join(row)} \\\\\n" for row in rows)


def _caption(account: Account, name: str, *, arms: bool) -> str:
    first = "By arm: means of one training, its training phase alone. " if arms else ""
    spans = dict.fromkeys(one.interval for one in account.qualities if one.metric == "f1" and one.low is not None)
    scores = f"; of a score, {escaped(words.joined(list(spans)))}" if arms and spans else ""
    return (
        f"{name}: energy and carbon (CO$_2$e of the electricity). {first}All attempts: each joule once, failed and "
        f"preliminary ones included. In parentheses: intervals meant to hold the truth eight times out of "
        f"ten{scores}. Electricity: {escaped(words.where(account))}. Energy: {escaped(words.measured(account))}. "
        f"{escaped(account.boundary, words.MOST_OF_TEXT)}"
    )


def _scores(account: Account) -> dict[str, tuple[str, str]]:
    """Headings of the scores with their metric and split: F1 first, on the validation questions."""
    there = {(one.metric, one.split) for one in account.qualities}
    ordered = sorted(there, key=lambda one: (one[1] != "validation", one[1], one[0] != "f1", one[0]))
    return {f"{METRICS.get(metric, metric)} {split}": (metric, split) for metric, split in ordered if metric == "f1"}


def _arms(account: Account, scores: dict[str, tuple[str, str]]) -> Sequence[list[str]]:
    rows = []
    for arm in account.arms:
        mine = {(one.metric, one.split): one for one in account.qualities if one.subject == arm.id}
        rows.append(
            [
                escaped(arm.id), str(arm.trials), figure(arm.duration_s, "s"), figure(arm.energy_j, "J"),
                figure(arm.operational_g, "g"), *(_score(mine.get(key)) for key in scores.values()),
            ]
        )  # fmt: skip
    return rows


def _score(quality: Quality | None) -> str:
    if quality is None:
        return "---"
    decimals = DECIMALS_OF_ONE if quality.best == 1.0 else DECIMALS_OF_A_HUNDRED
    text = fixed(quality.mid, decimals)
    inside = (
        "" if quality.low is None or quality.high is None
        else f" ({fixed(quality.low, decimals)}--{fixed(quality.high, decimals)})"
    )  # fmt: skip
    return f"{text}{inside}".replace("−", "$-$")


def _totals(account: Account) -> list[list[str]]:
    rows = [
        [
            escaped(words.status(one.status).capitalize()), str(one.attempts), figure(one.duration_s, "s"),
            figure(one.energy_j, "J"), figure(one.operational_g, "g"),
        ]
        for one in account.outcomes
    ]  # fmt: skip
    whole = account.whole
    if whole is not None:
        figures = (figure(whole.duration_s, "s"), figure(whole.energy_j, "J"), figure(whole.operational_g, "g"))
        rows.append(["All attempts", str(account.attempts), *figures])
    return rows
