"""What is wrong with a request, as a page or as problem JSON (RFC 9457)."""

from __future__ import annotations

from lowcarb.errors import CatalogueError, LedgerError, LowcarbError, SettingError

TITLES = {
    400: "The request cannot be read",
    401: "A token is needed",
    403: "The request is refused",
    404: "There is no such thing",
    405: "That cannot be done here",
    413: "That is too much",
    415: "The content is of another kind",
    422: "A value is not what it may be",
    500: "The dashboard has failed",
    503: "The ledger is away",
}
MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """A request that gets no answer but this.

    Args:
        status: of HTTP.
        detail: what is wrong, for who asked.
        parameter: which one is wrong.
    """

    def __init__(self, status: int, detail: str, parameter: str | None = None) -> None:
        self.status, self.detail, self.parameter = status, detail, parameter
        super().__init__(detail)

    @property
    def title(self) -> str:
        """The same for all problems of this status."""
        return TITLES.get(self.status, "The request is refused")

    def as_dict(self) -> dict[str, object]:
        """The JSON form."""
        named = {} if self.parameter is None else {"parameter": self.parameter}
        return {"type": "about:blank", "title": self.title, "status": self.status, "detail": self.detail, **named}


def problem_of(error: LowcarbError) -> Problem:
    """What an error of lowcarb's is to who asked."""
    if isinstance(error, SettingError):
        # A cursor is a place in a list: one that nobody gave out leads nowhere.
        status = 404 if error.field in ("after", "cursor", "run", "study") else 422
        return Problem(status, str(error), error.field)
    if isinstance(error, CatalogueError):
        return Problem(404, str(error), error.kind)
    if isinstance(error, LedgerError):
        return Problem(503, str(error))
    return Problem(422, str(error))
