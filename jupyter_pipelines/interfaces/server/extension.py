"""The Jupyter server extension: adds our routes and events to a server."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from jupyter_server.utils import url_path_join

from jupyter_pipelines import __version__
from jupyter_pipelines.interfaces.server.handling import PREFIX, Office, doors
from jupyter_pipelines.interfaces.server.known import Known
from jupyter_pipelines.interfaces.server.table import ROUTES
from jupyter_pipelines.interfaces.server.telling import EVENT_SCHEMA, SCHEMA, Broadcast, Teller
from jupyter_pipelines.interfaces.server.views import VIEWS
from jupyter_pipelines.interfaces.server.visiting import receptions
from jupyter_pipelines.project import Project


def _load_jupyter_server_extension(server: Any) -> None:
    """Add our routes to a server; called by it."""
    contents = server.contents_manager
    root = getattr(contents, "root_dir", None) or server.root_dir
    known, project = Known(Path(root), hidden=bool(getattr(contents, "allow_hidden", False))), Project()
    server.event_logger.register_event_schema(dict(SCHEMA))
    emit = partial(_emit, server.event_logger)
    office = Office(known=known, project=project, asked=Broadcast(Teller(known, project), emit).wake)
    base = server.web_app.settings["base_url"]
    server.web_app.add_handlers(".*$", [*doors(ROUTES, office, base), *receptions(VIEWS, office, base)])
    server.log.info("jupyter_pipelines %s answers at %s", __version__, url_path_join(base, PREFIX))


def _emit(logger: Any, data: dict[str, Any]) -> None:
    logger.emit(schema_id=EVENT_SCHEMA, data=data)
