"""Documents against the schemas in `schemas/`; its README says where each is from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "schemas"
SCHEMAS = ("boamps", "cyclonedx", "spdx")


def _read(pattern):
    return {path.name: json.loads(path.read_text()) for path in HERE.glob(pattern)}


def validate(name, document):
    """Raise `jsonschema.ValidationError` where the published schema refuses the document."""
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    referencing = pytest.importorskip("referencing", reason="referencing is not installed")
    resource = referencing.Resource.from_contents
    if name == "boamps":
        files = _read("boamps-*.json")
        registry = referencing.Registry().with_resources([(one["id"], resource(one)) for one in files.values()])
        jsonschema.Draft4Validator(files["boamps-report.schema.json"], registry=registry).validate(document)
    elif name == "cyclonedx":
        files = _read("cdx-*.json")
        # This copy refers to its neighbours by the names that they have in the package it came from.
        base = "http://cyclonedx.org/schema/"
        beside = [(f"{base}{one}.SNAPSHOT.schema.json", resource(files[f"cdx-{one}.schema.json"]))
                  for one in ("spdx", "jsf-0.82")]  # fmt: skip
        own = [(one["$id"], resource(one)) for one in files.values()]
        registry = referencing.Registry().with_resources([*own, *beside])
        jsonschema.Draft7Validator(files["cdx-bom-1.6.schema.json"], registry=registry).validate(document)
    else:
        schema = json.loads((HERE / "spdx-3.0.1.schema.json").read_text())
        jsonschema.Draft202012Validator(schema).validate(document)
