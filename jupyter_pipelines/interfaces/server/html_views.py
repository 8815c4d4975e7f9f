"""The HTML pages: the pipelines below a folder, a pipeline, and a run of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jupyter_pipelines.errors import PipelinesError
from jupyter_pipelines.interfaces.server import html_elements, notebook_routes, run_routes
from jupyter_pipelines.interfaces.server.routing import Action, ApiRequest, Method, pattern_of
from jupyter_pipelines.interfaces.server.run_list_cache import RUNNING
from jupyter_pipelines.project import Project

if TYPE_CHECKING:
    from jupyter_pipelines.interfaces.server.notebook_registry import NotebookRegistry, RegisteredNotebook
    from jupyter_pipelines.reporting.step_status import StepStatus

# The index page searches the folder at every request; these bounds keep it fast in a home folder.
MOST_FILES = 5_000
DEEPEST = 6
LARGEST = 50_000_000
LONGEST_KEY = 256
_SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__", "site-packages"})
# Searched in the raw bytes: parsing every notebook below the folder as JSON would take seconds.
_MARKS = (b"%%step", b"#| step", b"#|step")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """A request for a page.

    Parameters
    ----------
    project : Project
        The project.
    request : ApiRequest
        The request, as for the JSON API.
    root : str
        URL of the index page, without a trailing slash.
    nonce : str
        Nonce for the style of the page.
    xsrf : str
        XSRF field for forms, as HTML.
    """

    project: Project
    request: ApiRequest
    root: str
    nonce: str = ""
    xsrf: str = ""

    @property
    def here(self) -> str:
        """URL of the page of the notebook."""
        return f"{self.root}/notebooks/{self.request.notebook.id}"

    def page(self, title: str, *body: str, above: str = "", reload: bool = False) -> PageResponse:
        """Return a page, with a link to the first page."""
        links = " · ".join(part for part in (html_elements.link(f"{self.root}/", "Pipelines"), above) if part)
        return PageResponse(content=html_elements.page(title, body, nonce=self.nonce, above=links, reload=reload))


@dataclass(frozen=True, slots=True, kw_only=True)
class PageResponse:
    """The answer to a request for a page.

    Parameters
    ----------
    content : str
        The content, or the URL to redirect to.
    kind : {"html", "svg", "text", "elsewhere"}
        Type of the content; ``elsewhere`` redirects.
    """

    content: str
    kind: Literal["html", "svg", "text", "elsewhere"] = "html"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRoute:
    """A route of the HTML pages: a page or a form.

    Parameters
    ----------
    method : {"GET", "POST"}
        ``POST`` for forms.
    path : str
        Below ``jupyter-pipelines/``; names of parts that vary stand in braces.
    work : callable
        Makes the answer, in a thread.
    action : {"read", "write", "execute"}
        What the user must be allowed to do.
    """

    method: Method = "GET"
    path: str
    work: Callable[[PageRequest], PageResponse]
    action: Action = "read"

    @property
    def pattern(self) -> str:
        """The path as a regular expression."""
        return pattern_of(self.path)


# Pages


def index_page(visit: PageRequest) -> PageResponse:
    """Show the pipelines below the folder."""
    rows = [_row(visit, notebook) for notebook in find_notebooks(visit.request.known)]
    content = html_elements.table(["notebook", "steps", "last run", "what"], rows) if rows else _NOTHING
    return visit.page("Pipelines", f"<p>{html_elements.text(visit.request.known.root)}</p>", content)


_ALT = "The graph of the pipeline; the table below says the same."
_NOTHING = "<p>No notebook here has a cell that is marked with <code>%%step</code>.</p>"


def _row(visit: PageRequest, notebook: RegisteredNotebook) -> list[str]:
    address = f"{visit.root}/notebooks/{notebook.id}"
    request = replace(visit.request, about=notebook)
    try:
        reading = notebook_routes.reading_of(visit.project, request)
        # A faulty notebook has a row with its error; it must not make the whole index fail.
        last = run_routes.list_runs(visit.project, request)["runs"][:1]
    except PipelinesError as error:
        return [html_elements.link(address, notebook.name), "", "", html_elements.text(error.faults[0].message)]
    steps = str(len(reading.pipeline.steps)) if reading.pipeline else "faulty"
    line = (
        [html_elements.state(str(last[0]["state"])), html_elements.text(last[0]["headline"])]
        if last
        else ["", "no runs yet"]
    )
    return [html_elements.link(address, notebook.name), steps, *line]


def notebook_page(visit: PageRequest) -> PageResponse:
    """Show a notebook: its graph with what a run would do, a form that starts a run, and its runs."""
    drawn = notebook_routes.graph(visit.project, visit.request)
    run_list = run_routes.list_runs(visit.project, visit.request)["runs"]
    body = [_faults(drawn["faults"])]
    if drawn["graph"] is not None:
        body.append(html_elements.picture(f"{visit.here}/graph.svg", _ALT))
        fields = html_elements.fields_of(drawn["graph"]["parameters"]) + html_elements.hidden("key", visit.nonce)
        body.append(f"<h2>Run</h2>{html_elements.form(f'{visit.here}/run', fields, 'Run', visit.xsrf)}")
    body.append(f"<h2>Runs</h2>{html_elements.runs_table(run_list, f'{visit.here}/runs')}")
    if drawn["statuses"] is not None:
        body.append(f"<h2>What a run would do</h2>{html_elements.steps_table(drawn['statuses']['steps'])}")
    return visit.page(visit.request.notebook.name, *body)


def run_page(visit: PageRequest) -> PageResponse:
    """Show a run: its graph, and what became of each step."""
    run = run_routes.document(visit.project, visit.request)
    here, going_on = f"{visit.here}/runs/{run['run']}", run["state"] == RUNNING
    body = [f"<p>{html_elements.state(run['state'])} · {html_elements.text(run['statuses']['headline'])}</p>"]
    if run["graph"] is not None:
        body.append(html_elements.picture(f"{here}/graph.svg", _ALT))
    body.append(html_elements.steps_table(run["statuses"]["steps"], f"{here}/steps"))
    body += [html_elements.form(f"{here}/cancel", "", "Stop this run", visit.xsrf)] if going_on else []
    if run["parameters"]:
        rows = [
            [html_elements.text(name), html_elements.text(repr(value))] for name, value in run["parameters"].items()
        ]
        body.append(f"<h2>Parameters</h2>{html_elements.table(['name', 'value'], rows)}")
    above = html_elements.link(visit.here, visit.request.notebook.name)
    return visit.page(f"Run {run['run']}", *body, above=above, reload=going_on)


def log(visit: PageRequest) -> PageResponse:
    """Show the end of what a step printed, as plain text."""
    return PageResponse(content=run_routes.log(visit.project, visit.request)["text"], kind="text")


# Pictures


def graph(visit: PageRequest) -> PageResponse:
    """Draw the graph with what a run would do."""
    from jupyter_pipelines.errors import PlanError
    from jupyter_pipelines.reporting.step_status import of_plan

    pipeline = notebook_routes.pipeline_of(visit.project, visit.request)
    statuses: Mapping[str, StepStatus] = {}
    if visit.project.has_store(pipeline):
        try:
            statuses = of_plan(visit.project.plan(pipeline, look=True).to_dict())
        except PlanError:  # a parameter has no value yet: there is no plan, but there is a graph
            statuses = {}
    return _drawn(pipeline, statuses)


def graph_of_run(visit: PageRequest) -> PageResponse:
    """Draw the graph with what became of each step."""
    from jupyter_pipelines.reporting.step_status import of_run

    pipeline = notebook_routes.pipeline_of(visit.project, visit.request)
    return _drawn(pipeline, of_run(visit.request.run(visit.project)))


def _drawn(pipeline: Any, statuses: Mapping[str, StepStatus]) -> PageResponse:
    from jupyter_pipelines.reporting.svg.svg import draw

    return PageResponse(content=draw(pipeline, statuses), kind="svg")


# Forms


def run(visit: PageRequest) -> PageResponse:
    """Start a run with the values of the form, and go to its page."""
    fields = {name.removeprefix("p:"): value for name, value in visit.request.body.items() if name.startswith("p:")}
    parameters = {name: value for name, value in fields.items() if value.strip()}
    # The nonce of the page is the idempotency key: a double click or a reload starts one run.
    request = replace(
        visit.request, body={"parameters": parameters}, key=visit.request.body.get("key", "")[:LONGEST_KEY]
    )
    started = run_routes.start_run(visit.project, request)["run"]
    return PageResponse(content=f"{visit.here}/runs/{started}", kind="elsewhere")


def cancel(visit: PageRequest) -> PageResponse:
    """Ask a run to stop, and go back to its page."""
    run_routes.cancel_run(visit.project, replace(visit.request, body={}))
    return PageResponse(content=f"{visit.here}/runs/{visit.request.names['run']}", kind="elsewhere")


def _faults(faults: list[dict[str, Any]]) -> str:
    lines = "".join(map(_fault, faults))
    return f"<h2>What is wrong</h2><ul>{lines}</ul>" if lines else ""


def _fault(fault: Mapping[str, Any]) -> str:
    cell = f", cell {fault['cell']}" if fault["cell"] else ""
    what, way_out = html_elements.text(fault["message"] + cell, 2_000), html_elements.text(fault["suggestion"], 2_000)
    return f"<li><b>{html_elements.text(fault['code'])}</b> {what}<br>{way_out}</li>"


# Finding pipelines


def find_notebooks(known: NotebookRegistry) -> list[RegisteredNotebook]:
    """Return the notebooks below the root that have a step, by name."""
    with_steps = []
    for name in _names(known.root):
        try:
            with_steps.append(known.meet(name))
        except PipelinesError:
            continue
    return with_steps


def _names(root: Path) -> Iterator[str]:
    seen = 0
    for folder, folders, files in os.walk(root):
        depth = len(Path(folder).relative_to(root).parts)
        folders[:] = sorted(name for name in folders if _is_open(Path(folder, name), depth))
        for name in sorted(files):
            seen += 1
            if seen > MOST_FILES:
                return
            path = Path(folder, name)
            if path.suffix == ".ipynb" and not name.startswith(".") and _has_steps(path):
                yield path.relative_to(root).as_posix()


def _is_open(folder: Path, depth: int) -> bool:
    plain = not folder.name.startswith(".") and folder.name not in _SKIPPED_FOLDERS
    # Virtual environments contain notebooks of packages.
    return plain and depth < DEEPEST and not (folder / "pyvenv.cfg").exists()


def _has_steps(path: Path) -> bool:
    try:
        if path.stat().st_size > LARGEST:
            return False
        content = path.read_bytes()
    except OSError:
        return False
    return any(mark in content for mark in _MARKS)


_RUN = "notebooks/{id}/runs/{run}"
VIEWS: tuple[PageRoute, ...] = (
    PageRoute(path="", work=index_page),
    PageRoute(path="notebooks/{id}", work=notebook_page),
    PageRoute(path="notebooks/{id}/graph.svg", work=graph),
    PageRoute(method="POST", path="notebooks/{id}/run", work=run, action="execute"),
    PageRoute(path=_RUN, work=run_page),
    PageRoute(path=f"{_RUN}/graph.svg", work=graph_of_run),
    PageRoute(path=f"{_RUN}/steps/{{step}}/log", work=log),
    PageRoute(method="POST", path=f"{_RUN}/cancel", work=cancel, action="execute"),
)
"""The table of all pages."""
