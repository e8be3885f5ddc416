"""The pages that people look at. Each works without a script, and loads nothing from elsewhere."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from lowcarb.dashboard import api
from lowcarb.dashboard import parameters as p
from lowcarb.dashboard.answers import as_json, download, page
from lowcarb.dashboard.charts import power_chart, sums_chart
from lowcarb.dashboard.facts import attempt_dict, comparison, elsewhere, row_dict, tags_of
from lowcarb.dashboard.live import Live
from lowcarb.dashboard.live_words import fields, live_words
from lowcarb.dashboard.problems import Problem
from lowcarb.dashboard.render import link, named
from lowcarb.dashboard.setup import Setup, run_of, setup_of
from lowcarb.ledger.base import Ledger
from lowcarb.ledger.query import Query
from lowcarb.report.csv import defused
from lowcarb.report.exports import EXPORTS
from lowcarb.report.facts import decisive
from lowcarb.report.foretold import told_words
from lowcarb.report.html import render_html
from lowcarb.report.records import read_study
from lowcarb.report.run import render_run_html, run_document
from lowcarb.report.run_page import told_of_run
from lowcarb.report.study import study_document

Values = Mapping[str, Any]
AWAY_LIMIT = 10
"""Runs at work elsewhere that are shown."""
MOST_STUDIES = 500
MOST_GROUPS = 400
COLUMNS = (
    "id", "name", "kind", "study", "status", "site", "attempts", "created_ns", "started_ns", "ended_ns", "energy_j",
    "operational_g",
)  # fmt: skip
"""Of a list as CSV."""
LISTS = {"csv": "text/csv", "jsonl": "application/x-ndjson"}


@dataclass(frozen=True, slots=True)
class PageRoute:
    """A page, or a form's target."""

    path: str
    answer: Callable[[Request, Values], Response]
    parameters: tuple[p.Parameter, ...] = ()
    method: str = "GET"


def home(request: Request, values: Values) -> Response:
    """Runs at work, and a page of all runs."""
    setup = setup_of(request)
    query = p.query_of(values)
    live = setup.live.now()
    found = setup.ledger.page(query, limit=values["limit"], after=values["after"])
    asked = {name: value for name, value in p.pairs_of(request) if value and name not in ("after", "tag")}
    tags = [f"{name}={value}" for name, value in values["tag"]]
    return page(
        "home.html.j2", here="runs", live=[live_words(one) for one in live],
        away=_away(setup, live), rows=[row_dict(row) for row in found.rows], asked=asked, tags=tags,
        kinds=p.KINDS, statuses=p.STATUSES, orders=p.ORDERS,
        following=link("/", {**asked, "tag": tags, "after": found.next}) if found.next else None,
        first=link("/", {**asked, "tag": tags}) if values["after"] else None,
        lists=[(kind, link(f"/runs.{kind}", {**_filters(asked), "tag": tags})) for kind in LISTS],
    )  # fmt: skip


def _filters(asked: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in asked.items() if name not in ("limit", "order")}


def _away(setup: Setup, live: Sequence[Live]) -> list[dict[str, Any]]:
    """Runs at work whose journals are not here."""
    here = {one.run_id for one in live}
    found = setup.ledger.page(Query(status="running"), limit=AWAY_LIMIT)
    return [row_dict(row) for row in found.rows if row.run.id not in here]


def live_json(request: Request, values: Values) -> Response:
    """What the page's script asks for every few seconds."""
    del values
    return as_json({"live": [fields(live_words(one)) for one in setup_of(request).live.now()], "now_s": time.time()})


