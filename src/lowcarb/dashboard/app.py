"""The dashboard as an ASGI application."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from importlib.resources import files
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from lowcarb.dashboard import api, openapi, pages
from lowcarb.dashboard.answers import API, as_json, refused
from lowcarb.dashboard.guard import Guard
from lowcarb.dashboard.parameters import read
from lowcarb.dashboard.problems import Problem, problem_of
from lowcarb.dashboard.setup import Setup
from lowcarb.errors import LowcarbError

STATIC = Path(__file__).parent / "static"
SHARED = ("palette.css", "figure.css")
"""Styles that the page has in common with reports, which keep them."""
Endpoint = Callable[[Request], Awaitable[Response]]

_log = logging.getLogger(__name__)


def make_app(setup: Setup) -> ASGIApp:
    """The application over a ledger."""
    routes: list[Route | Mount] = [Route(page.path, _page(page), methods=[page.method]) for page in pages.PAGES]
    routes += [Route(API + one.path, _api(one), methods=[one.method]) for one in api.ROUTES]
    routes += [Route(f"{API}/openapi.json", _document, methods=["GET"])]
    routes += [Route("/static/shared.css", _shared_style, methods=["GET"])]
    routes += [Mount("/static", StaticFiles(directory=STATIC))]
    app = Starlette(
        routes=routes,
        exception_handlers={Problem: _refused, LowcarbError: _mistaken, HTTPException: _http, 500: _failed},  # type: ignore[dict-item]  # starlette's type knows Exception only
    )
    app.state.setup = setup
    # A redirect between with and without a slash would name the host that the request named.
    app.router.redirect_slashes = False
    # Outermost, so that no answer leaves without its headers.
    return Guard(app, setup.access)


def _shared_style(request: Request) -> Response:
    del request
    there = files("lowcarb.report") / "templates"
    styles = [(there / name).read_text(encoding="utf-8") for name in SHARED]
    return Response("\n".join(styles), media_type="text/css")


def _page(page: pages.PageRoute) -> Endpoint:
    async def answer(request: Request) -> Response:
        values = read(request, page.parameters, form=True)
        if page.method == "POST":
            values["body"] = await api.body_of(request)
        return await run_in_threadpool(page.answer, request, values)

    return answer


def _api(route: api.Route) -> Endpoint:
    async def answer(request: Request) -> Response:
        values = read(request, route.parameters)
        if route.method == "PATCH":
            values["body"] = await api.json_of(request)
        return await run_in_threadpool(route.answer, request, values)

    return answer


async def _document(request: Request) -> Response:
    read(request, ())
    return as_json(openapi.document())


async def _refused(request: Request, error: Problem) -> Response:
    return refused(request.scope, error)


async def _mistaken(request: Request, error: LowcarbError) -> Response:
    return refused(request.scope, problem_of(error))


async def _http(request: Request, error: HTTPException) -> Response:
    detail = "there is no such page" if error.status_code == 404 else str(error.detail)
    answer = refused(request.scope, Problem(error.status_code, detail))
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value
    return answer


async def _failed(request: Request, error: Exception) -> Response:
    del error  # the server logs it
    return refused(request.scope, Problem(500, "this is a fault of lowcarb's: its log says more"))
