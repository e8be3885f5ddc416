"""The JSON API under /api/v1. Each route stands in `ROUTES` with its parameters: the document is made from the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from lowcarb.dashboard import parameters as p
from lowcarb.dashboard.answers import as_json, download
from lowcarb.dashboard.facts import (
    attempt_dict,
    comparison,
    elsewhere,
    live_dict,
    row_dict,
    run_dict,
    sum_dict,
    tags_of,
)
from lowcarb.dashboard.problems import Problem
from lowcarb.dashboard.setup import run_of, setup_of
from lowcarb.ledger.query import Query
from lowcarb.report.exports import EXPORTS, account_of

MOST_BODY = 65_536
MOST_TAG, MOST_VALUE = 200, 1_000
MOST_TAGS = 50
Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Route:
    """One thing that can be asked."""

    path: str
    summary: str
    answer: Callable[[Request, Values], Response]
    parameters: tuple[p.Parameter, ...] = ()
    schema: str = "Anything"
    method: str = "GET"
    downloads: bool = False


def live(request: Request, values: Values) -> Response:
    """Runs at work on this machine."""
    del values
    return as_json({"live": [live_dict(one) for one in setup_of(request).live.now()]})


def runs(request: Request, values: Values) -> Response:
    """A page of runs."""
    setup = setup_of(request)
    setup.live.look()
    page = setup.ledger.page(p.query_of(values), limit=values["limit"], after=values["after"])
    return as_json({"runs": [row_dict(row) for row in page.rows], "next": page.next})


def run(request: Request, values: Values) -> Response:
    """A run in full."""
    setup = setup_of(request)
    setup.live.look()
    found = run_of(setup, values["run"])
    attempts = [attempt_dict(one) for one in setup.ledger.attempts(found.id)]
    return as_json({**run_dict(found), "tags": tags_of(setup.ledger, found), "attempts": attempts})


def change_tags(request: Request, values: Values) -> Response:
    """Set and remove tags."""
    setup = setup_of(request)
    found = run_of(setup, values["run"])
    return as_json({"tags": dict(setup.ledger.tag(found.id, checked_tags(values["body"])))})


def checked_tags(said: object) -> dict[str, str | None]:
    """Tags by name, None for one that is to go.

    Raises:
        Problem: they are none.
    """
    if not isinstance(said, dict) or len(said) > MOST_TAGS:
        raise Problem(422, f"expected an object of at most {MOST_TAGS} names with values", "tags")
    for name, value in said.items():
        if not 0 < len(name) <= MOST_TAG or "=" in name:
            raise Problem(422, f"a tag's name has 1 to {MOST_TAG} characters, and no =", "tags")
        if value is not None and (not isinstance(value, str) or len(value) > MOST_VALUE):
            raise Problem(422, f"a tag's value is text of at most {MOST_VALUE} characters, or null", "tags")
    return said


def what_if(request: Request, values: Values) -> Response:
    """A run elsewhere."""
    setup = setup_of(request)
    found = run_of(setup, values["run"])
    return as_json(elsewhere(setup.ledger, found, setup.catalogue, values["site"], values["device"]))


def export(request: Request, values: Values) -> Response:
    """A run in a form that others ask for."""
    found = run_of(setup_of(request), values["run"])
    return exported(request, found.id, found.name, values["export"], values["at"])


def study_export(request: Request, values: Values) -> Response:
    """A study in a form that others ask for."""
    return exported(request, values["id"], values["id"], values["export"], values["at"])


def exported(request: Request, subject: str, name: str, id_: str, at: str | None) -> Response:
    """A run or a study as a file.

    Raises:
        Problem: there is no such form.
    """
    setup = setup_of(request)
    form = EXPORTS.get(id_)
    if form is None:
        raise Problem(404, f"there is no export {id_}; there are {', '.join(EXPORTS)}", "export")
    account = account_of(setup.ledger, subject, setup.catalogue, setup.place(at))
    return download(form.render(account), f"{name[:60]} {form.id}", form.suffix, form.media_type)


def compare(request: Request, values: Values) -> Response:
    """Runs side by side."""
    setup = setup_of(request)
    return as_json({"runs": comparison(setup.ledger, [run_of(setup, one) for one in values["run"]])})


def studies(request: Request, values: Values) -> Response:
    """All studies."""
    del values
    found = setup_of(request).ledger.sums(Query(kind="trial"), "study")
    return as_json({"studies": [sum_dict(one) for one in found if one.key]})


def totals(request: Request, values: Values) -> Response:
    """What groups of runs took."""
    found = setup_of(request).ledger.sums(p.query_of(values), values["by"])
    return as_json({"by": values["by"], "totals": [sum_dict(one) for one in found]})


EXPORT = replace(p.EXPORT, schema={"type": "string", "enum": list(EXPORTS)})
ROUTES = (
    Route("/live", "Runs at work on this machine: power, energy, carbon, when they end, budget", live, (), "Live"),
    Route("/runs", "A page of runs, newest or largest first", runs, (*p.FILTERS, p.ORDER, p.LIMIT, p.AFTER), "Runs"),
    Route("/runs/{run}", "A run with its tags, attempts and their documents", run, (p.RUN,), "Run"),
    Route("/runs/{run}/tags", "Set tags, and remove those that are null", change_tags, (p.RUN,), "Tags", "PATCH"),
    Route("/runs/{run}/what-if", "A run at other sites and on other devices", what_if, (p.RUN, p.SITES, p.DEVICES),
          "WhatIf"),
    Route("/runs/{run}/exports/{export}", "A run in a form that others ask for", export, (p.RUN, EXPORT, p.PRICED_AT),
          downloads=True),
    Route("/compare", "Runs side by side, with ratios to the first", compare, (p.RUNS,), "Comparison"),
    Route("/studies", "All studies with what their trials took", studies, (), "Studies"),
    Route("/study/exports/{export}", "A study in a form that others ask for", study_export,
          (EXPORT, p.STUDY_ID, p.PRICED_AT), downloads=True),
    Route("/totals", "What runs took by month, study, site, status, kind or tag", totals, (*p.FILTERS, p.BY), "Totals"),
)  # fmt: skip


async def body_of(request: Request, most: int = MOST_BODY) -> bytes:
    """What a request brings.

    Raises:
        Problem: it is too much.
    """
    found = b""
    async for part in request.stream():
        found += part
        if len(found) > most:
            raise Problem(413, f"at most {most} bytes can be sent")
    return found


async def json_of(request: Request) -> object:
    """The JSON that a request brings.

    Raises:
        Problem: it is none.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Problem(415, "send application/json")
    try:
        return json.loads(await body_of(request))
    except (ValueError, RecursionError):
        raise Problem(400, "the content is no JSON") from None
