"""JSON Schemas of requests and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]

# Bounds far above any real notebook, so that a single request cannot exhaust the memory of the server.
MOST_CELLS = 20_000
LONGEST_CELL = 2_000_000
LONGEST_NAME = 1_000
MOST_NAMES = 20_000


def text(longest: int = LONGEST_NAME) -> dict[str, Any]:
    """Return the schema of a text."""
    return {"type": "string", "maxLength": longest}


def array_of(items: Schema, most: int = MOST_NAMES) -> dict[str, Any]:
    """Return the schema of a list."""
    return {"type": "array", "items": items, "maxItems": most}


def nullable(schema: Schema) -> dict[str, Any]:
    """Return the schema of what may be missing."""
    return {"anyOf": [schema, {"type": "null"}]}


def fields(required: Sequence[str] = (), /, **properties: Schema) -> dict[str, Any]:
    """Return the schema of an object with these fields and no others."""
    shape = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**shape, "required": list(required)} if required else shape


def by_name(values: Schema, most: int = MOST_NAMES) -> dict[str, Any]:
    """Return the schema of values by name."""
    return {"type": "object", "additionalProperties": values, "maxProperties": most, "propertyNames": text()}


def answer_with(*required: str) -> dict[str, Any]:
    """Return the schema of an answer with at least these fields."""
    return {"type": "object", "required": list(required)}


NAME = text()
NAMES = array_of(NAME)
BOOL = {"type": "boolean"}
COUNT = {"type": "integer", "minimum": 0, "maximum": 2**53}
CELL = fields(
    ("type", "source"),
    id=nullable(text(256)),
    type={"enum": ["code", "markdown", "raw"]},
    source=text(LONGEST_CELL),
    tags=nullable(array_of(NAME, 1_000)),
)
CELLS = nullable(array_of(CELL, MOST_CELLS))
"""The cells as the front end has them; null for those that are saved."""
VALUES = by_name(text(100_000))
"""Values of parameters, written as on a command line."""
FAULTS = array_of({"type": "object"})
