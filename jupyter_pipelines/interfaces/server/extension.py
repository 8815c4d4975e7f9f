"""The Jupyter server extension: adds our routes and events to a server."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from jupyter_server.utils import url_path_join

from jupyter_pipelines import __version__
from jupyter_pipelines.interfaces.server.html_handler import html_handlers
from jupyter_pipelines.interfaces.server.html_views import VIEWS
from jupyter_pipelines.interfaces.server.json_handler import PREFIX, AppContext, json_handlers
from jupyter_pipelines.interfaces.server.notebook_registry import NotebookRegistry
from jupyter_pipelines.interfaces.server.routes import ROUTES
from jupyter_pipelines.interfaces.server.run_events import EVENT_SCHEMA, SCHEMA, PollTask, RunEventPoller
from jupyter_pipelines.project import Project


def _load_jupyter_server_extension(server: Any) -> None:
    """Add our routes to a server; called by it."""
    contents = server.contents_manager
    # Paths of JupyterLab are relative to the contents manager, which may have a root of its own.
    root = getattr(contents, "root_dir", None) or server.root_dir
    known, project = NotebookRegistry(Path(root), hidden=bool(getattr(contents, "allow_hidden", False))), Project()
    server.event_logger.register_event_schema(dict(SCHEMA))
    emit = partial(_emit, server.event_logger)
    office = AppContext(known=known, project=project, asked=PollTask(RunEventPoller(known, project), emit).wake)
    base = server.web_app.settings["base_url"]
    server.web_app.add_handlers(".*$", [*json_handlers(ROUTES, office, base), *html_handlers(VIEWS, office, base)])
    server.log.info("jupyter_pipelines %s answers at %s", __version__, url_path_join(base, PREFIX))


def _emit(logger: Any, data: dict[str, Any]) -> None:
    logger.emit(schema_id=EVENT_SCHEMA, data=data)
