"""Software Carbon Intensity (ISO/IEC 21031:2024, the Green Software Foundation's specification 1.1).

    SCI = (O + M) per R
    O   = E × I                         E: energy [kWh], the building's share (PUE) included; I: grid [gCO2e/kWh]
    M   = Σ TE × (TiR / EL) × (RR / ToR)   embodied carbon, by time in use over life, and share of the device in use

Market-based measures and offsets are excluded by the standard, so a contract's intensity is never used here. E is the
energy of the whole account, failed attempts included, since R would not have come about without them.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

from lowcarb.core.estimate import Estimate
from lowcarb.core.units import J_PER_KWH, MEGA
from lowcarb.errors import SettingError
from lowcarb.report.exports import words
from lowcarb.report.exports.account import Account

Per = Literal["run", "tokens", "quality"]
STANDARD = "ISO/IEC 21031:2024 (Software Carbon Intensity specification 1.1)"


class Unit(NamedTuple):
    """A functional unit R."""

    id: Per
    title: str
    amount: Estimate | None
    """How many of it there are; None where that is not known."""
    missing: str
    """Why not."""


def render_sci(account: Account, per: str = "run") -> str:
    """The score as JSON, with each part of the formula.

    Raises:
        SettingError: `per` is not a unit; or no location-based carbon is known.
    """
    return words.json_text(sci_document(account, per))


def sci_document(account: Account, per: str = "run") -> dict[str, Any]:
    """The score with each part of the formula; the score is None where a part is not known, and it is said which.

    Args:
        account: what is scored.
        per: the functional unit: `run`, `tokens` (a million of them) or `quality` (a point of the first score).

    Raises:
        SettingError: `per` is not a unit; or no location-based carbon is known.
    """
    if per not in get_args(Per):
        raise SettingError("per", per, f"one of {', '.join(get_args(Per))}")
    whole, operational = account.whole, account.location_g
    if whole is None or operational is None:
        raise SettingError("sci", account.title, "a run or study of which energy and location-based carbon are known")
    unit = _unit(account, per)
    embodied = whole.embodied_g
    energy = _facility_kwh(account)
    missing = [] if embodied else ["M: the carbon of making these devices is not known"]
    missing += [] if unit.amount else [f"R: {unit.missing}"]
    together = operational + embodied if embodied else None
    return {
        "schema_version": 1,
        "kind": "sci",
        "standard": STANDARD,
        "subject": {"kind": account.kind, "id": account.id, "title": words.one_line(account.title)},
        "score": _per(together, unit).as_dict() if together and unit.amount else None,
        "unit": f"gCO2e per {unit.title}",
        "missing": missing,
        "formula": "SCI = (O + M) / R, O = E x I, M = sum of TE x (TiR / EL) x (RR / ToR)",
        "O_g": operational.as_dict(),
        "M_g": embodied.as_dict() if embodied else None,
        "R": {"unit": unit.title, "amount": unit.amount.as_dict() if unit.amount else None},
        "E_kwh": energy.as_dict() if energy else None,
        "I_g_per_kwh": account.site.intensity_g_per_kwh.as_dict() if account.site else None,
        "machine_energy_kwh": whole.energy_j.scale(1.0 / J_PER_KWH).as_dict(),
        "pue": account.site.pue.as_dict() if account.site else None,
        "M_parts": _embodied_parts(account),
        "place": words.where(account),
        "boundary": account.boundary,
        "measured_share": account.measured_share,
        "measured": words.measured(account),
        "energy_from": whole.method,
        "attempts": words.attempts(account),
        "excluded": "market-based measures and offsets, as the standard asks; hardware that was reserved while nothing "
        "was tracked; training data, inference and other people's machines",
        "notes": list(account.notes),
        "sources": [source.as_dict() for source in account.sources],
        "made_by": words.MAKER,
    }


def _unit(account: Account, per: str) -> Unit:
    if per == "tokens":
        tokens = account.trained.tokens
        amount = Estimate.exact(tokens / MEGA) if tokens else None
        return Unit("tokens", "million tokens trained on", amount, "nobody counted the tokens")
    if per == "quality":
        return _quality_unit(account)
    done = sum(one.attempts for one in account.outcomes if one.status == "done")
    return Unit("run", "training run", Estimate.exact(float(done)) if done else None, "no training is done")


def _quality_unit(account: Account) -> Unit:
    found = [one for one in account.qualities if one.split == "validation"] or list(account.qualities)
    best = next((one for one in found if one.metric == "f1"), next(iter(found), None))
    if best is None:
        return Unit("quality", "unit of quality", None, "no quality is known")
    title = f"unit of {words.one_line(best.name)}"
    if len({one.subject for one in found}) > 1:
        return Unit("quality", title, None, "a study has the quality of several arms: ask for one run")
    if best.mid <= 0 or (best.low is not None and best.low <= 0):
        return Unit("quality", title, None, "the quality is not surely above zero")
    low, high = (best.mid if bound is None else bound for bound in (best.low, best.high))
    return Unit("quality", title, Estimate(low, best.mid, high, "measured"), "")


def _per(carbon_g: Estimate, unit: Unit) -> Estimate:
    if unit.amount is None:
        raise ValueError("the caller has looked")
    return carbon_g / unit.amount


def _facility_kwh(account: Account) -> Estimate | None:
    """E: energy [kWh] with the building's share; None where several sites have several PUEs."""
    if account.whole is None or account.site is None:
        return None
    return (account.whole.energy_j * account.site.pue).scale(1.0 / J_PER_KWH)


def _embodied_parts(account: Account) -> list[dict[str, Any]]:
    """M by device. RR / ToR is the share of a server or the number of cards that the run could use."""
    known = {one.device.id: one.device for machine in account.machines for one in machine.devices}
    parts = []
    for used in account.devices:
        device = known[used.id]
        carbon, life = device.embodied_g, device.lifetime_s
        part = (carbon / life).scale(used.time_s) if carbon and life else None
        parts.append(
            {
                "device": words.one_line(used.name),
                "TE_g": carbon.as_dict() if carbon else None,
                "EL_s": life.as_dict() if life else None,
                "TiR_times_share_s": used.time_s,
                "count": used.count,
                "M_g": part.as_dict() if part else None,
            }
        )
    return parts
