"""The OpenAPI document, made from the table of routes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from jupyter_pipelines import __version__

if TYPE_CHECKING:
    from jupyter_pipelines.interfaces.server.routing import ApiRoute

_FAULTS = {
    "type": "object",
    "required": ["faults", "message"],
    "properties": {"faults": {"type": "array", "items": {"type": "object"}}, "message": {"type": "string"}},
}
_REFUSALS: Mapping[str, str] = {
    "400": "The request does not have the shape that is described here",
    "403": "Not logged in, from another site, without the XSRF token, or without the permission",
    "404": "There is no such notebook, run, step or output",
    "413": "The body is too large",
    "415": "The body is not JSON",
    "422": "The notebook, its parameters or what is asked of it are faulty",
}


def describe(routes: Iterable[ApiRoute]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of `routes`."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(f"/{route.path}", {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "jupyter-pipelines", "version": __version__},
        "servers": [{"url": ".", "description": "Where this document is"}],
        "paths": paths,
        "components": {
            "schemas": {"Faults": _FAULTS},
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "Authorization"}},
        },
        "security": [{"token": []}],
    }


def _operation(route: ApiRoute) -> dict[str, Any]:
    answer = {"application/json": {"schema": dict(route.answer or {"type": "object"})}}
    refusals = {code: {"description": text, "content": _REFUSAL} for code, text in _REFUSALS.items()}
    operation: dict[str, Any] = {
        "operationId": f"{route.method.lower()}-{route.path.translate(_PLAIN)}",
        "summary": route.summary,
        "x-action": route.action,
        "parameters": [*_parameters(route)],
        "responses": {str(route.status): {"description": "Done", "content": answer}, **refusals},
    }
    if route.method == "POST":
        schema = dict(route.body or {"type": "object"})
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


_PLAIN = str.maketrans({"/": "-", "{": None, "}": None, ".": "-"})
_REFUSAL = {"application/json": {"schema": {"$ref": "#/components/schemas/Faults"}}}


def _parameters(route: ApiRoute) -> Iterable[dict[str, Any]]:
    for name in route.names:
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
    for name, schema in ((route.query or {}).get("properties") or {}).items():
        yield {"name": name, "in": "query", "schema": dict(schema)}
