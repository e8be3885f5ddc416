"""What a request may say, each word of it checked: the API's document and the checks are made from the same table."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Literal, get_args
from urllib.parse import parse_qsl

from starlette.requests import Request

from lowcarb.core.units import NS_PER_HOUR
from lowcarb.dashboard.problems import Problem
from lowcarb.ledger.base import Status
from lowcarb.ledger.query import Query

HOURS_PER_DAY = 24
LAST_NS = 2**63 - 1
MOST_PARAMETERS = 200
MOST_TEXT = 16_384
"""Characters of a name that is asked for: the longest names have 10 kB."""
MOST_LIMIT, USUAL_LIMIT = 200, 50
MOST_COMPARED = 6
RUN_ID = re.compile("[0-9a-f]{4,32}")
ORDERS = ("newest", "energy", "carbon")
KINDS = ("trial", "track")
GROUPS = ("month", "study", "site", "status", "kind")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A word of a request."""

    name: str
    about: str
    schema: Mapping[str, Any]
    parse: Callable[[str], Any]
    """From text; raises ValueError."""
    place: Literal["query", "path"] = "query"
    required: bool = False
    many: bool = False
    most: int = 20
    """How often it may be said, where it may be more than once."""
    usual: Any = None
    least: int = 0

    def document(self) -> dict[str, Any]:
        """Its part of the OpenAPI document."""
        schema: dict[str, Any] = dict(self.schema)
        if self.many:
            schema = {"type": "array", "items": schema, "maxItems": self.most, "minItems": self.least}
        elif self.usual is not None:
            schema["default"] = self.usual
        return {
            "name": self.name, "in": self.place, "required": self.required, "description": self.about, "schema": schema,
        } | ({"style": "form", "explode": True} if self.many else {})  # fmt: skip

    def read(self, texts: Sequence[str]) -> Any:
        """The value of what was said.

        Raises:
            Problem: it is not what it may be.
        """
        if not texts:
            if self.required:
                raise Problem(422, f"{self.name} is missing: {self.about}", self.name)
            return [] if self.many else self.usual
        if len(texts) > (self.most if self.many else 1):
            raise Problem(422, f"{self.name} is said {len(texts)} times", self.name)
        if self.many and len(texts) < self.least:
            raise Problem(422, f"{self.name} is to be said {self.least} times at least", self.name)
        try:
            values = [self.parse(text) for text in texts]
        except ValueError as error:
            raise Problem(422, f"{self.name}: {error}", self.name) from None
        return values if self.many else values[0]


def _text(most: int, least: int = 0) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not least <= len(text) <= most:
            raise ValueError(f"expected {least} to {most} characters, not {len(text)}")
        return text

    return parse


