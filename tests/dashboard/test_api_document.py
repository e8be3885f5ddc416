"""The API against its own document."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lowcarb.dashboard import openapi
from lowcarb.dashboard.api import ROUTES
from lowcarb.ledger.record import run_id_of

schemathesis = pytest.importorskip("schemathesis", reason="fuzzing the API needs schemathesis")

RUN = run_id_of("key 0")
OPERATIONS = [f"{route.method} {route.path}" for route in ROUTES]


def test_the_document_that_is_given_out_is_the_whole_one(client):
    assert client.get("/api/v1/openapi.json").json() == openapi.document()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_api_keeps_to_its_document_whatever_is_asked(make_client, operation):
    """Every answer has a status, a content type and a form that the document names, and none is a fault."""
    method, path = operation.split()
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", make_client(names=("testserver",)).app)
    checks = schemathesis.checks
    wanted = [
        checks.status_code_conformance, checks.content_type_conformance, checks.response_schema_conformance,
        checks.not_a_server_error,
    ]  # fmt: skip
    strategy = schema[f"/api/v1{path}"][method].as_strategy()

    @given(case=strategy, real=st.booleans())
    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def holds(case, real):
        if real and "run" in case.path_parameters:
            case.path_parameters["run"] = RUN
        answer = case.call()
        case.validate_response(answer, checks=wanted)

    holds()
