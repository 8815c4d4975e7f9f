"""Strict JSON (RFC 8259), which has no NaN and infinity."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def as_json(document: Mapping[str, Any]) -> str:
    """Return `document` as strict JSON; ``nan`` and ``inf`` become strings."""
    return json.dumps(strict_json_value(document), indent=1, ensure_ascii=False, allow_nan=False, default=str)


def strict_json_value(value: Any) -> Any:
    """Return `value` with ``nan``, ``inf`` and all keys of mappings as strings."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, Mapping):
        return {str(key): strict_json_value(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [strict_json_value(element) for element in value]
    return value
