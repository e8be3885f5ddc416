"""What several exports say: what was counted, how well, and where; and text that no form takes for its own marks."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from lowcarb.core.units import BYTES_PER_GIB, PERCENT
from lowcarb.report.format import number, quantity, writable
from lowcarb.report.summary import measured_words

if TYPE_CHECKING:
    from lowcarb.report.exports.account import Account
    from lowcarb.report.exports.trained import Quality

KINDS = {
    "cpu": "processors", "dram": "memory", "gpu": "GPUs", "tpu": "TPUs", "npu": "NPUs", "machine": "the whole machine",
}  # fmt: skip
MOST_CHARACTERS = 200
"""Of a name, in a form that people read."""
MOST_OF_TEXT = 1000
"""Of a sentence or two."""


def _maker() -> str:
    try:
        return f"lowcarb {version('lowcarb')}"
    except PackageNotFoundError:  # run from its sources
        return "lowcarb"


MAKER = _maker()
"""Who made an export."""


def boundary_words(kinds: Sequence[str], attribution: str | None) -> str:
    """What an energy covers and what it does not, in a few sentences.

    Args:
        kinds: of the devices that are in it.
        attribution: `machine`, `process`, or None where it is not known or not the same for all.
    """
    if not kinds:
        return "No energy is known."
    covered = joined([KINDS.get(kind, kind) for kind in kinds])
    whose = {
        "machine": ", all that they drew on the training's machine while it ran",
        "process": ", of processors and memory the share of the training's processes, of accelerators all",
    }.get(attribution or "", "")
    left = "storage, network, screens and other machines"
    if "machine" not in kinds:
        left = f"the rest of the machine (disks, fans, power supply losses), {left}"
    return (
        f"The energy is that of {covered}{whose}. Not in it: {left}. "
        "What the building adds (PUE) is in the carbon, not in the energy."
    )


def measured(account: Account) -> str:
    """How much of the energy was measured, in words."""
    return measured_words(account.measured_share)


def hardware(account: Account) -> str:
    """`2 × NVIDIA A100, AMD EPYC 7742`: accelerators first; empty where nothing is known."""
    ordered = sorted(account.devices, key=lambda device: device.kind == "cpu")
    return ", ".join(
        one_line(device.name if device.count == 1 else f"{device.count:g} × {device.name}") for device in ordered
    )


def machine(account: Account) -> str:
    """Threads, memory and whether it is virtual: `2 threads, 24 GiB of memory, virtual`; empty where not known."""
    one = account.machine
    if one is None:
        return ""
    words = [f"{one.threads} thread{'' if one.threads == 1 else 's'}"]
    if one.memory_bytes:
        words.append(f"{number(one.memory_bytes / BYTES_PER_GIB)} GiB of memory")
    return ", ".join([*words, *(["virtual"] if one.virtual else [])])


def where(account: Account) -> str:
    """Where it is priced: `France, 42 g CO₂e/kWh (location, lifecycle, 2025), PUE 1.5`."""
    site = account.site
    if site is None:
        return f"{len(account.sites)} sites, each attempt where it ran" if account.sites else "not known"
    name = one_line(site.name) if site.declared else "not declared, so a world average"
    year = f", {site.year}" if site.year else ""
    intensity, pue = quantity(site.intensity_g_per_kwh, "g CO₂e/kWh"), quantity(site.pue, "")
    return f"{name}; {intensity} ({site.accounting}{year}), PUE {pue}"


def score(quality: Quality) -> str:
    """`50.0008 (49.0948 to 50.9067, lowest to highest of 2 seeds)`; the figure alone where no interval is known."""
    if quality.low is None or quality.high is None:
        return f"{quality.mid:.6g}"
    return f"{quality.mid:.6g} ({quality.low:.6g} to {quality.high:.6g}, {quality.interval})"


def attempts(account: Account) -> str:
    """`14 done, 2 failed`."""
    return ", ".join(f"{one.attempts} {status(one.status)}" for one in account.outcomes) or "none"


def status(name: str) -> str:
    """A status in words."""
    return name.replace("_", " ")


def joined(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def one_line(text: object, most: int = MOST_CHARACTERS) -> str:
    """A text on one line, without characters that cannot be printed or stored, and not longer than a line bears."""
    printable = "".join(c if c.isprintable() else " " for c in writable(str(text)))
    line = " ".join(printable.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def markdown(text: object, most: int = MOST_CHARACTERS) -> str:
    """A text that Markdown, and the HTML that is made of it, show as it is, on one line."""
    return re.sub(r"([\\`*_{}\[\]|#~$])", r"\\\1", html.escape(one_line(text, most), quote=False))


def link(url: str) -> str | None:
    """A URL that is safe to follow, without characters that would end it in Markdown, LaTeX or BibTeX; else None."""
    line = writable(url)
    if not re.match(r"https?://[^\s/]", line):
        return None
    return re.sub(r"[^A-Za-z0-9\-._~:/?#@!$&'*+,;=%]", lambda c: "".join(f"%{b:02X}" for b in c[0].encode()), line)


def json_text(document: Mapping[str, Any]) -> str:
    """A JSON document as text."""
    return writable(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)) + "\n"


def share_words(part: float, whole: float) -> str:
    """A part in percent of a whole, such as `12 %`; empty of no whole."""
    return f"{PERCENT * part / whole:.0f} %" if whole > 0 else ""
