"""Both sides of a choice of hardware, as Liu & Yin 2024 weigh it: what a device gives and what it takes."""

from __future__ import annotations

from dataclasses import dataclass

from lowcarb.core.estimate import Estimate
from lowcarb.core.hardware import Device

WORTH_SAYING = 1.1
"""A known figure (rent, making) is named from this factor on."""
REDUCED = ("bf16", "fp16")


@dataclass(frozen=True, slots=True)
class Choice:
    """One device with what a job takes on it. Unknown is None."""

    device: Device
    count: int
    speed_ratio: Estimate | None
    """Speed over the first choice's; None for the first itself."""
    energy_ratio: Estimate | None
    """Energy over the first choice's."""
    cost: Estimate | None
    """Rent of the job [USD]."""
    embodied_g: Estimate | None
    """Its share of the making [gCO2e]."""
    fits: bool | None


@dataclass(frozen=True, slots=True)
class Sides:
    """What speaks for a device and what against it, each in a few words."""

    benefits: tuple[str, ...]
    drawbacks: tuple[str, ...]


def sides(choice: Choice, first: Choice) -> Sides:
    """Both sides of a choice beside the first one.

    A modelled ratio is named only where its interval leaves out 1: nobody should choose hardware on noise.
    """
    said = [
        _ratio(choice.speed_ratio, "quicker", "slower", higher_is_better=True),
        _ratio(choice.energy_ratio, "less energy", "more energy", higher_is_better=False),
        _known(choice.cost, first.cost, "cheaper to rent", "dearer to rent", choice is first),
        _known(choice.embodied_g, first.embodied_g, "less embodied carbon", "more embodied carbon", choice is first),
    ]
    benefits = tuple(words for good, words in said if good and words)
    drawbacks = [words for good, words in said if not good and words]
    if choice.fits is False:
        drawbacks.append("the job does not fit into its memory")
    if choice.device.price_per_hour is None:
        drawbacks.append("no price known: perhaps not for rent by the hour")
    if choice.embodied_g is None:
        drawbacks.append("carbon of its making unknown")
    if not any(choice.device.peak_for(precision) for precision in REDUCED):
        drawbacks.append("no 16-bit arithmetic")
    elif choice.device.peak_for("bf16") is None:
        drawbacks.append("no bf16: fp16 needs loss scaling")
    return Sides(benefits, tuple(drawbacks))


def _ratio(ratio: Estimate | None, more: str, less: str, *, higher_is_better: bool) -> tuple[bool, str]:
    """Whether a ratio speaks for a choice, and in which words; no words where it is not sure."""
    if ratio is None or ratio.low <= 1.0 <= ratio.high:
        return True, ""
    above = ratio.low > 1.0
    good = above == higher_is_better
    factor = ratio.mid if above else 1.0 / ratio.mid
    return good, f"{factor:.2g}× {more if good else less}"


def _known(figure: Estimate | None, first: Estimate | None, less: str, more: str, same: bool) -> tuple[bool, str]:  # noqa: FBT001
    """The same for two known figures of which less is better."""
    if figure is None or first is None or same or not first.mid > 0 or not figure.mid > 0:
        return True, ""
    ratio = figure.mid / first.mid
    if 1.0 / WORTH_SAYING < ratio < WORTH_SAYING:
        return True, ""
    good = ratio < 1.0
    return good, f"{1.0 / ratio if good else ratio:.2g}× {less if good else more}"
