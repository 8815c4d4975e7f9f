"""Routes that convert an exploratory notebook to a pipeline, in a process that outlives the server."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.errors import Diagnostic, ExecutorLost, StoreError
from jupyter_pipelines.interfaces.convert_process import ORDER, OWNER, PROGRESS_LOG, RESULT
from jupyter_pipelines.interfaces.server import schemas
from jupyter_pipelines.interfaces.server.routing import ApiRequest, ApiRoute
from jupyter_pipelines.project import Project

if TYPE_CHECKING:
    from jupyter_pipelines.storage.store import Store

FOLDER = "served/conversions"
DAYS = 7
"""Days for which a result is kept."""
_ID = re.compile(r"[0-9a-f]{32}")
# ipykernel ends when the process in JPY_PARENT_PID does; the other two describe a kernel of this server.
_PRIVATE = ("JPY_PARENT_PID", "JPY_SESSION_NAME", "JPY_INTERRUPT_EVENT")
NOTEBOOK_NAME = {"type": "string", "pattern": r"^[^./\\\x00-\x1f][^/\\\x00-\x1f]{0,200}\.ipynb$"}
"""Schema of a file name without folders; the file is written beside the notebook."""


def start_conversion(project: Project, request: ApiRequest) -> dict[str, Any]:
    """Start the conversion of the saved notebook."""
    store = project.store_for(request.home(project))
    _remove_old(store)
    conversion = secrets.token_hex(16)
    body = request.body
    order = {
        "source": str(request.path),
        "target": body.get("target"),
        "static": body.get("static", False),
        "dry_run": body.get("dry_run", False),
    }
    store.folder.write(f"{FOLDER}/{conversion}/{ORDER}", json.dumps(order).encode())
    _start(store.folder.locate(f"{FOLDER}/{conversion}/{ORDER}").parent)
    return {"conversion": conversion}


def conversion_status(project: Project, request: ApiRequest) -> dict[str, Any]:
    """Return the state of a conversion, and its result."""
    name, home = request.names["conversion"], request.home(project)
    if _ID.fullmatch(name) is None or not project.has_store(home):
        raise _no_conversion(name)
    store = project.store_for(home)
    # The store is shared by the notebooks of a project; the id alone must not give access to another notebook.
    if _read(store, name, ORDER).get("source") != str(request.path):
        raise _no_conversion(name)
    outcome = _read(store, name, RESULT) or {
        "state": "running" if _is_alive(store, name) else "failed",
        "result": None,
        "page": None,
        "faults": [],
    }
    if outcome["state"] == "failed" and not outcome["faults"]:
        # The process may have written its result and ended between the two readings.
        outcome = _read(store, name, RESULT) or outcome | {"faults": [_process_lost().to_dict()]}
    return outcome | {"said": _log_lines(store, name), "path": _written(request, outcome)}


def _written(request: ApiRequest, outcome: Mapping[str, Any]) -> str | None:
    path = (outcome["result"] or {}).get("written")
    return request.known.name_of(Path(path)) if path else None


def _start(folder: Path) -> None:
    with (folder / PROGRESS_LOG).open("ab") as log:
        process = subprocess.Popen(
            # -P: a file of the working folder must not shadow a module; a session of its own survives Ctrl-C of the
            # server.
            [sys.executable, "-P", "-m", "jupyter_pipelines.interfaces.convert_process", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={name: value for name, value in os.environ.items() if name not in _PRIVATE},
            start_new_session=True,
        )
    # Short: the process forks and its parent ends as soon as the child has written its identity.
    if process.wait() != 0:
        raise ExecutorLost(_process_lost())


def _read(store: Store, name: str, file: str) -> dict[str, Any]:
    try:
        content = json.loads(store.folder.read(f"{FOLDER}/{name}/{file}"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_alive(store: Store, name: str) -> bool:
    from jupyter_pipelines.storage.files.process_identity import ProcessIdentity

    try:
        return ProcessIdentity.from_dict(_read(store, name, OWNER)).state() != "dead"
    except (KeyError, TypeError, ValueError):
        return False


def _log_lines(store: Store, name: str) -> list[str]:
    try:
        return store.folder.read(f"{FOLDER}/{name}/{PROGRESS_LOG}").decode("utf-8", "replace").splitlines()[-200:]
    except OSError:
        return []


def _remove_old(store: Store) -> None:
    oldest = time.time() - DAYS * 86_400
    for name in store.folder.ls(FOLDER):
        with suppress(OSError):
            if store.folder.locate(f"{FOLDER}/{name}").stat().st_mtime < oldest:
                store.folder.rm(f"{FOLDER}/{name}")


def _no_conversion(name: str) -> StoreError:
    message = f"there is no conversion `{name[:64]}` of this notebook"
    return StoreError(
        Diagnostic(code="JP405", message=message, suggestion="start a conversion; results are kept for a week")
    )


def _process_lost() -> Diagnostic:
    return Diagnostic(
        code="JP308",
        message="the process that converted the notebook ended before it was done",
        suggestion="look at what it said, and start it again",
    )


ROUTES = (
    ApiRoute(
        method="POST",
        path="notebooks/{id}/conversions",
        work=start_conversion,
        action="execute",
        summary="Make a pipeline of the saved notebook, and prove it; runs it in copies of its folder",
        body=schemas.fields(target=schemas.nullable(NOTEBOOK_NAME), static=schemas.BOOL, dry_run=schemas.BOOL),
        answer=schemas.answer_with("conversion"),
        status=202,
    ),
    ApiRoute(
        method="GET",
        path="notebooks/{id}/conversions/{conversion}",
        work=conversion_status,
        summary="How a conversion gets on: what was said, and in the end the result and a page side by side",
        answer=schemas.answer_with("state", "said", "result", "page", "path", "faults"),
    ),
)