def run(request: Request, values: Values) -> Response:
    """One run in full."""
    setup = setup_of(request)
    found = run_of(setup, values["run"])
    live = setup.live.of(found.id)
    booked = setup.ledger.attempts(found.id)
    chosen = decisive(booked)
    document: Mapping[str, Any] = chosen.document if chosen else {}
    traces = live.power if live else document.get("power") or ()
    foretold = (document.get("notes") or {}).get("forecast")
    whole = run_document(setup.ledger, found, setup.catalogue) if foretold or len(booked) > 1 else None
    together = whole["totals"] if whole and len(booked) > 1 else None
    return page(
        "run.html.j2", here="runs", run=found, attempts=[attempt_dict(one) for one in booked],
        live=live_words(live) if live else None, tags=tags_of(setup.ledger, found),
        form_key=form_key(setup, found.id), exports=EXPORTS.values(), document=document,
        chart=power_chart(found.name, traces), number=chosen.number if chosen else None, together=together,
        told=told_words(told_of_run(whole)) if whole and not live else (),
    )  # fmt: skip


def run_report(request: Request, values: Values) -> Response:
    """The report of a run as it is handed on."""
    setup = setup_of(request)
    found = run_of(setup, values["run"])
    return closed_up(render_run_html(run_document(setup.ledger, found, setup.catalogue, setup.place(values["at"]))))


def form_key(setup: Setup, about: str) -> str:
    """What a form about something holds."""
    return hmac.new(setup.access.form_key.encode(), about.encode(), hashlib.sha256).hexdigest()


def tags(request: Request, values: Values) -> Response:
    """Set or remove a tag by a form."""
    setup = setup_of(request)
    found = run_of(setup, values["run"])
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise Problem(415, "send the form of the run's page")
    try:
        text = values["body"].decode("ascii")
        said = dict(parse_qsl(text, keep_blank_values=True, errors="surrogatepass", max_num_fields=10))
    except ValueError:
        raise Problem(400, "the form cannot be read") from None
    if not hmac.compare_digest(said.get("key", "").encode("utf-8", "replace"), form_key(setup, found.id).encode()):
        raise Problem(403, "the form is an old one: load the run's page again")
    value = None if said.get("do") == "remove" else said.get("value", "")
    setup.ledger.tag(found.id, api.checked_tags({said.get("name", ""): value}))
    return RedirectResponse(f"/runs/{found.id}#tags", status_code=303)


def what_if(request: Request, values: Values) -> Response:
    """A run elsewhere."""
    setup = setup_of(request)
    found = run_of(setup, values["run"])
    told = elsewhere(setup.ledger, found, setup.catalogue, values["site"], values["device"])
    return page(
        "what_if.html.j2", here="runs", run=found, told=told,
        sites=[(one.id, one.name) for one in setup.catalogue.sites()],
        devices=[(one.id, one.name) for one in setup.catalogue.devices() if one.kind != "cpu"],
        asked_sites=values["site"], asked_devices=values["device"],
    )  # fmt: skip


def compare(request: Request, values: Values) -> Response:
    """Runs side by side."""
    setup = setup_of(request)
    return page(
        "compare.html.j2", here="runs", runs=comparison(setup.ledger, [run_of(setup, r) for r in values["run"]])
    )


def studies(request: Request, values: Values) -> Response:
    """All studies."""
    del values
    found = [one for one in setup_of(request).ledger.sums(Query(kind="trial"), "study") if one.key]
    return page(
        "studies.html.j2", here="studies", studies=found[:MOST_STUDIES], left_out=max(0, len(found) - MOST_STUDIES)
    )


def study(request: Request, values: Values) -> Response:
    """One study, or several side by side: what each found."""
    setup = setup_of(request)
    documents = [_study(setup, one, values["at"]) for one in values["id"]]
    return page("study.html.j2", here="studies", documents=documents, exports=EXPORTS.values())


def study_report(request: Request, values: Values) -> Response:
    """The report of a study as it is handed on: closed up, with no script at all."""
    return closed_up(render_html(_study(setup_of(request), values["id"], values["at"])))


def closed_up(text: str) -> Response:
    """A whole page that may show itself and nothing else: its own styles, by their hashes."""
    styles = [
        b64encode(hashlib.sha256(one.encode()).digest()).decode()
        for one in re.findall(r"<style>(.*?)</style>", text, re.S)
    ]
    allowed = " ".join(f"'sha256-{one}'" for one in styles) or "'none'"
    policy = (
        f"default-src 'none'; style-src {allowed}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "sandbox allow-popups allow-popups-to-escape-sandbox"
    )
    return Response(text, media_type="text/html; charset=utf-8", headers={"content-security-policy": policy})


