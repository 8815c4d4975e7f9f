"""Test runs that outlive the process that started them, with real processes and kernels."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from jupyter_client.manager import KernelManager

from jupyter_pipelines import project as projects
from jupyter_pipelines.errors import ExecutorLost, PlanError
from jupyter_pipelines.project import Project
from tests.e2e.notebook_project import CommandResult, NotebookProject
from tests.kernels import kernel_manager
from tests.waiting import PATIENCE

WAIT = "import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))\n"
WAIT += "while not pathlib.Path('go').exists():\n    time.sleep(0.01)\n"
CELLS = (
    "%%params\ncount: int = 3",
    f"%%step slow -o slow -p count\nprint('begun', flush=True)\n{WAIT}slow = count",
    "%%step after -i slow -o after\nafter = slow * 10",
)
CALLER = """
import sys, time
from jupyter_pipelines.project import Project
print(Project().detach(sys.argv[1]), flush=True)
time.sleep(600)
"""


@pytest.fixture
def waiting(book: NotebookProject) -> Iterator[NotebookProject]:
    """A pipeline whose first step waits for a file; nothing is left running in the end."""
    yield book.write(*CELLS)
    (book.folder / "go").touch()
    for run in Project().runs(Project().home(book.path)):
        list(Project().follow(Project().home(book.path), run["run"]))


def detached(book: NotebookProject, *options: str) -> str:
    """Start a run, wait until its first step runs, and return its id."""
    answer = book.call("run", "--detach", "--json", *options)
    assert answer.code == 0, answer.err
    assert answer.document["state"] == "running"
    until_it_waits(book)
    return answer.document["run"]


def until_it_waits(book: NotebookProject) -> int:
    while not ((path := book.folder / "pid").exists() and path.read_text()):
        time.sleep(0.02)
    return int(path.read_text())


def ended(book: NotebookProject, run: str) -> dict:
    """Let the run go on, follow it to its end, and return its document."""
    (book.folder / "go").touch()
    project = Project()
    home = project.home(book.path)
    assert list(project.follow(home, run))[-1]["event"] == "run-finished"
    return project.run_document(home, run)


def runner(book: NotebookProject, run: str) -> psutil.Process:
    document = json.loads((book.folder / ".pipelines" / "runs" / run / "run.json").read_text())
    return psutil.Process(document["owner"]["pid"])


def cmdline(process: psutil.Process) -> list[str]:
    """Return the command of a process; of one that has ended, as other tests' children may have, its name only."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # a zombie, too
        return [process.name()]


def test_a_run_goes_on_when_its_command_has_ended(waiting: NotebookProject) -> None:
    """R79."""
    run = detached(waiting, "-p", "count=4")
    process = runner(waiting, run)
    assert process.ppid() in (1, *(parent.pid for parent in psutil.Process().parents()))
    assert os.getsid(process.pid) != os.getsid(0)
    assert process.terminal() is None
    document = ended(waiting, run)
    assert document["state"] == "succeeded"
    assert document["parameters"] == {"count": 4}
    assert waiting.value("after.after") == 40
    assert not (waiting.folder / ".pipelines" / "runs" / run / "order.json").exists()
    process.wait(PATIENCE)


def test_what_is_wrong_is_told_and_nothing_is_started(book: NotebookProject) -> None:
    book.write(*CELLS)
    for options, code in ((["-p", "count=many"], "JP502"), (["--to", "slwo"], "JP603"), (["--on", "mars"], "JP602")):
        answer = book.call("run", "--detach", "--json", *options)
        assert (answer.code, answer.document["faults"][0]["code"]) == (2, code)
    book.write(*CELLS[:2], "%%step after -i slwo -o after\nafter = 1")
    assert book.call("run", "--detach").code == 2
    assert list((book.folder / ".pipelines" / "runs").glob("*")) == []


def test_what_only_the_process_finds_out_is_told_too(book: NotebookProject, monkeypatch: pytest.MonkeyPatch) -> None:
    book.write("%%step big -o a --cpus 5000\na = 1")
    with pytest.raises(PlanError, match="JP604"):
        Project().detach(book.path)
    monkeypatch.setattr(projects, "RUN_PROCESS", "jupyter_pipelines.no_such_module")
    book.write(*CELLS)
    with pytest.raises(ExecutorLost, match="no_such_module"):
        Project().detach(book.path)
    assert list((book.folder / ".pipelines" / "runs").glob("*")) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
