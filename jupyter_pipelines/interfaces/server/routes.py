"""The table of all routes of the JSON API."""

from __future__ import annotations

from typing import Any

from jupyter_pipelines import __version__
from jupyter_pipelines.interfaces.server import schemas
from jupyter_pipelines.interfaces.server.conversions import ROUTES as CONVERSIONS
from jupyter_pipelines.interfaces.server.edits import ROUTES as EDITING
from jupyter_pipelines.interfaces.server.notebook_routes import ROUTES as NOTEBOOKS
from jupyter_pipelines.interfaces.server.openapi import describe
from jupyter_pipelines.interfaces.server.routing import ApiRequest, ApiRoute
from jupyter_pipelines.interfaces.server.run_routes import ROUTES as RUNS
from jupyter_pipelines.project import Project


def me(_: Project, request: ApiRequest) -> dict[str, Any]:
    """Return what the user may do on this server."""
    return {**request.may, "version": __version__}


def openapi(_: Project, __: ApiRequest) -> dict[str, Any]:
    """Return the description of all routes."""
    return describe(ROUTES)


ROUTES: tuple[ApiRoute, ...] = (
    ApiRoute(
        method="GET",
        path="me",
        work=me,
        summary="What the user may do with pipelines on this server, and which version answers",
        answer=schemas.answer_with("read", "write", "execute", "version"),
        personal=True,
    ),
    ApiRoute(
        method="GET",
        path="openapi.json",
        work=openapi,
        summary="This document",
        answer=schemas.answer_with("openapi", "info", "paths"),
    ),
    *NOTEBOOKS,
    *RUNS,
    *CONVERSIONS,
    *EDITING,
)
"""All routes; handlers, OpenAPI document and tests are made from this table."""
