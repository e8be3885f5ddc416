"""SPDX 3.0.1, AI profile, as JSON-LD: the model as a package with the energy of its training [kWh].

Identifiers follow from the content, and the time is the account's, so the same account makes the same document.
The profile has no field for carbon, boundary or measured share: an annotation of the package says them.

To name a profile in `profileConformance` claims that every element keeps all its rules (SPDX 3.0.1,
ProfileIdentifierType). The AI profile's ask for facts that only the publisher knows, so it is not named, and the
document says what is missing.
"""

from __future__ import annotations

import json
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from lowcarb.errors import SettingError
from lowcarb.report.exports import forms, words
from lowcarb.report.exports.account import Account

CONTEXT = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
SPEC_VERSION = "3.0.1"
CREATION = "_:creation"
TIME = "%Y-%m-%dT%H:%M:%SZ"
MISSING = (
    "Classes of the AI profile are used, but its conformance is not claimed: that takes a concluded and a declared "
    "licence, a supplier, a version, a download location and a release time of the model, which its publisher adds."
)
ACTIVITIES = {"pre-training": "ai_trainingEnergyConsumption", "fine-tuning": "ai_finetuningEnergyConsumption"}


def render_spdx(account: Account) -> str:
    """The document as JSON-LD.

    Raises:
        SettingError: nobody knows when the account was made, which the format cannot do without.
    """
    return words.json_text(spdx_document(account))


def spdx_document(account: Account) -> dict[str, Any]:
    """The document.

    Raises:
        SettingError: nobody knows when the account was made, which the format cannot do without.
    """
    closed = forms.when(account)
    if closed is None:
        raise SettingError("spdx", account.title, "a run or study with at least one attempt")
    package, statement = _package(account), _statement(account)
    seed = json.dumps([account.kind, account.id, closed.isoformat(), package, statement], sort_keys=True)
    base = f"urn:uuid:{uuid5(NAMESPACE_URL, seed)}"
    names = {name: f"{base}#{name}" for name in ("agent", "tool", "document", "model", "boundary")}
    creation = {
        "type": "CreationInfo",
        "@id": CREATION,
        "specVersion": SPEC_VERSION,
        "created": closed.strftime(TIME),
        "createdBy": [names["agent"]],
        "createdUsing": [names["tool"]],
    }
    made = {"creationInfo": CREATION}
    return {
        "@context": CONTEXT,
        "@graph": [
            creation,
            {"type": "SoftwareAgent", "spdxId": names["agent"], **made, "name": words.MAKER},
            {"type": "Tool", "spdxId": names["tool"], **made, "name": words.MAKER},
            {
                "type": "SpdxDocument",
                "spdxId": names["document"],
                **made,
                "comment": MISSING,
                "profileConformance": ["core", "software"],
                "rootElement": [names["model"]],
                "element": [names["agent"], names["tool"], names["model"], names["boundary"]],
            },
            {"type": "ai_AIPackage", "spdxId": names["model"], **made, **package},
            {
                "type": "Annotation",
                "spdxId": names["boundary"],
                **made,
                "annotationType": "other",
                "contentType": "text/plain",
                "subject": names["model"],
                "statement": statement,
            },
        ],
    }


def _package(account: Account) -> dict[str, Any]:
    trained = account.trained
    package: dict[str, Any] = {
        "name": forms.text(account.title),
        "software_primaryPurpose": "model",
        "ai_informationAboutTraining": forms.text(f"{account.kind}: {words.attempts(account)}. {account.boundary}"),
    }
    built = forms.utc(account.ended_ns)
    if built is not None:
        package["builtTime"] = built.strftime(TIME)
    energy_j = forms.known_energy_j(account)
    if energy_j is not None:
        described = {
            "type": "ai_EnergyConsumptionDescription",
            "ai_energyQuantity": forms.kwh(energy_j),
            "ai_energyUnit": "kilowattHour",
        }
        field = ACTIVITIES.get(trained.training_type or "", "ai_trainingEnergyConsumption")
        package["ai_energyConsumption"] = {"type": "ai_EnergyConsumption", field: [described]}
    if trained.models:
        package["ai_typeOfModel"] = [forms.text(one) for one in trained.models]
    if trained.tasks:
        package["ai_domain"] = [forms.text(one) for one in trained.tasks]
    entries = {"epochs": trained.epochs, "batch": trained.batch, "precision": trained.precision}
    if known := [_entry(name, value) for name, value in entries.items() if value is not None]:
        package["ai_hyperparameter"] = known
    if account.qualities:
        package["ai_metric"] = [
            _entry(" ".join(filter(None, (one.name, one.subject))), words.score(one)) for one in account.qualities
        ]
    return package


def _entry(key: str, value: object) -> dict[str, Any]:
    said = f"{value:g}" if isinstance(value, float) else str(value)
    return {"type": "DictionaryEntry", "key": forms.text(key), "value": forms.text(said)}


def _statement(account: Account) -> str:
    energy_j, location_g = forms.known_energy_j(account), account.location_g
    parts = [
        f"Energy: {forms.kilowatt_hours(energy_j)}." if energy_j else "Energy: not known.",
        f"Boundary: {account.boundary}",
        f"Measured share: {forms.share(account)} ({words.measured(account)}).",
        f"Attempts: {words.attempts(account)}, failed ones included.",
    ]
    if location_g is not None:
        carbon = f"{location_g.low:.4g} to {location_g.high:.4g} g CO2e, mid {location_g.mid:.6g}, {location_g.basis}"
        parts.append(f"Carbon, location-based, PUE included: {carbon}; {words.where(account)}.")
    parts += [f"Note: {note}." for note in account.notes]
    return forms.text(" ".join(parts))
