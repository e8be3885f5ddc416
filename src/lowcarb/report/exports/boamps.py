"""BoAmps 1.1.0 (Boavizta, CC BY 4.0): the energy report of a task. `powerConsumption` is in kWh by its schema.

Times are `YYYY-MM-DD HH:MM:SS` in UTC, and parameters are counted in billions.
"""

from __future__ import annotations

from typing import Any
from uuid import NAMESPACE_URL, uuid5

from lowcarb.core.estimate import Estimate
from lowcarb.core.units import BYTES_PER_GB, GIGA
from lowcarb.errors import SettingError
from lowcarb.report.exports import forms, words
from lowcarb.report.exports.account import Account
from lowcarb.report.exports.tallies import DeviceUse
from lowcarb.report.exports.trained import Quality

VERSION = "1.1.0"
SPECIFICATION = "https://github.com/Boavizta/BoAmps/tree/main/model"
TIME = "%Y-%m-%d %H:%M:%S"
QUALITIES = (("high", 0.10), ("medium", 0.25), ("low", 0.50))
"""The report's quality, by the greatest relative error of its figures."""
STAGES = {"pre-training": "training", "fine-tuning": "finetuning"}
ACCELERATORS = ("gpu", "tpu", "npu")


def render_boamps(account: Account) -> str:
    """The report as JSON.

    Raises:
        SettingError: no energy or no device is known, which the format cannot do without.
    """
    return words.json_text(boamps_document(account))


def boamps_document(account: Account) -> dict[str, Any]:
    """The report.

    Raises:
        SettingError: no energy or no device is known, which the format cannot do without.
    """
    energy_j = forms.known_energy_j(account)
    if energy_j is None:
        raise SettingError("boamps", account.title, "a run or study of which the energy is known")
    if not account.devices:
        raise SettingError("boamps", account.title, "a run or study of which the machine is known")
    return _known(
        {
            "header": _header(account),
            "task": _task(account),
            "measures": [_measure(account, energy_j)],
            "software": _known({"language": "python", "version": account.software.get("python")}),
            "infrastructure": _infrastructure(account),
            "environment": _environment(account),
            "quality": quality_of(energy_j),
        }
    )


def quality_of(energy_j: Estimate) -> str | None:
    """`high`, `medium` or `low`, by the farther bound of the interval; None of a wider one, which has no word here."""
    if not energy_j.mid > 0.0:
        return None
    error = max(energy_j.high - energy_j.mid, energy_j.mid - energy_j.low) / energy_j.mid
    return next((word for word, most in QUALITIES if error <= most + 1e-12), None)


def _header(account: Account) -> dict[str, Any] | None:
    closed = forms.when(account)
    if closed is None:
        return None
    return {
        "formatVersion": VERSION,
        "formatVersionSpecificationUri": SPECIFICATION,
        # The format prefers a UUID; this one follows from what is reported and when it ended.
        "reportId": str(uuid5(NAMESPACE_URL, f"lowcarb:{account.kind}:{forms.text(account.id)}:{closed.isoformat()}")),
        "reportDatetime": closed.strftime(TIME),
        # Whoever publishes it decides that it is final, and who may read it.
        "reportStatus": "draft",
    }


def _task(account: Account) -> dict[str, Any]:
    trained = account.trained
    # The report has one accuracy: of several models there is none to give.
    alone = len({one.subject for one in trained.qualities}) == 1
    quality = next((one for one in trained.qualities if alone and _accuracy(one) is not None), None)
    described = (
        f"{account.kind} {account.title!r} ({account.id}): attempts {words.attempts(account)}, failed and preliminary "
        f"ones included. Boundary: {account.boundary} Measured share: {forms.share(account)} "
        f"({words.measured(account)})."
    )
    described += "".join(f" Note: {note}." for note in account.notes)
    return _known(
        {
            "taskStage": _stage(account),
            "taskFamily": forms.text(", ".join(trained.tasks)) or "not known",
            "algorithms": _algorithms(account),
            "dataset": _datasets(account),
            "measuredAccuracy": _accuracy(quality) if quality else None,
            "taskDescription": forms.text(described),
        }
    )


