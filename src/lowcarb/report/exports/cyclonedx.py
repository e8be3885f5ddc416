"""CycloneDX 1.6 ML-BOM: the model as a component, with the energy [kWh] and carbon [t CO2e] of its training.

The serial number follows from the content, so the same account always makes the same document.
"""

from __future__ import annotations

import json
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from lowcarb.core.units import MEGA
from lowcarb.report.exports import forms, words
from lowcarb.report.exports.account import Account
from lowcarb.report.exports.trained import Quality

SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
SPEC_VERSION = "1.6"
ACTIVITIES = {"pre-training": "training", "fine-tuning": "fine-tuning"}


def render_cyclonedx(account: Account) -> str:
    """The bill of materials as JSON."""
    return words.json_text(cyclonedx_document(account))


def cyclonedx_document(account: Account) -> dict[str, Any]:
    """The bill of materials."""
    maker, _, version = words.MAKER.partition(" ")
    closed = forms.when(account)
    tool = {"type": "application", "name": maker} | ({"version": version} if version else {})
    metadata: dict[str, Any] = {"tools": {"components": [tool]}, "component": _component(account)}
    if closed is not None:
        metadata = {"timestamp": closed.strftime("%Y-%m-%dT%H:%M:%SZ")} | metadata
    body = {"version": 1, "metadata": metadata}
    serial = uuid5(NAMESPACE_URL, json.dumps(body, sort_keys=True))
    return {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "serialNumber": f"urn:uuid:{serial}",
        **body,
    }


def _component(account: Account) -> dict[str, Any]:
    return {
        "type": "machine-learning-model",
        "bom-ref": forms.text(f"lowcarb:{account.kind}:{account.id}"),
        "name": forms.text(account.title),
        "modelCard": {
            "modelParameters": _parameters(account),
            "quantitativeAnalysis": {"performanceMetrics": [_metric(one) for one in account.qualities]},
            "considerations": {"environmentalConsiderations": _environment(account)},
        },
    }


def _parameters(account: Account) -> dict[str, Any]:
    trained = account.trained
    fields: dict[str, Any] = {}
    if trained.tasks:
        fields["task"] = forms.text(", ".join(trained.tasks))
    if trained.models:
        fields["modelArchitecture"] = forms.text(", ".join(trained.models))
    if trained.datasets:
        fields["datasets"] = [{"type": "dataset", "name": forms.text(one)} for one in trained.datasets]
    return fields


def _metric(quality: Quality) -> dict[str, Any]:
    parts = [part for part in (quality.subject, quality.split) if part]
    metric: dict[str, Any] = {"type": forms.text(quality.metric), "value": f"{quality.mid:.6g}"}
    if quality.low is not None and quality.high is not None:
        if quality.trials > 1:
            # The span of a few seeds is no confidence interval.
            parts.append(f"mean; {quality.low:.6g} to {quality.high:.6g}, {quality.interval}")
        else:
            metric["confidenceInterval"] = {"lowerBound": f"{quality.low:.6g}", "upperBound": f"{quality.high:.6g}"}
    if parts:
        metric["slice"] = forms.text(", ".join(parts))
    return metric


def _environment(account: Account) -> dict[str, Any]:
    energy_j, location_g = forms.known_energy_j(account), account.location_g
    told = {
        "lowcarb:boundary": account.boundary,
        "lowcarb:measuredShare": forms.share(account),
        "lowcarb:measured": words.measured(account),
        "lowcarb:attempts": f"{words.attempts(account)}; failed and preliminary ones are in the figures",
    }
    told |= {f"lowcarb:note:{number}": note for number, note in enumerate(account.notes, 1)}
    if energy_j is None:
        return {"properties": _properties(told | {"lowcarb:energy": "not known"})}
    consumption: dict[str, Any] = {
        "activity": activity_of(account),
        # The form asks for suppliers of the electricity: nobody told lowcarb of any.
        "energyProviders": [],
        "activityEnergyCost": {"value": forms.kwh(energy_j), "unit": "kWh"},
    }
    told["lowcarb:energyInterval"] = forms.kilowatt_hours(energy_j)
    if location_g is not None:
        consumption["co2CostEquivalent"] = {"value": forms.tonnes(location_g), "unit": "tCO2eq"}
        interval_t = f"{location_g.low / MEGA:.4g} to {location_g.high / MEGA:.4g} tCO2eq, {location_g.basis}"
        told["lowcarb:carbonInterval"] = interval_t
        told["lowcarb:carbonBasis"] = f"of the electricity alone, location-based, PUE included; {words.where(account)}"
    return {"energyConsumptions": [consumption | {"properties": _properties(told)}]}


def activity_of(account: Account) -> str:
    """`training` or `fine-tuning`; `other` of a run of which nobody knows that it trained."""
    found = ACTIVITIES.get(account.trained.training_type or "")
    return found or ("training" if account.training is not None else "other")


def _properties(told: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": forms.text(value)} for name, value in told.items()]
