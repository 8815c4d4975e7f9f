"""JSON that every reader of JSON can read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def as_json(document: Mapping[str, Any]) -> str:
    """Return `document` as JSON that every reader of JSON can read: ``nan`` and ``inf`` become texts."""
    return json.dumps(strict_json_value(document), indent=1, ensure_ascii=False, allow_nan=False, default=str)


def strict_json_value(value: Any) -> Any:
    """Return `value` as strict JSON can hold it: ``nan`` and ``inf`` become texts, names of values texts, too."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, Mapping):
        return {str(key): strict_json_value(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [strict_json_value(element) for element in value]
    return value