def test_a_run_goes_on_when_a_server_ends_with_its_whole_process_group(waiting: NotebookProject, number: int) -> None:
    """R74."""
    server = subprocess.Popen(
        [sys.executable, "-c", CALLER, str(waiting.path)],
        cwd=waiting.folder,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with server:
        run = server.stdout.readline().strip()
        until_it_waits(waiting)
        os.killpg(server.pid, number)
        server.wait()
    assert ended(waiting, run)["state"] == "succeeded"


def test_a_terminal_that_goes_away_is_none_of_its_business(waiting: NotebookProject) -> None:
    """R79."""
    run = detached(waiting)
    runner(waiting, run).send_signal(signal.SIGHUP)
    assert ended(waiting, run)["state"] == "succeeded"


@pytest.mark.parametrize("now", [False, True])
def test_a_run_goes_on_when_the_kernel_that_started_it_is_restarted(waiting: NotebookProject, now: bool) -> None:
    """R73."""
    manager, client = kernel(waiting)
    client.execute_interactive("%pipeline run --detach", timeout=PATIENCE, output_hook=lambda message: None)
    until_it_waits(waiting)
    manager.restart_kernel(now=now)
    client.wait_for_ready(PATIENCE)
    printed: list[str] = []
    (waiting.folder / "go").touch()
    client.execute_interactive(
        "%load_ext jupyter_pipelines\n%pipeline attach", timeout=PATIENCE, output_hook=collect_texts_in(printed)
    )
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    assert waiting.call("runs", "--json").document["runs"][0]["state"] == "succeeded"
    assert "done" in printed[-1]


def kernel(book: NotebookProject) -> tuple[KernelManager, object]:
    manager = kernel_manager()
    manager.start_kernel(
        cwd=str(book.folder),
        env={**os.environ, "JUPYTER_PIPELINES_NOTEBOOK": str(book.path)},
    )
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(PATIENCE)
    client.execute_interactive("%load_ext jupyter_pipelines", timeout=PATIENCE)
    return manager, client


def collect_texts_in(printed: list[str]) -> Callable[[dict], None]:
    def collect(message: dict) -> None:
        content = message["content"]
        if message["msg_type"] == "stream":
            printed.append(content["text"])
        elif "text/plain" in content.get("data", {}):
            printed.append(content["data"]["text/plain"])

    return collect


def test_texts_that_were_executed_and_not_saved_count_and_later_edits_do_not(waiting: NotebookProject) -> None:
    saved = waiting.path.read_bytes()
    manager, client = kernel(waiting)
    cell = CELLS[2].replace("* 10", "* 100")
    content = {"code": cell, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
    message = client.session.msg("execute_request", content)
    message["metadata"] = {"cellId": "c2"}
    client.execute_interactive("slow = 0", timeout=PATIENCE)
    client.shell_channel.send(message)
    client.execute_interactive("%pipeline run --detach", timeout=PATIENCE)
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    assert waiting.path.read_bytes() == saved
    until_it_waits(waiting)
    waiting.edit("slow * 10", "slow * 7")
    document = ended(waiting, waiting.call("runs", "--json").document["runs"][0]["run"])
    assert document["state"] == "succeeded"
    assert waiting.value("after.after") == 300


def test_attach_shows_a_run_that_goes_on_and_one_that_is_over(waiting: NotebookProject) -> None:
    run = detached(waiting)
    process = waiting.start("attach", "--json", run[-6:])
    line = process.stderr.readline()
    assert run in line
    assert "slow" in process.stderr.readline()
    (waiting.folder / "go").touch()
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert json.loads(out)["run"] == run
    assert CommandResult(0, out, err).steps("state") == {"slow": "succeeded", "after": "succeeded"}
    again = waiting.call("attach")
    assert (again.code, again.err.count("done")) == (0, 2)
    assert "2 steps ran" in again.out


def test_an_interrupt_ends_the_showing_and_not_the_run(waiting: NotebookProject) -> None:
    run = detached(waiting)
    process = waiting.start("attach")
    process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "goes on" in err
    assert ended(waiting, run)["state"] == "succeeded"


def test_a_run_whose_process_was_killed_is_lost_at_the_next_look_and_a_plain_rerun_completes(
    waiting: NotebookProject,
) -> None:
    """R30."""
    run = detached(waiting)
    attached = waiting.start("attach", "--json")
    attached.stderr.readline()
    step = until_it_waits(waiting)
    killed = runner(waiting, run)
    killed.kill()
    out, _ = attached.communicate(timeout=PATIENCE)
    assert (attached.returncode, json.loads(out)["state"]) == (1, "lost")
    assert waiting.call("attach").code == 1
    cancelled = waiting.call("cancel", "--json")
    assert (cancelled.code, cancelled.document["state"]) == (0, "lost")
    while psutil.pid_exists(step):
        time.sleep(0.02)
    (waiting.folder / "go").touch()
    assert waiting.run().code == 0
    assert waiting.value("after.after") == 30


def test_a_runner_that_is_stopped_is_not_taken_for_dead(waiting: NotebookProject) -> None:
    run = detached(waiting)
    process = runner(waiting, run)
    process.suspend()
    assert waiting.call("runs", "--json").document["runs"][0]["state"] == "running"
    assert waiting.call("cancel", "--json").document["state"] == "cancelling"
    process.resume()
    assert ended(waiting, run)["state"] == "cancelled"


def test_cancel_ends_a_detached_run_and_says_later_that_it_is_over(waiting: NotebookProject) -> None:
    """R75."""
    run = detached(waiting)
    step = until_it_waits(waiting)
    for _ in range(2):
        answer = waiting.call("cancel", run[-6:], "--json")
        assert (answer.code, answer.document["run"]) == (0, run)
        assert answer.document["state"] in ("cancelling", "cancelled")
    attached = waiting.call("attach", "--json")
    assert (attached.code, attached.document["state"]) == (130, "cancelled")
    assert not psutil.pid_exists(step)
    assert "over already: cancelled" in waiting.call("cancel", "--now").out


def test_cancel_of_one_step_leaves_the_others_alone(book: NotebookProject) -> None:
    """R75."""
    book.write(*CELLS, "%%step other -o other\nother = 1")
    run = detached(book)
    assert book.call("cancel", "--step", "slow", "--json").document["state"] == "cancelling"
    attached = book.call("attach", "--json")
    assert attached.steps("state") == {"slow": "cancelled", "after": "blocked", "other": "succeeded"}
    assert "succeeded" in book.call("cancel", run, "--step", "other").out
    assert book.call("cancel", "--step", "nobody").code == 2


def test_cancel_reaches_runs_in_a_shell_and_in_a_kernel(waiting: NotebookProject) -> None:
    """R75."""
    process = waiting.start("run", "--json")
    until_it_waits(waiting)
    assert waiting.call("cancel").code == 0
    out, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, json.loads(out)["state"]) == (130, "cancelled")
    (waiting.folder / "pid").unlink()
    manager, client = kernel(waiting)
    sent = client.execute("%pipeline run")
    until_it_waits(waiting)
    assert waiting.call("cancel", "--now").code == 0
    reply = client.get_shell_msg(timeout=PATIENCE)
    assert reply["parent_header"]["msg_id"] == sent
    assert "JP306" in "".join(reply["content"]["traceback"])
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_the_runs_of_a_faulty_notebook_can_be_listed_cancelled_and_attached(waiting: NotebookProject) -> None:
    run = detached(waiting)
    waiting.write(*CELLS[:2], "%%step after -i slwo -o after\nafter = 1")
    assert waiting.call("runs", "--json").document["runs"][0]["run"] == run
    assert waiting.call("cancel", "--json").document["state"] == "cancelling"
    answer = waiting.call("attach")
    assert answer.code == 130
    assert "slow" in answer.out


def test_many_runs_leave_no_process_with_the_caller(book: NotebookProject) -> None:
    book.write("%%step one -o a -p count\na = count", "%%params\ncount: int = 1")
    project = Project()
    for count in range(3):
        run = project.detach(book.path, {"count": count})
        assert list(project.follow(project.home(book.path), run))[-1]["state"] == "succeeded"
    assert not [child for child in psutil.Process().children() if "project.run_process" in " ".join(cmdline(child))]
    assert not [path for path in Path("/proc/self/fd").iterdir() if "runner.log" in os.path.realpath(path)]
