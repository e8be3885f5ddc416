"""The power of the whole machine from its management controller over the network (Redfish), where the user asks.

Nothing is asked of any network unless `LOWCARB_REDFISH_URL` names a resource. Name and password come from the
environment too, go to that host alone, and are in no message.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from math import isfinite
from time import monotonic
from typing import Any
from urllib.parse import SplitResult, urlsplit

from lowcarb.errors import SensorUnavailable
from lowcarb.sensors.board import machine_channel
from lowcarb.sensors.slow import FIRST_WAIT_S, PERIOD_S, SlowPower

URL, USER, PASSWORD = "LOWCARB_REDFISH_URL", "LOWCARB_REDFISH_USER", "LOWCARB_REDFISH_PASSWORD"
CERTIFICATES = "LOWCARB_REDFISH_CA"
"""Names a file with the controller's certificate, which is hardly ever signed by an authority."""
EXAMPLE = "https://BMC/redfish/v1/Chassis/1/EnvironmentMetrics"
LIMIT_S = 4.0
"""The most that each step of one question may take, and the whole answer."""
MOST_BYTES = 1_000_000
"""A resource has some kilobytes; what is longer is none."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def find_redfish(environ: Mapping[str, str], *, wait_s: float = FIRST_WAIT_S) -> SlowPower:
    """Open the Redfish resource that the environment names: a chassis' EnvironmentMetrics, Power, or a power sensor.

    Args:
        environ: the environment variables.
        wait_s: how long the first answer is waited for [s].

    Raises:
        SensorUnavailable: none is named, the settings cannot be, or the resource gives no power.
    """
    if not environ.get(URL):
        raise SensorUnavailable("redfish", "not asked for", "")
    url = _checked(environ)
    headers = {"Accept": "application/json"}
    if environ.get(USER):
        secret = f"{environ[USER]}:{environ.get(PASSWORD, '')}".encode()
        headers["Authorization"] = "Basic " + b64encode(secret).decode()
    place = f"{url.scheme}://{url.netloc}{url.path}"
    ask = _Question(place, url.geturl(), headers, environ.get(CERTIFICATES))
    sensor = SlowPower(machine_channel("redfish", resolution_s=PERIOD_S + LIMIT_S), ask)
    sensor.first(wait_s)
    return sensor


def _checked(environ: Mapping[str, str]) -> SplitResult:
    """The URL, if it may be asked with these settings; messages hold no part of it that may be secret."""
    try:
        url = urlsplit(environ[URL])
        host, secret = url.hostname, url.username or url.password
        _ = url.port
    except ValueError:
        host = secret = None
    if not host or url.scheme not in ("http", "https"):
        raise SensorUnavailable("redfish", f"{URL} is no http or https URL", f"Set it to one such as {EXAMPLE}")
    if secret:
        raise SensorUnavailable("redfish", f"{URL} holds a name or password", f"Put them into {USER} and {PASSWORD}")
    if bool(environ.get(USER)) != bool(environ.get(PASSWORD)):
        raise SensorUnavailable("redfish", f"only one of {USER} and {PASSWORD} is set", "Set both or neither")
    if environ.get(USER) and url.scheme == "http" and host not in LOOPBACK:
        raise SensorUnavailable("redfish", "a password would cross the network unencrypted", f"Use https in {URL}")
    return url


class _Question:
    """Asks for the power [W]."""

    __slots__ = ("_certificates", "_headers", "_place", "_url")

    def __init__(self, place: str, url: str, headers: dict[str, str], certificates: str | None) -> None:
        self._place, self._url, self._headers, self._certificates = place, url, headers, certificates

    def __call__(self) -> float:
        return power_in(self._document(), self._place)

    def _document(self) -> Any:
        # These load dozens of modules, and hardly any machine needs them.
        import ssl  # noqa: PLC0415
        from http.client import HTTPException  # noqa: PLC0415
        from urllib import request  # noqa: PLC0415
        from urllib.error import HTTPError, URLError  # noqa: PLC0415

        class NoRedirects(request.HTTPRedirectHandler):
            def redirect_request(self, *_: Any, **__: Any) -> None:
                return None

        try:
            context = ssl.create_default_context(cafile=self._certificates)
            # No proxy: it would see the password, and a controller is in the same building.
            opener = request.build_opener(request.ProxyHandler({}), NoRedirects, request.HTTPSHandler(context=context))
            question = request.Request(self._url, headers=self._headers)  # noqa: S310  # http and https only, by _checked
            with opener.open(question, timeout=LIMIT_S) as answer:
                return json.loads(_body(answer, self._place))
        except HTTPError as error:
            error.close()
            remedy = f"Check {USER} and {PASSWORD}" if error.code in (401, 403) else f"Check {URL}"
            raise SensorUnavailable("redfish", f"{self._place} answers {error.code}", remedy) from None
        except (URLError, OSError, HTTPException) as error:
            cause = getattr(error, "reason", error)
            untrusted = isinstance(cause, ssl.SSLCertVerificationError)
            remedy = f"Save the controller's certificate to a file and name it in {CERTIFICATES}"
            reason = f"{self._place} cannot be asked ({type(cause).__name__})"
            raise SensorUnavailable("redfish", reason, remedy if untrusted else f"Check {URL}") from None
        except (ValueError, RecursionError):
            raise SensorUnavailable("redfish", f"{self._place} answers no JSON", f"Check {URL}") from None


def _body(answer: Any, place: str) -> bytes:
    """The answer, if it is whole in time and not too long."""
    end_s, parts, length = monotonic() + LIMIT_S, [], 0
    while part := answer.read1(MOST_BYTES):
        parts.append(part)
        length += len(part)
        if length > MOST_BYTES or monotonic() > end_s:
            raise SensorUnavailable("redfish", f"{place} does not come to an end", f"Check {URL}")
    return b"".join(parts)


def power_in(document: Any, place: str) -> float:
    """The present power [W] in a Redfish resource: EnvironmentMetrics, Power (its first PowerControl), or a Sensor.

    Raises:
        SensorUnavailable: there is none; PowerSubsystem, for one, has only what the supplies could give.
    """
    found = _value_in(document)
    if isinstance(found, (int, float)) and not isinstance(found, bool) and isfinite(found) and found > 0:
        return float(found)
    raise SensorUnavailable(
        "redfish", f"{place} tells no power", f"Name the chassis' EnvironmentMetrics or Power in {URL}, as in {EXAMPLE}"
    )


def _value_in(document: Any) -> Any:
    match document:
        case {"PowerWatts": {"Reading": value}} | {"PowerControl": [{"PowerConsumedWatts": value}, *_]}:
            return value
        case {"Reading": value, "ReadingUnits": "W"}:
            return value
    return None