def _one_of(choices: Sequence[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return text

    return parse


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not least <= int(text) <= most:
            raise ValueError(f"expected a whole number from {least} to {most}")
        return int(text)

    return parse


def _run_id(text: str) -> str:
    if not RUN_ID.fullmatch(text):
        raise ValueError("expected a run's id or its beginning: 4 to 32 hexadecimal digits")
    return text


def _day(text: str) -> date:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        raise ValueError("expected a day, such as 2026-03-31")
    return date.fromisoformat(text)


def _tag(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name or len(text) > MOST_TEXT:
        raise ValueError("expected NAME=VALUE")
    return name, value


def _grouping(text: str) -> str:
    if text not in GROUPS and not (text.startswith("tag:") and 4 < len(text) <= 204):
        raise ValueError(f"expected one of {', '.join(GROUPS)}, or tag:NAME")
    return text


def _enum(choices: Sequence[str]) -> dict[str, Any]:
    return {"type": "string", "enum": list(choices)}


def _string(most: int, least: int = 0) -> dict[str, Any]:
    return {"type": "string", "minLength": least, "maxLength": most}


DAY = {"type": "string", "format": "date"}
STATUSES: tuple[str, ...] = get_args(Status)
TAG_SCHEMA = {"type": "string", "pattern": "^[^=]+=", "maxLength": MOST_TEXT}
GROUPING = {"anyOf": [_enum(GROUPS), {"type": "string", "pattern": "^tag:.+$", "maxLength": 204}]}

FILTERS = (
    Parameter("text", "A part of the name, in any case.", _string(200), _text(200)),
    Parameter("kind", "Only trials of studies, or only tracked runs.", _enum(KINDS), _one_of(KINDS)),
    Parameter("status", "How the last attempt stands.", _enum(STATUSES), _one_of(STATUSES)),
    Parameter("study", "Only the trials of one study, by its id.", _string(MOST_TEXT), _text(MOST_TEXT)),
    Parameter("site", "Id of the site that the last attempt ran at.", _string(100), _text(100)),
    Parameter("tag", "NAME=VALUE; every one must match.", TAG_SCHEMA, _tag, many=True),
    Parameter("since", "Only runs begun on this day or later, UTC.", DAY, _day),
    Parameter("until", "Only runs begun on this day or earlier, UTC.", DAY, _day),
)  # fmt: skip
ORDER = Parameter("order", "Newest first, or the largest first.", _enum(ORDERS), _one_of(ORDERS), usual="newest")
LIMIT = Parameter(
    "limit", "At most so many.", {"type": "integer", "minimum": 1, "maximum": MOST_LIMIT}, _whole(1, MOST_LIMIT),
    usual=USUAL_LIMIT,
)  # fmt: skip
AFTER = Parameter("after", "What `next` of the page before said.", _string(2000, 1), _text(2000, 1))
RUN = Parameter(
    "run", "A run's id, or an unambiguous beginning of it.", {"type": "string", "pattern": "^[0-9a-f]{4,32}$"}, _run_id,
    place="path", required=True,
)  # fmt: skip
RUNS = replace(RUN, place="query", many=True, most=MOST_COMPARED, least=2, about="Runs to put side by side.")
STUDY_ID = Parameter("id", "A study's id.", _string(MOST_TEXT, 1), _text(MOST_TEXT, 1), required=True)
STUDY_IDS = replace(STUDY_ID, many=True, most=MOST_COMPARED, least=1, about="Studies to put side by side.")
BY = Parameter("by", "What totals are taken by.", GROUPING, _grouping, usual="month")
SITES = Parameter("site", "Ids of sites to price it at.", _string(100, 1), _text(100, 1), many=True, most=12)
DEVICES = Parameter("device", "Ids of devices to project it onto.", _string(100, 1), _text(100, 1), many=True, most=12)
PRICED_AT = Parameter("at", "Id of a site to price it at, in place of where it ran.", _string(100, 1), _text(100, 1))
EXPORT = Parameter(
    "export", "Which export.", {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,39}$"}, _text(40, 1), place="path",
    required=True,
)  # fmt: skip


def pairs_of(request: Request) -> list[tuple[str, str]]:
    """The words of an address, by name. Half a surrogate pair in a name comes through as it was sent.

    Raises:
        Problem: it cannot be read.
    """
    try:
        text = request.scope["query_string"].decode("ascii")
        return parse_qsl(
            text, keep_blank_values=True, encoding="utf-8", errors="surrogatepass", max_num_fields=MOST_PARAMETERS
        )
    except ValueError:
        raise Problem(400, "the address cannot be read: it is not UTF-8, or says too much") from None


def read(request: Request, parameters: Sequence[Parameter], *, form: bool = False) -> dict[str, Any]:
    """The values of a request's parameters by name.

    Args:
        request: the request.
        parameters: all that it may have.
        form: whether it comes from a form, which sends its empty fields too.

    Raises:
        Problem: it has others, or one is not what it may be.
    """
    pairs = [(name, value) for name, value in pairs_of(request) if value or not form]
    known = {one.name for one in parameters if one.place == "query"}
    for name, _ in pairs:
        if name not in known:
            raise Problem(
                400, f"there is no parameter {name[:80]!r} here; known: {', '.join(sorted(known))}", name[:80]
            )
    return {
        one.name: one.read(
            [request.path_params[one.name]]
            if one.place == "path"
            else [value for name, value in pairs if name == one.name]
        )
        for one in parameters
    }


def day_ns(day: date) -> int:
    """The beginning of a day, UTC [ns], as far as the ledger's clock goes."""
    ns = (day - date(1970, 1, 1)).days * HOURS_PER_DAY * NS_PER_HOUR
    return max(-LAST_NS, min(LAST_NS, ns))


def query_of(values: Mapping[str, Any]) -> Query:
    """The ledger's query of what was asked."""
    since, until = values.get("since"), values.get("until")
    return Query(
        kind=values.get("kind"),
        study=values.get("study"),
        status=values.get("status"),
        site=values.get("site"),
        tags=dict(values.get("tag") or ()),
        since_ns=None if since is None else day_ns(since),
        until_ns=None if until is None else min(LAST_NS, day_ns(until) + HOURS_PER_DAY * NS_PER_HOUR),
        text=values.get("text") or None,
        order=values.get("order") or "newest",
    )