def _study(setup: Setup, id_: str, at: str | None) -> dict[str, Any]:
    found = read_study(setup.ledger, id_)
    if found is None:
        raise Problem(404, f"the ledger has no study {named(id_, 80)}", "id")
    site = setup.place(at or found[0].site) or setup.catalogue.unknown_site()
    return study_document(*found, setup.catalogue, site)


def totals(request: Request, values: Values) -> Response:
    """A team's totals."""
    setup = setup_of(request)
    found = list(setup.ledger.sums(p.query_of(values), values["by"]))
    if values["by"] == "month":
        found.sort(key=lambda one: one.key, reverse=True)
    else:
        found.sort(key=lambda one: -one.operational_g)
    asked = {name: value for name, value in p.pairs_of(request) if value and name != "tag"}
    return page(
        "totals.html.j2", here="totals", by=values["by"], groups=found[:MOST_GROUPS], asked=asked,
        left_out=max(0, len(found) - MOST_GROUPS), choices=(*p.GROUPS, "tag:project"),
        chart=sums_chart(found, by_time=values["by"] == "month"), runs=sum(one.runs for one in found),
        energy_j=sum(one.energy_j for one in found), operational_g=sum(one.operational_g for one in found),
        unknown=sum(one.unknown for one in found),
    )  # fmt: skip


def run_export(request: Request, values: Values) -> Response:
    """An export of a run."""
    return api.export(request, values)


def listed(kind: str) -> Callable[[Request, Values], Response]:
    """The list of runs as a file, a page at a time, so that any number of them can be had."""

    def answer(request: Request, values: Values) -> Response:
        ledger, query = setup_of(request).ledger, p.query_of(values)
        return download(_lines(ledger, query, kind), "lowcarb runs", f".{kind}", f"{LISTS[kind]}; charset=utf-8")

    return answer


def _lines(ledger: Ledger, query: Query, kind: str) -> Iterator[str]:
    if kind == "csv":
        yield ",".join(COLUMNS) + "\n"
    after = None
    while True:
        found = ledger.page(query, limit=500, after=after)
        for row in found.rows:
            told = row_dict(row)
            yield json.dumps(told) + "\n" if kind == "jsonl" else ",".join(_cell(told[name]) for name in COLUMNS) + "\n"
        if found.next is None:
            return
        after = found.next


def _cell(value: object) -> str:
    text = str(defused(value))
    return '"' + text.replace('"', '""') + '"' if re.search(r'[",\r\n]', text) else text


FORM = (*p.FILTERS, p.ORDER, p.LIMIT, p.AFTER)
PAGES = (
    PageRoute("/", home, FORM),
    PageRoute("/live.json", live_json),
    PageRoute("/runs.csv", listed("csv"), p.FILTERS),
    PageRoute("/runs.jsonl", listed("jsonl"), p.FILTERS),
    PageRoute("/runs/{run}", run, (p.RUN,)),
    PageRoute("/runs/{run}/tags", tags, (p.RUN,), "POST"),
    PageRoute("/runs/{run}/report", run_report, (p.RUN, p.PRICED_AT)),
    PageRoute("/runs/{run}/what-if", what_if, (p.RUN, p.SITES, p.DEVICES)),
    PageRoute("/runs/{run}/export", run_export, (p.RUN, replace(p.EXPORT, place="query"), p.PRICED_AT)),
    PageRoute("/compare", compare, (replace(p.RUNS, least=1),)),
    PageRoute("/studies", studies),
    PageRoute("/study", study, (p.STUDY_IDS, p.PRICED_AT)),
    PageRoute("/study/report", study_report, (p.STUDY_ID, p.PRICED_AT)),
    PageRoute("/study/export", api.study_export, (p.STUDY_ID, replace(p.EXPORT, place="query"), p.PRICED_AT)),
    PageRoute("/totals", totals, (*p.FILTERS, p.BY)),
)
