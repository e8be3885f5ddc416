"""Limits on GPUs that the levers of a trial ask for: what a runner is given, so that it need not know NVML.

TorchRunner(limits=trial_limits)
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from lowcarb.core.levers import parse_pulled
from lowcarb.errors import SensorUnavailable
from lowcarb.integrations.limit_cards import begun, shown
from lowcarb.integrations.limits import gpu_limits

ASKED_BY: Mapping[str, str] = {"power-cap": "share", "clock-lock": "clock_share"}
"""By lever, the limit that its `share` is of."""


@contextmanager
def trial_limits(levers: Sequence[str], home_path: Path | None = None) -> Iterator[None]:
    """Within the block, the limits that these levers ask for are in force; any other lever asks for none.

    Args:
        levers: as they are written in a trial, such as `power-cap=0.7`.
        home_path: as for `gpu_limits`.

    Raises:
        SettingError: a share outside what a GPU allows, or another run limits it.
        SensorUnavailable: no NVML, no such GPU, or a refusal, with what an administrator types. Nothing trains then.
    """
    pulled = [one for one in map(parse_pulled, levers) if one.lever in ASKED_BY]
    if not pulled:
        yield
        return
    shares = {ASKED_BY[one.lever]: float(str(dict(one.settings)["share"])) for one in pulled}
    with gpu_limits(**shares, home_path=home_path):  # type: ignore[arg-type]  # the names of shares alone
        yield


def may_limit(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the driver lets this user limit every GPU of this process.

    There is no way to ask, so the power limits that are in force are set once more: nothing changes by it.
    """
    try:
        with begun() as nvml:
            try:
                for _, handle in shown(nvml, environ):
                    now_mw = nvml.nvmlDeviceGetPowerManagementLimit(handle)
                    nvml.nvmlDeviceSetPowerManagementLimit(handle, now_mw)
            except nvml.NVMLError:
                return False
    except SensorUnavailable:
        return False
    return True
