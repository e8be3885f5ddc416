"""Times of the wall clock without a zone, as other programs write them, to integer UTC nanoseconds and back."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from lowcarb.core.units import NS_PER_S, US_PER_S
from lowcarb.errors import SettingError

_OFFSET = re.compile(r"([+-])(\d{2}):?(\d{2})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NS_PER_US = NS_PER_S // int(US_PER_S)


def zone_of(name: str) -> tzinfo:
    """The time zone of a name: `UTC`, an IANA name such as `Europe/Paris`, or an offset such as `+02:00`.

    Raises:
        SettingError: there is none of this name.
    """
    if name.upper() in ("UTC", "Z"):
        return UTC
    offset = _OFFSET.fullmatch(name)
    if offset:
        shift = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        if shift < timedelta(days=1):
            return timezone(-shift if offset[1] == "-" else shift)
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise SettingError("zone", name, "UTC, a zone such as Europe/Paris, or an offset such as +02:00") from None


def ns_of(moment: datetime) -> int:
    """Nanoseconds since 1970, UTC, of a time with its zone. Exact."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * _NS_PER_US


def moment_of(time_ns: int) -> datetime:
    """The time in UTC, to the microsecond."""
    return _EPOCH + timedelta(microseconds=time_ns // _NS_PER_US)


def read_time(text: str, zone: tzinfo) -> datetime:
    """The time that a text says; in this zone where it says none.

    Raises:
        ValueError: it says no time.
    """
    found = datetime.fromisoformat(text.strip())
    return found if found.tzinfo is not None else found.replace(tzinfo=zone)


def is_twice(moment: datetime) -> bool:
    """Whether this local time comes twice, as when summer time ends: which one is meant is then not known."""
    return moment.replace(fold=0).utcoffset() != moment.replace(fold=1).utcoffset()
