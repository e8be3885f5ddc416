"""A run of the ledger as a probe: what it did on its device says what it would do on others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lowcarb.catalogue import Catalogue
from lowcarb.cli.jobs import Probe
from lowcarb.core.documents import energy_from_dict, machine_from_dict
from lowcarb.core.estimate import total
from lowcarb.core.hardware import Installed
from lowcarb.errors import SettingError
from lowcarb.ledger.base import Attempt, Ledger

ACCELERATORS = ("gpu", "tpu", "npu")
TRAIN = "train"
"""Phase in which tokens are trained on; the whole run where it has none."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run says of a forecast."""

    probe: Probe
    tokens: float
    """That it trained on."""
    count: int
    """Of its accelerators."""
    params: float | None
    """Where the trainer told them."""


def measured(book: Ledger, name: str, catalogue: Catalogue) -> Measured:
    """The probe that a run of the ledger makes.

    Raises:
        SettingError: no such run, one that counted no tokens, or one without an accelerator, or with several kinds.
        CatalogueError: its accelerator is not in the catalogue.
    """
    run = book.run(name)
    if run is None:
        raise SettingError("run", name, "a run of the ledger; `lowcarb ledger list` lists them")
    attempt = _best(book.attempts(run.id))
    if attempt is None:
        raise SettingError(
            "run", name, "a run that counted its tokens: `run.tokens(n)`, or a trainer that lowcarb is hooked into"
        )
    document: Any = attempt.document
    accelerator = _accelerator(document, name)
    seconds = next((p["wall_s"] for p in document["phases"] if p["name"] == TRAIN), document["wall_s"])
    tokens = float(document["tokens"])
    probe = Probe(tokens / seconds, _watts(document, accelerator), catalogue.device(accelerator.device.id))
    params = document.get("notes", {}).get("parameters")
    return Measured(probe, tokens, int(accelerator.count), float(params) if params else None)


def _best(attempts: Any) -> Attempt | None:
    """The attempt that trained on most tokens; None where none counted any."""
    counted = [attempt for attempt in attempts if (attempt.document.get("tokens") or 0) > 0]
    return max(counted, key=lambda attempt: attempt.document["tokens"], default=None)


def _accelerator(document: Mapping[str, Any], name: str) -> Installed:
    found = [one for one in machine_from_dict(document["machine"]).devices if one.device.kind in ACCELERATORS]
    kinds = {one.device.id for one in found}
    if len(kinds) != 1:
        has = f"it has {', '.join(sorted(kinds))}" if kinds else "it ran on processors alone"
        raise SettingError("run", name, f"a run on accelerators of one kind; {has}")
    return Installed(found[0].device, sum(one.count for one in found))


def _watts(document: Mapping[str, Any], accelerator: Installed) -> float | None:
    """Mean power of one accelerator in training [W]; None where its energy was not read."""
    phases = [phase for phase in document["phases"] if phase["name"] == TRAIN]
    energy = energy_from_dict((phases[0] if phases else document)["energy"])
    drawn = [device.energy_j for device in energy.devices if device.kind in ACCELERATORS]
    if not drawn or not energy.duration_s > 0:
        return None
    return total(drawn).mid / energy.duration_s / accelerator.count
