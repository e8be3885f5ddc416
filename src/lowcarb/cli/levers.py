"""`lowcarb levers`: what can be done to a training, what is claimed for it, and what speaks against it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from lowcarb.cli.console import Json, emit, out, show
from lowcarb.core.estimate import Estimate
from lowcarb.core.levers import LEVERS, Lever, Pulled, parse_pulled
from lowcarb.report.format import signed

Name = Annotated[
    str | None, typer.Argument(metavar="[ID]", help="One lever, such as bf16 or freeze-layers=3; all where left out.")
]


def levers(name: Name = None, *, json: Json = False) -> int:
    """List the levers: claim, conflicts, needs, drawbacks, sources."""
    found = [LEVERS[parse_pulled(name).lever]] if name else list(LEVERS.values())
    if json:
        emit({"levers": [lever_as_dict(one) for one in found]}, kind="levers")
    elif name:
        _tell(found[0])
    else:
        columns = ("Lever", "What it does", "Changes", "Energy ratio", "Change of F1", "Tried")
        show("Levers: what is claimed before a study measures it (assumed)", columns, map(_row, found), right=(3, 4))
    return 0


def lever_as_dict(lever: Lever) -> dict[str, Any]:
    """The JSON form of a lever."""
    claim = lever.claim
    return {
        "id": lever.id,
        "title": lever.title,
        "kind": lever.kind,
        "settings": {name: list(values) for name, values in lever.settings.items()},
        "claim": {
            "of": _first(lever),
            "energy_ratio": claim.energy_ratio.as_dict(),
            "quality_change": claim.quality_change.as_dict() if claim.quality_change else None,
            "where": claim.where,
            "sources": list(claim.sources),
        },
        "conflicts": list(lever.conflicts),
        "needs": list(lever.needs),
        "benefits": list(lever.benefits),
        "drawbacks": list(lever.drawbacks),
        "exact": lever.exact,
        "gpu_only": lever.gpu_only,
        "tried": lever.tried,
    }


def _first(lever: Lever) -> str:
    """The lever at its defaults, which is what its claim is of."""
    return str(Pulled(lever.id, lever.completed({})))


def _row(lever: Lever) -> tuple[str, ...]:
    quality = lever.claim.quality_change
    return (
        _first(lever),
        lever.title,
        lever.kind,
        _ratio(lever.claim.energy_ratio),
        _points(quality) if quality else "—",
        "yes" if lever.tried else "no",
    )


def _ratio(one: Estimate) -> str:
    return f"{one.mid:.2f} ({one.low:.2f}–{one.high:.2f})"


def _points(one: Estimate) -> str:
    return f"{signed(one.mid, 1)} ({signed(one.low, 1)} to {signed(one.high, 1)})"


def _tell(lever: Lever) -> None:
    claim, quality = lever.claim, lever.claim.quality_change
    settings = "; ".join(f"{name}: {', '.join(map(str, values))}" for name, values in lever.settings.items())
    exact = "; the arithmetic of each example stays as it is" if lever.exact else ""
    tried = "yes" if lever.tried else "no: only simulated until now"
    facts = (
        ("Changes", f"{lever.kind}{exact}"),
        ("Settings", settings or "none"),
        ("Energy ratio", f"{_ratio(claim.energy_ratio)}, {claim.energy_ratio.basis}, for {_first(lever)}"),
        ("Change of F1", f"{_points(quality)}, {quality.basis}" if quality else "not known"),
        ("Seen", claim.where),
        ("Sources", ", ".join(claim.sources) or "none"),
        ("Conflicts", ", ".join(lever.conflicts) or "none"),
        ("Needs", "; ".join(lever.needs) or "nothing in particular"),
        ("Tried by lowcarb", tried),
        ("Benefits", "; ".join(lever.benefits)),
        ("Drawbacks", "; ".join(lever.drawbacks)),
    )
    out().print(f"{lever.id}: {lever.title}", markup=False, style="bold")
    for title, text in facts:
        out().print(f"  {title:17} {text}", markup=False)
