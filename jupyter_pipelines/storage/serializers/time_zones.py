"""Time zones by name, restored as objects of the same library (zoneinfo, pytz or datetime)."""

from __future__ import annotations

import datetime as dt
import sys
import zoneinfo
from typing import Any

from jupyter_pipelines.storage.serializers.protocol import UnsupportedValue, type_name


def encode_zone(zone: Any) -> str:
    """Return the name of a time zone.

    Raises
    ------
    UnsupportedValue
        It is not one of the standard library's, of ``zoneinfo`` or of ``pytz``.
    """
    name = _name(zone)
    if name is None or decode_zone(name) != zone:
        raise UnsupportedValue(f"the time zone {zone} ({type_name(zone)}) has no name that leads back to it")
    return name


def decode_zone(name: str) -> Any:
    """Return the time zone that :func:`encode_zone` named."""
    library, _, key = name.partition(":")
    if library == "zoneinfo":
        return zoneinfo.ZoneInfo(key)
    if library == "pytz":
        import pytz  # type: ignore[import-untyped, unused-ignore]

        return pytz.timezone(key)
    return dt.timezone(dt.timedelta(seconds=float(key)))


def _name(zone: Any) -> str | None:
    if isinstance(zone, zoneinfo.ZoneInfo):
        return f"zoneinfo:{zone.key}" if zone.key else None
    if type(zone) is dt.timezone:
        seconds = zone.utcoffset(None).total_seconds()
        return f"fixed:{seconds}" if zone.tzname(None) == _plain(seconds).tzname(None) else None
    # A pytz zone exists only if pytz is imported, so pytz need not be imported here.
    pytz = sys.modules.get("pytz")
    key = getattr(zone, "zone", None)
    return f"pytz:{key}" if pytz is not None and key and type(zone).__module__.startswith("pytz") else None


def _plain(seconds: float) -> dt.timezone:
    return dt.timezone(dt.timedelta(seconds=seconds))
