"""Headers, written and explained: routes that take the cells of a notebook and return texts."""

from __future__ import annotations

from jupyter_pipelines.interfaces.server.asking import Route

ROUTES: tuple[Route, ...] = ()
"""Routes of this module; the front end writes what they return into the cells."""
