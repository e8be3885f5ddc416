"""What each lever does, alone and on top of the stack: one part of the study document, and its table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lowcarb.core.design import apart
from lowcarb.core.levers import Claim, Pulled, lever_of, parse_pulled
from lowcarb.core.trial import Study
from lowcarb.report.columns import Column, Table, changes, measure, told, untold, words
from lowcarb.report.digest import Document, metric_of
from lowcarb.report.format import UNKNOWN, Figure, figure

ALONE, ON_TOP, CLAIMED = "alone", "on the stack", "claimed"
WHOLE = "the whole stack"


def ablation_of(study: Study, comparisons: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The part of the study document on its levers; None for a study that has none.

    Args:
        study: the study.
        comparisons: of its document; each is repeated where it belongs.
    """
    if not study.levers and not study.stack:
        return None
    levers_of = {arm.id: arm.levers for arm in study.arms}
    found: dict[tuple[str, bool], Mapping[str, Any]] = {}
    whole = None
    for one in comparisons:
        if one["factor"] != "lever":
            continue
        levers, before = levers_of[one["arm"]], levers_of[one["baseline"]]
        if len(levers) - len(before) == 1:
            (added,) = set(levers) - set(before)
            found[added, bool(before)] = one
        if not before and levers == study.stack:
            whole = one
    conflicts = apart(study)
    return {
        "baseline": study.baseline,
        "stack": list(study.stack),
        "whole": whole,
        "levers": [
            {
                "lever": text,
                "title": lever_of(parse_pulled(text).lever).title,
                ALONE: found.get((text, False)),
                "on_top": found.get((text, True)),
                "conflict": conflicts.get(text),
                "claim": _claim(text),
            }
            for text in study.levers
        ],
    }


def _claim(text: str) -> dict[str, Any]:
    lever = lever_of(parse_pulled(text).lever)
    claim: Claim = lever.claim
    return {
        "of": str(Pulled(lever.id, lever.completed({}))),
        "energy_ratio": claim.energy_ratio.as_dict(),
        "quality_change": claim.quality_change.as_dict() if claim.quality_change else None,
        "where": claim.where,
        "sources": list(claim.sources),
    }


def ablation_table(document: Document, *, claims: bool = True) -> Table:
    """Each lever alone against the baseline and on top of the stack, with its claim beside; then the whole stack.

    Of a lever that the stack has, what it does on top of the stack's others.

    Args:
        document: of the study.
        claims: whether the claims stand beside.
    """
    found = document.get("ablation") or {"levers": [], "stack": [], "whole": None, "baseline": ""}
    rows: list[Mapping[str, Any]] = list(found["levers"])
    if found["stack"]:
        rows.append({"lever": WHOLE, ALONE: found["whole"], "on_top": None, "conflict": None, "claim": None})
    claimed = [one["claim"] or {} for one in rows]
    metric = metric_of(document)
    against = f"{found['baseline']}" + (f"; the stack is {', '.join(found['stack'])}" if found["stack"] else "")
    shown = (
        words("Lever", [str(one["lever"]) for one in rows]),
        *_measured(document, ALONE, [one[ALONE] for one in rows], [None] * len(rows)),
        *_measured(document, ON_TOP, [one["on_top"] for one in rows], [one["conflict"] for one in rows]),
        measure("Energy ratio", "", [figure(one.get("energy_ratio")) for one in claimed])._replace(group=CLAIMED),
        changes("Change of F1", [figure(one.get("quality_change")) for one in claimed], metric.decimals, group=CLAIMED),
    )
    left_out = {ON_TOP: not found["stack"], CLAIMED: not claims}
    kept = tuple(column for column in shown if not left_out.get(column.group))
    return Table(f"Levers on {against}", kept)


def _measured(
    document: Document, group: str, found: Sequence[Mapping[str, Any] | None], conflicts: Iterable[str | None]
) -> tuple[Column, ...]:
    """Columns of carbon, quality and verdict."""
    metric = metric_of(document)

    def figures(name: str) -> list[Figure | None]:
        return [told(figure(one[name]), one) if one else None for one in found]

    verdicts = [
        str(one["verdict"]) if one else conflict or UNKNOWN for one, conflict in zip(found, conflicts, strict=True)
    ]
    return (
        _with_unknown(measure("Carbon ratio", "", figures("carbon_ratio")), found)._replace(group=group),
        _with_unknown(changes(f"Change of {metric.name}", figures("quality_change"), metric.decimals), found)._replace(
            group=group
        ),
        words("Verdict", verdicts)._replace(group=group),
    )


def _with_unknown(column: Column, found: Sequence[Mapping[str, Any] | None]) -> Column:
    """The column, saying where an interval is not known."""
    nothing: Mapping[str, Any] = {"carbon_ratio": {"low": 1.0, "mid": 1.0, "high": 1.0, "basis": "assumed"}}
    return untold(column, [one or nothing for one in found])
