"""Answers: a page, a JSON document, a file to keep, or what is wrong."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse
from starlette.types import Scope

from lowcarb.dashboard.problems import MEDIA_TYPE, Problem
from lowcarb.dashboard.render import render
from lowcarb.report.format import writable

API = "/api/v1"
MOST_STEM = 80
"""Characters of a file's name before its suffix."""


def page(template: str, *, status: int = 200, **context: Any) -> Response:
    """A page of HTML."""
    return Response(writable(render(template, **context)), status_code=status, media_type="text/html; charset=utf-8")


def as_json(document: Mapping[str, Any], *, status: int = 200, media_type: str = "application/json") -> Response:
    """A JSON document, in ASCII, so that every name can be said."""
    text = json.dumps(document, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Response(text, status_code=status, media_type=media_type)


def is_api(scope: Scope) -> bool:
    """Whether a program asks, and not a person."""
    path: str = scope["path"]
    return path == API or path.startswith(f"{API}/")


def refused(scope: Scope, problem: Problem) -> Response:
    """What is wrong, in the form that who asked can read."""
    if is_api(scope):
        answer = as_json(problem.as_dict(), status=problem.status, media_type=MEDIA_TYPE)
    else:
        answer = page("problem.html.j2", status=problem.status, problem=problem)
    if problem.status == 401:
        answer.headers["www-authenticate"] = 'Bearer realm="lowcarb"'
    return answer


def download(content: str | bytes | Iterable[str], stem: str, suffix: str, media_type: str) -> Response:
    """A file to keep.

    Args:
        content: what is in it; text is written in UTF-8.
        stem: what it is about: any name, of which only harmless characters come into the file's.
        suffix: with its dot.
        media_type: of its content.
    """
    headers = {"content-disposition": disposition(stem, suffix)}
    if isinstance(content, (str, bytes)):
        body = writable(content).encode() if isinstance(content, str) else content
        return Response(body, media_type=media_type, headers=headers)
    return StreamingResponse((writable(part).encode() for part in content), media_type=media_type, headers=headers)


def disposition(stem: str, suffix: str) -> str:
    """The header that names a file, in ASCII and, where that is less, in UTF-8 too (RFC 6266, RFC 8187)."""
    end = re.sub(r"[^a-z0-9.]", "", suffix.lower())
    name = file_stem(stem)
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", unicodedata.normalize("NFKD", name)).strip("-.") or "lowcarb"
    header = f'attachment; filename="{plain}{end}"'
    return header if plain == name else f"{header}; filename*=UTF-8''{quote(name + end, safe='')}"


def file_stem(name: str) -> str:
    """The name as a file's, without anything that leads elsewhere, or that a file system or a shell minds."""
    shown = "".join(
        " " if unicodedata.category(one)[0] in "CZ" or one in '/\\:*?"<>|`$%~;&' else one for one in name[:1000]
    )
    return " ".join(shown.split())[:MOST_STEM].strip(" .-'=+@") or "lowcarb"
