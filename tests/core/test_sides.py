"""What speaks for a device and what against it."""

from __future__ import annotations

from dataclasses import replace

from lowcarb.core.estimate import Estimate
from lowcarb.core.hardware import Device
from lowcarb.core.sides import Choice, sides

DEVICE = Device(
    "new", "New", "gpu", {"bf16": 300e12, "fp32": 20e12}, price_per_hour=Estimate.exact(4.0, "catalogue"),
)  # fmt: skip
FIRST = Choice(DEVICE, 1, None, None, Estimate.exact(10.0, "catalogue"), Estimate.exact(100.0, "catalogue"), fits=True)


def test_a_device_beside_itself_has_neither_side():
    assert ((), ()) == (sides(FIRST, FIRST).benefits, sides(FIRST, FIRST).drawbacks)


def test_quicker_and_thriftier_but_dearer_to_rent_and_to_make():
    other = replace(
        FIRST,
        speed_ratio=Estimate(2.0, 3.0, 4.0, "modelled"), energy_ratio=Estimate(0.4, 0.5, 0.7, "modelled"),
        cost=Estimate.exact(25.0, "catalogue"), embodied_g=Estimate.exact(150.0, "catalogue"),
    )  # fmt: skip

    found = sides(other, FIRST)

    assert found.benefits == ("3× quicker", "2× less energy")
    assert found.drawbacks == ("2.5× dearer to rent", "1.5× more embodied carbon")


def test_a_ratio_that_may_be_one_is_not_named():
    other = replace(FIRST, energy_ratio=Estimate(0.8, 1.2, 1.8, "modelled"))

    assert ((), ()) == (sides(other, FIRST).benefits, sides(other, FIRST).drawbacks)


def test_what_is_unknown_or_missing_is_a_drawback():
    old = Choice(Device("old", "Old", "gpu", {"fp32": 9e12}), 1, None, None, None, None, fits=False)

    found = sides(old, FIRST)

    assert found.drawbacks == (
        "the job does not fit into its memory",
        "no price known: perhaps not for rent by the hour",
        "carbon of its making unknown",
        "no 16-bit arithmetic",
    )
