"""Levers that leave the training as it is: the device's settings, another device, another place, another hour."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lowcarb.core.levers.base import Able, Claim, Lever, assumed, within
from lowcarb.core.trial import Trial

NO_CHANGE = assumed(0.0, 0.0, 0.0)
"""Of quality: not one number of the training changes."""


def _same(trial: Trial, settings: Mapping[str, Any]) -> Trial:
    del settings
    return trial


def _capped(name: str, setting: str) -> Callable[[Trial, Mapping[str, Any]], Trial]:
    def change(trial: Trial, settings: Mapping[str, Any]) -> Trial:
        within(name, setting, settings[setting], 0.1, 1.0, "a share of the default limit, 0.1 to 1")
        return trial

    return change


def _permitted(able: Able) -> str | None:
    return None if able.power_limit else "power limit and clocks may not be set here, or nothing here sets them"


def _elsewhere(reason: str) -> Callable[[Trial], str | None]:
    """A refusal that does not depend on the trial."""

    def unfit(trial: Trial) -> str:
        del trial
        return reason

    return unfit


PLACE_LEVERS: tuple[Lever, ...] = (
    Lever(
        "workers", "Load data in processes of their own", _same, {"count": (2, 4, 8)}, (),
        Claim(assumed(0.7, 1.0, 1.1), NO_CHANGE, "nothing measured: it helps only where the device waits for data"),
        ("the device does not wait for data",),
        ("each worker takes memory, and energy of its own",),
        exact=True, tried=False, kind="hardware", needs=("a training that waits for its data",),
        unfit=_elsewhere("a study's trials hold their questions in memory and wait for no data; on a training of "
                         "your own it is dataloader_num_workers"),
    ),
    Lever(
        "power-cap", "Limit the power of the GPU", _capped("power-cap", "share"), {"share": (0.7, 0.8, 0.6)},
        ("clock-lock",),
        Claim(assumed(0.7, 0.87, 1.05), NO_CHANGE,
              "published: 15 % less energy at little more time, training a BERT-like model on a capped GPU",
              ("arXiv:2205.09646", "arXiv:2208.06102")),
        ("the last watts buy the least speed",),
        ("takes longer, so idle host power counts longer", "often needs rights; restored when the run ends"),
        exact=True, gpu_only=True, tried=False, kind="hardware", needs=("a GPU whose power limit may be set",),
        unable=_permitted,
    ),
    Lever(
        "clock-lock", "Lock the clocks of the GPU below their maximum", _capped("clock-lock", "share"),
        {"share": (0.8, 0.7, 0.9)}, ("power-cap",),
        Claim(assumed(0.7, 0.9, 1.1), NO_CHANGE, "nothing measured here: taken to be like a power cap"),
        ("voltage falls with the clock, and steady clocks make runs comparable",),
        ("takes longer", "often needs rights; restored when the run ends"),
        exact=True, gpu_only=True, tried=False, kind="hardware", needs=("a GPU whose clocks may be locked",),
        unable=_permitted,
    ),
    Lever(
        "other-device", "Train on another device", _same, {"device": ("t4",)}, (),
        Claim(assumed(0.2, 1.0, 4.0), NO_CHANGE,
              "depends on the pair and on how busy the job keeps it: `lowcarb forecast` says for yours"),
        ("newer devices do more per joule where the job fills them",),
        ("a small job leaves a large device idle and costs more there", "making the device counts too"),
        exact=True, kind="hardware", needs=("another device",),
        unfit=_elsewhere("a trial runs on the machine that it is on; `devices:` in a study file projects it onto "
                         "others, `lowcarb forecast --device A --device B` compares them"),
    ),
    Lever(
        "greener-site", "Train where electricity is cleaner", _same, {"site": ("fra",)}, (),
        Claim(assumed(1.0, 1.0, 1.0), NO_CHANGE, "the energy is the same; carbon goes with the grid's intensity"),
        ("the largest saving there is in carbon: grids differ more than tenfold",),
        ("data must move, and may not be allowed to", "saves carbon, not energy"),
        exact=True, kind="place", needs=("a choice of places",),
        unfit=_elsewhere("all arms of a study are priced at one site, or they would differ by place; "
                         "`lowcarb study show --site ID` prices it anew, `lowcarb forecast --site A --site B` "
                         "compares them"),
    ),
    Lever(
        "greener-hour", "Train when electricity is cleaner", _same, {"hours": (24, 48)}, (),
        Claim(assumed(1.0, 1.0, 1.0), NO_CHANGE, "the energy is the same; carbon goes with the hour's intensity"),
        ("costs nothing but waiting",),
        ("results come later; what is saved depends on the grid", "saves carbon, not energy"),
        exact=True, kind="place", needs=("a job that can wait",),
        unfit=_elsewhere("a trial has no hour: a study is priced at one intensity"),
    ),
)  # fmt: skip
