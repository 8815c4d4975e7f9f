"""The run loop with real kernels; the other tests of the loop use plain functions for steps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_pipelines.execution.executors.local import LocalExecutor
from jupyter_pipelines.execution.runs.events import Event, StepProgress
from jupyter_pipelines.execution.runs.result import Run
from jupyter_pipelines.execution.scheduler.loop import run_plan
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.store import Store
from tests.execution.execution_fakes import NOTEBOOK, pipeline_of, plan, step
from tests.waiting import PATIENCE

pytestmark = pytest.mark.kernel


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "store")
    yield opened
    opened.close()


def states(result: Run) -> dict[str, str]:
    return {name: step_run.state for name, step_run in result.steps.items()}


def test_values_pass_from_kernel_to_kernel_and_are_reused(tmp_path: Path, store: Store) -> None:
    pipeline = pipeline_of(
        tmp_path,
        step("load", outputs="rows", code="rows = [1, 2, 3]\nprint('three')"),
        step("total", "rows=load.rows", "total", code="total = sum(rows) * factor", parameters=("factor",)),
    )
    first = run_plan(
        plan(pipeline, store, values={"factor": 2}), store=store, executor=LocalExecutor(1), notebook=NOTEBOOK
    )
    assert states(first) == {"load": "succeeded", "total": "succeeded"}, str(first)
    assert first["total"].outputs["total"] == 12
    assert Path(first["load"].log or "").read_text() == "three\n"
    second = run_plan(
        plan(pipeline, store, values={"factor": 3}), store=store, executor=LocalExecutor(1), notebook=NOTEBOOK
    )
    assert states(second) == {"load": "reused", "total": "succeeded"}
    assert second["total"].outputs["total"] == 18


def test_a_retry_gets_a_fresh_kernel(tmp_path: Path, store: Store) -> None:
    code = (
        "import os, pathlib\n"
        "note = pathlib.Path('pids')\n"
        "before = note.read_text().split() if note.exists() else []\n"
        "note.write_text(' '.join([*before, str(os.getpid())]))\n"
        "if not before:\n"
        "    os._exit(3)\n"
        "pids = [*before, str(os.getpid())]"
    )
    pipeline = pipeline_of(tmp_path, step("load", outputs="pids", code=code, retries=1))
    result = run_plan(plan(pipeline, store), store=store, executor=LocalExecutor(1), notebook=NOTEBOOK)
    assert (result["load"].state, result["load"].attempts) == ("succeeded", 2), str(result)
    assert len(set(result["load"].outputs["pids"])) == 2
    folder = store.runs.folder(result.id)
    assert (folder / "load.attempt-1.ipynb").exists()


def test_an_interrupt_cancels_a_kernel_that_will_not_stop(tmp_path: Path, store: Store) -> None:
    code = (
        "import os, time\n"
        "print(os.getpid(), flush=True)\n"
        "while True:\n"
        "    try:\n"
        "        time.sleep(600)\n"
        "    except BaseException:\n"
        "        pass\n"
        "x = 1"
    )
    pipeline = pipeline_of(tmp_path, step("rude", outputs="x", code=code), step("after", "x=rude.x", "y", code="y = x"))
    pids: list[int] = []

    def interrupt(*, event: Event) -> None:
        if isinstance(event, StepProgress) and event.text.isdigit() and not pids:
            pids.append(int(event.text))
            signal.raise_signal(signal.SIGINT)

    result = run_plan(
        plan(pipeline, store), store=store, executor=LocalExecutor(1), observers=[interrupt], notebook=NOTEBOOK
    )
    assert result.state == "cancelled"
    assert states(result) == {"rude": "cancelled", "after": "cancelled"}
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
    assert list((store.root / "tmp").iterdir()) == []


PROGRAM = """
import sys
from pathlib import Path
from jupyter_pipelines.execution.executors.local import LocalExecutor
from jupyter_pipelines.execution.scheduler.loop import run_plan
from jupyter_pipelines.storage.opening import open_store
from tests.execution.execution_fakes import NOTEBOOK, pipeline_of, plan, step

folder = Path(sys.argv[1])
note = "with open('computed', 'a') as file:\\n    file.write({!r})\\n"
pipeline = pipeline_of(
    folder,
    step("a", "", "x", code=note.format("a") + "x = 1"),
    step("b", "x=a.x", "y", code=note.format("b") + "y = x + 1"),
    step("c", "x=a.x", "z", code=note.format("c") + "z = x + 2"),
)
store = open_store(folder / "store")
result = run_plan(plan(pipeline, store), store=store, executor=LocalExecutor(2), notebook=NOTEBOOK)
print(result.state, result["b"].outputs["y"], result["c"].outputs["z"])
"""


def test_two_processes_compute_each_step_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    root = Path(__file__).parents[2]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) for _ in range(2)]
    assert [process.communicate(timeout=PATIENCE)[0] for process in both] == ["succeeded 2 3\n"] * 2
    assert sorted((tmp_path / "computed").read_text()) == ["a", "b", "c"]
