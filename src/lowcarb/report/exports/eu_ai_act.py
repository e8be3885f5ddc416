"""EU AI Act: the compute and energy fields of a general-purpose model's documentation, for a person to compare.

Regulation (EU) 2024/1689, Art. 53(1)(a) with Annex XI, section 1, point 2(d) (compute, training time) and 2(e) (known
or estimated energy), and the Model Documentation Form of the GPAI Code of Practice (10 July 2025). The form sets no
boundary, so each figure names its own.
"""

from __future__ import annotations

from typing import Any

from lowcarb.core.estimate import Estimate
from lowcarb.core.units import HOURS_PER_YEAR, KILO, S_PER_YEAR, hours_from_s, kwh_from_j
from lowcarb.report.exports import forms, words
from lowcarb.report.exports.account import Account
from lowcarb.report.exports.use import TASK_TOKENS

BASIS = "Regulation (EU) 2024/1689, Art. 53(1)(a), Annex XI, section 1, point 2(d) and 2(e)"
FORM = "Model Documentation Form of the GPAI Code of Practice (10 July 2025)"
COMPARE = "A person must compare this with the official form and the text of the law before handing it in."
MONTH_S = S_PER_YEAR / 12
HOURS_PER_DAY = HOURS_PER_YEAR / 365.25
RANGES = ((1, "<1 month"), (3, "1-3 months"), (6, "3-6 months"))
ACCELERATORS = ("gpu", "tpu", "npu")
NO_INFERENCE = "N/A: missing are the model's shape or its parameters; no inference was benchmarked"


def render_eu_ai_act(account: Account) -> str:
    """The filled fields as Markdown, with the same as JSON below."""
    document = eu_ai_act_document(account)
    rows = "\n".join(f"| {title} | {words.markdown(said, 2 * words.MOST_OF_TEXT)} |" for title, said in _rows(document))
    # A fence longer than any run of backticks in the text cannot be closed by it.
    body = words.json_text(document).rstrip("\n")
    fence = "`" * max(3, 1 + max(map(len, _backticks(body)), default=0))
    return (
        f"# Compute and energy of training: {words.markdown(account.title)}\n\n"
        f"{BASIS}; {FORM}.\n\n**{COMPARE}**\n\n| field | value |\n| --- | --- |\n{rows}\n\n"
        f"{fence}json\n{body}\n{fence}\n"
    )


def eu_ai_act_document(account: Account) -> dict[str, Any]:
    """The fields by name; what is not known is `N/A` with what is missing, never 0."""
    energy_j = forms.known_energy_j(account)
    return {
        "schema_version": 1,
        "kind": "eu-ai-act",
        "legal_basis": BASIS,
        "form": FORM,
        "compare": COMPARE,
        "subject": {"kind": account.kind, "id": account.id, "title": forms.text(account.title)},
        "training_time": _time(account),
        "training_compute": _compute(account),
        "training_energy": _energy(account, energy_j),
        "inference_compute": _inference(account),
        "boundary": {"level": level_of(account), "words": account.boundary},
        "measured_share": account.measured_share,
        "measured": words.measured(account),
        "attempts": words.attempts(account),
        "notes": list(account.notes),
        "made_by": words.MAKER,
    }


def level_of(account: Account) -> str:
    """`accelerator`, `node`, or `parts of a node` by what the energy covers; the building is told beside it."""
    kinds = {one.kind for one in account.drawn}
    if not kinds:
        return "not known"
    if "machine" in kinds:
        return "node"
    if kinds <= set(ACCELERATORS):
        return "accelerator"
    named = [words.KINDS.get(one.kind, one.kind) for one in account.drawn]
    return f"parts of a node ({', '.join(dict.fromkeys(named))})"


def range_of(duration_s: float) -> str:
    """The form's range of a training time [s], by months of a twelfth of 365.25 days."""
    return next((said for most, said in RANGES if duration_s < most * MONTH_S), ">6 months")


def figures(value: float) -> str:
    """A value with three significant figures."""
    return f"{value:#.3g}".rstrip(".")


def _time(account: Account) -> dict[str, Any]:
    if account.whole is None:
        said = "N/A: the time is not known, since nothing was metered"
        return {"range": said, "wall_clock_days": said, "hardware_days": said}
    duration_s = account.whole.duration_s.mid if account.wall_clock_s is None else account.wall_clock_s
    used = [one for one in account.devices if one.kind in ACCELERATORS] or list(account.devices)
    used_s = sum(one.time_s for one in used)
    kinds = words.joined([words.one_line(one.name) for one in used])
    return {
        "range": range_of(duration_s),
        "wall_clock_days": figures(_days(duration_s)),
        "hardware_days": f"{figures(_days(used_s))} ({kinds})" if used else "N/A: the machine is not known",
    }


