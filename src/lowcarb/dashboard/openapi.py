"""The API's OpenAPI 3.1 document, made from the routes and their parameters."""

from __future__ import annotations

from typing import Any

from lowcarb import __version__
from lowcarb.dashboard.answers import API
from lowcarb.dashboard.api import MOST_TAG, MOST_TAGS, MOST_VALUE, ROUTES, Route
from lowcarb.dashboard.parameters import RUN_ID, STATUSES
from lowcarb.dashboard.problems import MEDIA_TYPE, TITLES
from lowcarb.report.exports import EXPORTS

JSON = "application/json"


def _maybe(kind: str) -> dict[str, Any]:
    return {"type": [kind, "null"]}


def _object(required: dict[str, Any], *, more: bool = False) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": required, "additionalProperties": more}


def _list(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


TEXT, WHOLE, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}
TAGS = {"type": "object", "additionalProperties": TEXT}
BASE = {
    "id": {"type": "string", "pattern": f"^{RUN_ID.pattern}$"}, "key": TEXT, "kind": TEXT, "name": TEXT,
    "study": _maybe("string"), "created_ns": {**WHOLE, "description": "UTC [ns]"},
}  # fmt: skip
STATUS = {"type": "string", "enum": list(STATUSES)}
SPENT = {"energy_j": _maybe("number"), "operational_g": _maybe("number")}
SUM = _object({"key": TEXT, "runs": WHOLE, "energy_j": NUMBER, "operational_g": NUMBER, "unknown": WHOLE})
MAYBE_ESTIMATE = {"anyOf": [_ref("Estimate"), {"type": "null"}]}
SCHEMAS: dict[str, Any] = {
    "Estimate": _object({
        "low": NUMBER, "mid": NUMBER, "high": NUMBER,
        "basis": {"type": "string", "enum": ["measured", "modelled", "catalogue", "assumed"]},
    }),
    "Problem": _object({"type": TEXT, "title": TEXT, "status": WHOLE, "detail": TEXT}, more=True),
    "Runs": _object({
        "runs": _list(_object({
            **BASE, "attempts": WHOLE, "status": STATUS, "started_ns": WHOLE, "ended_ns": _maybe("integer"), **SPENT,
            "site": _maybe("string"), "tags": TAGS,
        })),
        "next": _maybe("string"),
    }),
    "Run": _object({
        **BASE, "tags": TAGS,
        "attempts": _list(_object({
            "id": TEXT, "number": WHOLE, "status": STATUS, "started_ns": WHOLE, "ended_ns": _maybe("integer"), **SPENT,
            "document": {"type": "object"},
        })),
    }),
    "Tags": _object({"tags": TAGS}),
    "TagChanges": {
        "type": "object", "maxProperties": MOST_TAGS,
        "propertyNames": {"pattern": "^[^=]+$", "minLength": 1, "maxLength": MOST_TAG},
        "additionalProperties": {"type": ["string", "null"], "maxLength": MOST_VALUE},
    },
    "Live": _object({"live": _list({"type": "object", "required": ["attempt", "run", "power_w", "footprint"]})}),
    "WhatIf": _object({
        "run": TEXT, "energy_j": _ref("Estimate"), "operational_g": _ref("Estimate"), "site": TEXT,
        "site_name": TEXT,
        "sites": _list(_object({"site": TEXT, "operational_g": _ref("Estimate"), "ratio": MAYBE_ESTIMATE}, more=True)),
        "devices": _list(_object({"device": TEXT, "name": TEXT}, more=True)),
    }),
    "Comparison": _object({
        "runs": _list(_object({
            **BASE, "energy_ratio": MAYBE_ESTIMATE, "carbon_ratio": MAYBE_ESTIMATE, "time_ratio": MAYBE_ESTIMATE,
        }, more=True)),
    }),
    "Studies": _object({"studies": _list(SUM)}),
    "Totals": _object({"by": TEXT, "totals": _list(SUM)}),
}  # fmt: skip


def document() -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(API + route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "lowcarb dashboard", "version": __version__,
            "description": "Runs of a ledger and what they cost. SI units, as the fields' names say; UTC.",
        },
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }  # fmt: skip


def _operation(route: Route) -> dict[str, Any]:
    if route.downloads:
        kinds = {JSON} | {one.media_type for one in EXPORTS.values()}
        good: dict[str, Any] = {kind: {} for kind in sorted(kinds)}
    else:
        good = {JSON: {"schema": _ref(route.schema)}}
    statuses = [400, 401, 403, 404, 422, 503, *((413, 415) if route.method == "PATCH" else ())]
    problem = {"content": {MEDIA_TYPE: {"schema": _ref("Problem")}}}
    operation: dict[str, Any] = {
        "operationId": route.answer.__name__,
        "summary": route.summary,
        "parameters": [one.document() for one in route.parameters],
        "responses": {
            "200": {"description": route.summary, "content": good},
            **{str(status): {"description": TITLES[status], **problem} for status in statuses},
        },
    }
    if route.method == "PATCH":
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": _ref("TagChanges")}}}
    return operation
