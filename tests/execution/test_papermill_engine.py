"""The engine as papermill uses it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from jupyter_pipelines.execution.worker.worker import execute
from tests.execution.sample_tickets import TicketFactory, executed

PAPERMILL = [sys.executable, "-m", "papermill"]


@pytest.fixture
def factory(tmp_path: Path) -> TicketFactory:
    return TicketFactory(tmp_path)


@pytest.mark.parametrize(
    "first",
    [
        "papermill",
        "jupyter_pipelines.execution.worker.papermill_engine",
        "jupyter_pipelines.execution.worker.notebook_client",
    ],
)
def test_papermill_and_the_engine_can_be_imported_in_either_order(first: str) -> None:
    code = (
        f"import {first}, papermill.engines\n"
        "from jupyter_pipelines.execution.worker import papermill_engine as engine\n"
        "engine.register()\n"
        "assert papermill.engines.papermill_engines.get_engine('jupyter_pipelines') is engine.PapermillEngine"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_the_engine_costs_papermill_nothing() -> None:
    code = (
        "import sys, jupyter_pipelines.execution.worker.papermill_engine\n"
        "print([name for name in ('papermill', 'nbclient', 'nbformat') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.kernel
@pytest.mark.parametrize("engine", [[], ["--engine", "jupyter_pipelines"]])
def test_a_steps_notebook_runs_by_plain_papermill(factory: TicketFactory, engine: list[str], tmp_path: Path) -> None:
    (factory.project / "helper.py").write_text("def twice(x): return 2 * x")
    (factory.project / "data.csv").write_text("5")
    inputs = {"X": [1, 2], "raw": factory.project / "data.csv"}
    ticket = factory.ticket(
        "y = twice(sum(X)) * n\nreport.write_text(raw.read_text())\nprint('y is', y)",
        inputs=inputs,
        outputs="y report:file",
        shared="from helper import twice",
        parameters={"n": 10},
    )
    assert execute(ticket).state == "succeeded"
    blobs = sorted(factory.store.blobs.digests())
    target = tmp_path / "again.ipynb"
    command = [*PAPERMILL, ticket.publish["notebook"], str(target), "-p", "n", "100", *engine]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    again = nbformat.read(target, as_version=4)
    assert "y is 600\n" in [output.get("text") for cell in again.cells for output in cell.get("outputs", ())]
    assert (Path(ticket.path).with_suffix(".by-hand") / "outputs" / "y" / "value").read_text() == "600"
    assert sorted(factory.store.blobs.digests()) == blobs


@pytest.mark.kernel
def test_the_executed_notebook_is_valid_and_says_what_it_is(factory: TicketFactory) -> None:
    ticket = factory.ticket("x = 1\nx", outputs="x")
    execute(ticket)
    notebook = executed(ticket)
    nbformat.validate(notebook)
    about = notebook.metadata.jupyter_pipelines
    assert (about.run, about.step, about.attempt, about.state, about.error) == ("run", "fit", 1, "succeeded", None)
    assert notebook.metadata.papermill.output_path == ticket.publish["notebook"]
    assert notebook.cells[-2].outputs[0].data == {"text/plain": "1"}
    assert [cell.execution_count for cell in notebook.cells] == [1, 2, 3, 4]


@pytest.mark.kernel
def test_a_failed_cell_is_marked_where_papermill_marks_it(factory: TicketFactory) -> None:
    ticket = factory.ticket("x = 1\n1 / 0")
    execute(ticket)
    notebook = executed(ticket)
    marks = [cell for cell in notebook.cells if "papermill-error-cell-tag" in cell.metadata.get("tags", [])]
    assert len(marks) == 2
    assert notebook.metadata.papermill.exception is True


@pytest.mark.kernel
def test_top_level_await_magics_and_plots_work_as_in_a_notebook(factory: TicketFactory) -> None:
    ticket = factory.ticket(
        "import asyncio\nawait asyncio.sleep(0)\n%time x = 1",
        "import matplotlib\nmatplotlib.use('module://matplotlib_inline.backend_inline')\n"
        "import matplotlib.pyplot as plt\n_ = plt.plot([1, 2])",
        outputs="x",
    )
    assert execute(ticket).fault is None
    assert "image/png" in executed(ticket).cells[-2].outputs[-1].data


@pytest.mark.kernel
def test_tags_that_allow_errors_allow_none_here(factory: TicketFactory) -> None:
    ticket = factory.ticket("1 / 0", "x = 1", outputs="x")
    for cell in ticket.notebook["cells"]:
        cell["metadata"]["tags"] = ["raises-exception"]
    assert execute(ticket).state == "failed"