def _days(duration_s: float) -> float:
    return hours_from_s(duration_s) / HOURS_PER_DAY


def _compute(account: Account) -> dict[str, Any]:
    flops = account.trained.flops
    if flops is None or flops <= 0.0:
        said = "N/A: missing are the model's shape or parameters together with the tokens that it saw"
        return {"order_of_magnitude_flop": said, "flop": said, "methodology": said}
    exponent = f"{flops:e}".partition("e")[2]
    method = f"{account.trained.flops_method or 'not told'}; of the trainings that the result rests on alone, "
    method += "while time and energy are of all attempts"
    return {"order_of_magnitude_flop": f"10^{int(exponent)}", "flop": f"{flops:.1e}", "methodology": method}


def _inference(account: Account) -> dict[str, str]:
    """What reading the form's example of a task computes; it is reckoned, and says so."""
    uses = account.trained.uses
    if not uses:
        return {"flop": NO_INFERENCE, "methodology": NO_INFERENCE}
    said = [f"{use.flops:.1e}{f' ({words.one_line(use.subject)})' if use.subject else ''}" for use in uses]
    methods = words.joined(list(dict.fromkeys(use.method for use in uses)))
    return {
        "flop": "; ".join(said),
        "methodology": f"Task: {TASK_TOKENS} tokens read once. Reckoned {methods}; nothing was run for it, so no "
        "hardware is named.",
    }


def _energy(account: Account, energy_j: Estimate | None) -> dict[str, Any]:
    if energy_j is None:
        said = "N/A: missing is any energy reading of this training, or a model of it"
        return {"mwh": said, "interval_mwh": said, "facility_mwh": said, "methodology": said}
    site = account.site
    facility = energy_j * site.pue if site else None
    return {
        "mwh": figures(_mwh(energy_j.mid)),
        "interval_mwh": _interval(energy_j),
        "facility_mwh": f"{figures(_mwh(facility.mid))} ({_interval(facility)})"
        if facility
        else "N/A: missing is the one site, with its PUE",
        "methodology": _methodology(account, energy_j),
    }


def _mwh(energy_j: float) -> float:
    return kwh_from_j(energy_j) / KILO


def _interval(energy_j: Estimate) -> str:
    return f"{figures(_mwh(energy_j.low))} to {figures(_mwh(energy_j.high))}, {energy_j.basis}"


def _methodology(account: Account, energy_j: Estimate) -> str:
    """About a hundred words, of facts alone."""
    sensors = words.joined([f"{one.kind} by {', '.join(one.sensors)} ({one.basis})" for one in account.drawn])
    coverage = "not known" if account.coverage is None else f"{account.coverage:.0%}"
    return words.one_line(
        f"Energy was added up over {account.attempts} attempts ({words.attempts(account)}), failed and preliminary "
        f"ones included, each joule once. Readings: {sensors or 'as recorded'}. They cover {coverage} of the time; "
        f"what they do not cover is estimated and widens the interval. {words.measured(account)}. {account.boundary} "
        f"The figure is the middle of an interval, on the basis {energy_j.basis}. "
        f"The facility's figure multiplies it by the PUE of the site: {words.where(account)}.",
        2 * words.MOST_OF_TEXT,
    )


def _rows(document: dict[str, Any]) -> list[tuple[str, str]]:
    time, compute, energy = (document[f"training_{name}"] for name in ("time", "compute", "energy"))
    inference, boundary = document["inference_compute"], document["boundary"]
    share = document["measured_share"]
    return [
        ("Training time, range (national authorities)", time["range"]),
        ("Training time, wall-clock days (AI Office)", time["wall_clock_days"]),
        ("Training time, hardware-days (AI Office)", time["hardware_days"]),
        ("Training compute, order of magnitude, FLOP (national authorities)", compute["order_of_magnitude_flop"]),
        ("Training compute, FLOP (AI Office)", compute["flop"]),
        ("Training compute, methodology", compute["methodology"]),
        ("Training energy, MWh, within the boundary", energy["mwh"]),
        ("Training energy, interval, MWh", energy["interval_mwh"]),
        ("Training energy of the facility (PUE included), MWh", energy["facility_mwh"]),
        ("Training energy, methodology", energy["methodology"]),
        ("Inference compute, FLOP", inference["flop"]),
        ("Inference compute, methodology", inference["methodology"]),
        ("Boundary", f"{boundary['level']}. {boundary['words']}"),
        ("Measured share", f"{'not known' if share is None else f'{share:.4f}'}: {document['measured']}"),
        *(("Note", note) for note in document["notes"]),
    ]


def _backticks(text: str) -> list[str]:
    runs, run = [], ""
    for character in text:
        run = run + character if character == "`" else ""
        runs.append(run)
    return runs