def _stage(account: Account) -> str:
    """The stage in the format's words; several are joined by a plus sign, as it asks."""
    trained = account.trained
    if trained.training_type is not None:
        return STAGES[trained.training_type]
    if "scratch" in trained.model_sources:
        return "training+finetuning"
    return "training" if account.training is not None or trained.tokens else "not known"


def _accuracy(quality: Quality) -> float | None:
    """A score as a share of the best; None of one that is no accuracy."""
    if quality.metric != "em" or quality.best is None:
        return None
    return min(1.0, max(0.0, quality.mid / quality.best))


def _algorithms(account: Account) -> list[dict[str, Any]]:
    trained = account.trained
    name, _, version = (trained.framework or "").partition(" ")
    shared = {
        "trainingType": "transferLearning" if trained.training_type == "fine-tuning" else None,
        "parametersNumber": None if trained.parameters is None else trained.parameters / GIGA,
        "framework": forms.text(name) or None,
        "frameworkVersion": forms.text(version) or None,
        "layersNumber": trained.layers,
        "epochsNumber": trained.epochs,
        "quantization": forms.text(trained.precision) if trained.precision else None,
    }
    field = "foundationModelName" if trained.training_type == "fine-tuning" else "algorithmName"
    return [_known({field: forms.text(one), **shared}) for one in trained.models] or [_known(shared)]


def _datasets(account: Account) -> list[dict[str, Any]]:
    tokens = {"dataUsage": "input", "dataType": "token", "dataQuantity": account.trained.tokens}
    return [_known(tokens)] + [
        {"dataUsage": "input", "dataType": "text", "sourceUri": forms.text(one)} for one in account.trained.datasets
    ]


def _measure(account: Account, energy_j: Estimate) -> dict[str, Any]:
    began, whole = forms.utc(account.began_ns), account.whole
    maker, _, version = words.MAKER.partition(" ")
    return _known(
        {
            "measurementMethod": f"{maker}; {forms.kilowatt_hours(energy_j)}; measured share {forms.share(account)}",
            "version": version or None,
            "cpuTrackingMode": _sensors(account, ("cpu",)),
            "gpuTrackingMode": _sensors(account, ACCELERATORS),
            "powerConsumption": forms.kwh(energy_j),
            "measurementDuration": whole.duration_s.mid if whole else None,
            "measurementDateTime": began.strftime(TIME) if began else None,
        }
    )


def _sensors(account: Account, kinds: tuple[str, ...]) -> str | None:
    names = [sensor for one in account.drawn if one.kind in kinds for sensor in one.sensors]
    return ", ".join(dict.fromkeys(names)) or None


def _infrastructure(account: Account) -> dict[str, Any]:
    place = account.place
    cloud = place is not None and place.cloud
    return _known(
        {
            "infraType": "publicCloud" if cloud else "other",
            "cloudProvider": place.provider if place and cloud else None,
            "components": [*(_component(one) for one in account.devices), *_memory(account)],
        }
    )


def _component(device: DeviceUse) -> dict[str, Any]:
    # The format asks for a processor's memory as a component of its own.
    memory_bytes = None if device.kind == "cpu" else device.memory_bytes
    return _known(
        {
            "componentName": forms.text(device.name),
            "componentType": device.kind,
            # Whole pieces; of a part of one, as a virtual machine has, the share tells.
            "nbComponent": max(1, round(device.count)),
            "memorySize": round(memory_bytes / BYTES_PER_GB) if memory_bytes else None,
            "share": device.count if 0.0 < device.count < 1.0 else None,
        }
    )


def _memory(account: Account) -> list[dict[str, Any]]:
    """The memory of the machine, all of it as one component, in whole GB."""
    machine = account.machine
    if machine is None or not machine.memory_bytes:
        return []
    return [{"componentType": "ram", "nbComponent": 1, "memorySize": round(machine.memory_bytes / BYTES_PER_GB)}]


def _environment(account: Account) -> dict[str, Any] | None:
    place, site = account.place, account.site
    if place is None or place.country is None or site is None:
        return None
    return _known(
        {
            "country": place.country,
            "location": place.region,
            "powerSourceCarbonIntensity": site.intensity_g_per_kwh.mid,
        }
    )


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    """What is known: a field that is not stays out."""
    return {name: value for name, value in fields.items() if value is not None}
