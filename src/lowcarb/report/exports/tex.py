"""Text and figures in LaTeX, with nothing that it would take for a command. Plain ASCII but for letters of names."""

from __future__ import annotations

import re

from lowcarb.core.estimate import Estimate
from lowcarb.report.exports import words
from lowcarb.report.format import exactly, number, quantity

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"{\char34}", "`": r"{\char96}",
}  # fmt: skip
# What our own figures and sentences hold: units, dashes, thin spaces.
_OURS = {
    "\u202f": r"\,", "\u2007": "", "\u2008": "", "–": "--", "−": r"$-$", "×": r"$\times$", "µ": r"$\mu$", "₂": r"$_2$",
    "³": r"$^3$", "—": "---", "…": r"\ldots{}", "·": r"$\cdot$", "\u2019": "'",
}  # fmt: skip
# Two hyphens would be set as a dash, two apostrophes as a quotation mark.
_LIGATURE = re.compile(r"(?<=-)(?=-)|(?<=')(?=')|(?<=,)(?=,)")
_SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


def escaped(text: object, most: int = words.MOST_CHARACTERS) -> str:
    """A text that LaTeX sets as it is, on one line, in any encoding of its fonts."""
    plain_text = _LIGATURE.sub("{}", "".join(_SPECIAL.get(c, c) for c in words.one_line(text, most)))
    return "".join(_OURS.get(c, c) for c in plain_text)


def figure(estimate: Estimate | None, unit: str) -> str:
    """A figure with its interval and unit; a dash where it is not known."""
    return _units(quantity(estimate, unit))


def plain(value: float | None, unit: str = "") -> str:
    """A number without an interval."""
    return _units(quantity(exactly(value), unit)) if unit else _units(number(value))


def _units(text: str) -> str:
    """Our own number and unit in LaTeX."""
    head, cross, power = text.partition(" × 10")
    if cross:
        digits = power[: len(power) - len(power.lstrip("⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))]
        tail = power[len(digits) :]
        return f"{_units(head)}$\\times 10^{{{digits.translate(_SUPERSCRIPTS)}}}${_units(tail)}"
    return "".join({"%": r"\%"}.get(c) or _OURS.get(c, c) for c in text)
