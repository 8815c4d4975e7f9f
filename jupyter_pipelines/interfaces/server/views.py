"""The HTML pages: the pipelines below a folder, a pipeline, and a run of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jupyter_pipelines.errors import PipelinesError
from jupyter_pipelines.interfaces.server import notebooks, pages, runs
from jupyter_pipelines.interfaces.server.asking import Action, Method, Request, pattern_of
from jupyter_pipelines.interfaces.server.ledger import RUNNING
from jupyter_pipelines.project import Project

if TYPE_CHECKING:
    from jupyter_pipelines.interfaces.server.known import Known, Notebook
    from jupyter_pipelines.reporting.statuses import Status

MOST_FILES = 5_000
DEEPEST = 6
LARGEST = 50_000_000
LONGEST_KEY = 256
_PASSED_OVER = frozenset({"node_modules", "__pycache__", "site-packages"})
_MARKS = (b"%%step", b"#| step", b"#|step")


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A request for a page.

    Parameters
    ----------
    project : Project
        What does the work.
    request : Request
        What is asked.
    root : str
        The URL of the first page, without a slash at its end.
    nonce : str
        Allows the style of the page.
    xsrf : str
        The field that forms need, as HTML.
    """

    project: Project
    request: Request
    root: str
    nonce: str = ""
    xsrf: str = ""

    @property
    def here(self) -> str:
        """Where the pages of the notebook are."""
        return f"{self.root}/notebooks/{self.request.notebook.id}"

    def page(self, title: str, *body: str, above: str = "", reload: bool = False) -> Shown:
        """Return a page, with a link to the first page."""
        links = " · ".join(part for part in (pages.link(f"{self.root}/", "Pipelines"), above) if part)
        return Shown(content=pages.page(title, body, nonce=self.nonce, above=links, reload=reload))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The answer to a request for a page.

    Parameters
    ----------
    content : str
        The page; or where to go on.
    kind : {"html", "svg", "text", "elsewhere"}
        What it is.
    """

    content: str
    kind: Literal["html", "svg", "text", "elsewhere"] = "html"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
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
    work: Callable[[Visit], Shown]
    action: Action = "read"

    @property
    def pattern(self) -> str:
        """The path as a regular expression."""
        return pattern_of(self.path)


# Pages


def first(visit: Visit) -> Shown:
    """Show the pipelines below the folder."""
    rows = [_row(visit, notebook) for notebook in found(visit.request.known)]
    content = pages.table(["notebook", "steps", "last run", "what"], rows) if rows else _NOTHING
    return visit.page("Pipelines", f"<p>{pages.text(visit.request.known.root)}</p>", content)


_ALT = "The graph of the pipeline; the table below says the same."
_NOTHING = "<p>No notebook here has a cell that is marked with <code>%%step</code>.</p>"


def _row(visit: Visit, notebook: Notebook) -> list[str]:
    address = f"{visit.root}/notebooks/{notebook.id}"
    request = replace(visit.request, about=notebook)
    try:
        reading = notebooks.reading_of(visit.project, request)
        last = runs.listed(visit.project, request)["runs"][:1]
    except PipelinesError as error:
        return [pages.link(address, notebook.name), "", "", pages.text(error.faults[0].message)]
    steps = str(len(reading.pipeline.steps)) if reading.pipeline else "faulty"
    line = [pages.state(str(last[0]["state"])), pages.text(last[0]["headline"])] if last else ["", "no runs yet"]
    return [pages.link(address, notebook.name), steps, *line]


def about(visit: Visit) -> Shown:
    """Show a notebook: its graph with what a run would do, a form that starts a run, and its runs."""
    drawn = notebooks.graph(visit.project, visit.request)
    run_list = runs.listed(visit.project, visit.request)["runs"]
    body = [_faults(drawn["faults"])]
    if drawn["graph"] is not None:
        body.append(pages.picture(f"{visit.here}/graph.svg", _ALT))
        fields = pages.fields_of(drawn["graph"]["parameters"]) + pages.hidden("key", visit.nonce)
        body.append(f"<h2>Run</h2>{pages.form(f'{visit.here}/run', fields, 'Run', visit.xsrf)}")
    body.append(f"<h2>Runs</h2>{pages.runs_table(run_list, f'{visit.here}/runs')}")
    if drawn["statuses"] is not None:
        body.append(f"<h2>What a run would do</h2>{pages.steps_table(drawn['statuses']['steps'])}")
    return visit.page(visit.request.notebook.name, *body)


def about_run(visit: Visit) -> Shown:
    """Show a run: its graph, and what became of each step."""
    run = runs.document(visit.project, visit.request)
    here, going_on = f"{visit.here}/runs/{run['run']}", run["state"] == RUNNING
    body = [f"<p>{pages.state(run['state'])} · {pages.text(run['statuses']['headline'])}</p>"]
    if run["graph"] is not None:
        body.append(pages.picture(f"{here}/graph.svg", _ALT))
    body.append(pages.steps_table(run["statuses"]["steps"], f"{here}/steps"))
    body += [pages.form(f"{here}/cancel", "", "Stop this run", visit.xsrf)] if going_on else []
    if run["parameters"]:
        rows = [[pages.text(name), pages.text(repr(value))] for name, value in run["parameters"].items()]
        body.append(f"<h2>Parameters</h2>{pages.table(['name', 'value'], rows)}")
    above = pages.link(visit.here, visit.request.notebook.name)
    return visit.page(f"Run {run['run']}", *body, above=above, reload=going_on)


def log(visit: Visit) -> Shown:
    """Show the end of what a step printed, as plain text."""
    return Shown(content=runs.log(visit.project, visit.request)["text"], kind="text")


# Pictures


def graph(visit: Visit) -> Shown:
    """Draw the graph with what a run would do."""
    from jupyter_pipelines.errors import PlanError
    from jupyter_pipelines.reporting.statuses import of_plan

    pipeline = notebooks.pipeline_of(visit.project, visit.request)
    statuses: Mapping[str, Status] = {}
    if visit.project.has_store(pipeline):
        try:
            statuses = of_plan(visit.project.plan(pipeline).to_dict())
        except PlanError:  # a parameter has no value yet: there is no plan, but there is a graph
            statuses = {}
    return _drawn(pipeline, statuses)


def graph_of_run(visit: Visit) -> Shown:
    """Draw the graph with what became of each step."""
    from jupyter_pipelines.reporting.statuses import of_run

    pipeline = notebooks.pipeline_of(visit.project, visit.request)
    return _drawn(pipeline, of_run(visit.request.run(visit.project)))


def _drawn(pipeline: Any, statuses: Mapping[str, Status]) -> Shown:
    from jupyter_pipelines.reporting.drawing import draw

    return Shown(content=draw(pipeline, statuses), kind="svg")


# Forms


def run(visit: Visit) -> Shown:
    """Start a run with the values of the form, and go to its page."""
    fields = {name.removeprefix("p:"): value for name, value in visit.request.body.items() if name.startswith("p:")}
    parameters = {name: value for name, value in fields.items() if value.strip()}
    # Sent twice, by two clicks or by loading the page again, a form starts one run.
    request = replace(
        visit.request, body={"parameters": parameters}, key=visit.request.body.get("key", "")[:LONGEST_KEY]
    )
    started = runs.started(visit.project, request)["run"]
    return Shown(content=f"{visit.here}/runs/{started}", kind="elsewhere")


def cancel(visit: Visit) -> Shown:
    """Ask a run to stop, and go back to its page."""
    runs.cancelled(visit.project, replace(visit.request, body={}))
    return Shown(content=f"{visit.here}/runs/{visit.request.names['run']}", kind="elsewhere")


def _faults(faults: list[dict[str, Any]]) -> str:
    lines = "".join(map(_fault, faults))
    return f"<h2>What is wrong</h2><ul>{lines}</ul>" if lines else ""


def _fault(fault: Mapping[str, Any]) -> str:
    cell = f", cell {fault['cell']}" if fault["cell"] else ""
    what, way_out = pages.text(fault["message"] + cell, 2_000), pages.text(fault["suggestion"], 2_000)
    return f"<li><b>{pages.text(fault['code'])}</b> {what}<br>{way_out}</li>"


# Finding pipelines


def found(known: Known) -> list[Notebook]:
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
    plain = not folder.name.startswith(".") and folder.name not in _PASSED_OVER
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
VIEWS: tuple[View, ...] = (
    View(path="", work=first),
    View(path="notebooks/{id}", work=about),
    View(path="notebooks/{id}/graph.svg", work=graph),
    View(method="POST", path="notebooks/{id}/run", work=run, action="execute"),
    View(path=_RUN, work=about_run),
    View(path=f"{_RUN}/graph.svg", work=graph_of_run),
    View(path=f"{_RUN}/steps/{{step}}/log", work=log),
    View(method="POST", path=f"{_RUN}/cancel", work=cancel, action="execute"),
)
"""The table of all pages."""
