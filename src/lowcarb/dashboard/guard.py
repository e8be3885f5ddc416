"""Who may ask: every request passes here first.

- The `Host` header must name this machine, so that no other site's name leads here (DNS rebinding). An address in
  numbers always may: it is no name that somebody could turn round.
- Where a token is set, it is asked for: as `Authorization: Bearer`, or once as `?token=`, which is turned into a cookie
  that scripts do not see and other sites do not send. Tokens are compared in constant time.
- What changes something must come from a page of this dashboard, by what the browser says of it (`Origin`,
  `Sec-Fetch-Site`); programs say neither and cannot be made to ask by a page.
- Every answer carries headers by which a browser loads nothing from elsewhere, runs no script but ours, and shows the
  page in no frame. No other site may read answers: there is no CORS.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lowcarb.dashboard.answers import refused
from lowcarb.dashboard.problems import Problem
from lowcarb.errors import SettingError

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
LEAST_TOKEN = 16
"""Characters of a token that somebody else's guesses do not reach."""
TOKEN_BYTES = 32
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
"""Of every answer that does not set its own."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask.

    Raises:
        SettingError: an address that others reach without a token, or a token that can be guessed.
    """

    host: str
    port: int
    token: str | None = field(default=None, repr=False)
    names: tuple[str, ...] = ()
    """Names of this machine by which it may be asked, besides `localhost` and addresses."""
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(TOKEN_BYTES), repr=False)
    """Signs forms; another one each time."""

    def __post_init__(self) -> None:
        if self.token is None:
            if not is_loopback(self.host):
                raise SettingError("host", self.host, "127.0.0.1, or a token for any other address")
        elif len(self.token) < LEAST_TOKEN or not self.token.isascii() or not self.token.isprintable():
            # The token itself is in no message.
            raise SettingError("token", "…", f"at least {LEAST_TOKEN} printable ASCII characters")

    @property
    def cookie(self) -> str:
        """Name of the cookie. Cookies are not kept apart by port, so the port is in it."""
        return f"lowcarb-{self.port}"

    @property
    def pass_(self) -> str:
        """What the cookie holds: it shows that the token was known, and is not the token."""
        return self._signed(f"pass {self.token}")

    @property
    def form_key(self) -> str:
        """What a form of this dashboard holds, and nobody else's."""
        return self._signed("form")

    def _signed(self, text: str) -> str:
        return hmac.new(self.secret, text.encode(), hashlib.sha256).hexdigest()

    def may_be_called(self, host: str) -> bool:
        """Whether a `Host` header names this machine."""
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        if not name:
            return False
        # An address in numbers is one that the browser was given, not one that a name server made up.
        known = {*LOOPBACK_NAMES, self.host.lower(), *(one.lower() for one in self.names)}
        if name in known:
            return True
        address = _address(name)
        return address is not None and not is_loopback(self.host)

    def knows(self, headers: Headers) -> bool:
        """Whether the request shows the token or what was given for it."""
        if self.token is None:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.is_token(given.strip()):
            return True
        return any(_same(one, self.pass_) for one in _cookies(headers, self.cookie))

    def is_token(self, given: str) -> bool:
        """Whether it is the token."""
        return self.token is not None and _same(given, self.token)


def make_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), wanted.encode())


def _cookies(headers: Headers, name: str) -> Sequence[str]:
    """Values of the cookies of a name; there may be several where another page has set one."""
    pairs = (pair.strip().partition("=") for line in headers.getlist("cookie") for pair in line.split(";"))
    return [value for key, _, value in pairs if key == name]


def is_own(headers: Headers) -> bool:
    """Whether a request that changes something comes from a page of this dashboard or from no page at all."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        return origin != "null" and urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
    except ValueError:
        return False


class Guard:
    """Lets in what may come in, and puts the headers on what goes out.

    Args:
        app: what is guarded.
        access: who may ask.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self._refusal(scope)
        await (answer or self._app)(scope, receive, sent)

    def _refusal(self, scope: Scope) -> Response | None:
        """What to answer in place of the app; None where it may be asked."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._access.may_be_called(hosts[0]):
            problem = Problem(403, "this machine is not called so: open the address that `lowcarb serve` printed")
            return refused(scope, problem)
        if scope["method"] not in SAFE_METHODS and not is_own(headers):
            return refused(scope, Problem(403, "it comes from another site's page"))
        if self._access.knows(headers):
            return None
        return self._let_in(scope) or refused(
            scope, Problem(401, "open the address with the token that `lowcarb serve` printed, or send it as Bearer")
        )

    def _let_in(self, scope: Scope) -> Response | None:
        """A token in the address is turned into a cookie, and the address into one without it."""
        if scope["method"] != "GET":
            return None
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if not any(self._access.is_token(value) for name, value in pairs if name == "token"):
            return None
        rest = urlencode([(name, value) for name, value in pairs if name != "token"])
        # From the root on: an address that begins with two slashes would be another host's.
        path = "/" + scope.get("raw_path", scope["path"].encode()).decode("latin-1").partition("?")[0].lstrip("/")
        answer = RedirectResponse(path + (f"?{rest}" if rest else ""), status_code=303)
        answer.set_cookie(self._access.cookie, self._access.pass_, httponly=True, samesite="strict", path="/")
        return answer
