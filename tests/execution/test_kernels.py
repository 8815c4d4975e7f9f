"""The kernel of an attempt: private, watched, gone."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from jupyter_pipelines.execution.kernels import processes
from jupyter_pipelines.execution.kernels.launch import KernelStartError, StepKernel, describe_exit, private_folder
from jupyter_pipelines.execution.kernels.watchdog import CancelToken, KernelWatchdog
from tests.waiting import PATIENCE

pytestmark = pytest.mark.kernel
SOCKET_PATH = 107
"""The longest path that a socket may have on Linux; 103 on macOS."""


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[StepKernel]:
    step_kernel = StepKernel(name=None, cwd=str(tmp_path), environment=os.environ, log=tmp_path / "log")
    yield step_kernel
    step_kernel.close()
    assert not step_kernel.folder.exists()


def started(kernel: StepKernel) -> StepKernel:
    kernel.launch()
    kernel.connect(PATIENCE, lambda: False)
    return kernel


def test_sockets_are_files_that_only_their_owner_reaches(kernel: StepKernel) -> None:
    started(kernel)
    assert kernel.folder.stat().st_mode & 0o777 == 0o700
    sockets = [path for path in kernel.folder.iterdir() if path.is_socket()]
    assert len(sockets) == 5
    assert max(len(str(path)) for path in sockets) < 100
    assert kernel.manager.get_connection_info()["transport"] == "ipc"


def test_it_leads_a_process_group(kernel: StepKernel) -> None:
    started(kernel)
    assert os.getpgid(kernel.pid) == kernel.pid != os.getpgid(0)


def test_a_kernel_that_has_not_started_gets_no_signal(kernel: StepKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its number is 0, and the group 0 is our own."""
    signalled: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "killpg", lambda *call: signalled.append(call))
    kernel.send("SIGINT")
    kernel.shut_down(0)
    assert signalled == []


def test_it_says_what_it_speaks_and_leaves_by_itself(kernel: StepKernel) -> None:
    started(kernel)
    assert kernel.language["name"] == "python"
    kernel.shut_down(PATIENCE)
    assert kernel.exit_code() == 0


def test_expressions_leave_no_trace(kernel: StepKernel, tmp_path: Path) -> None:
    started(kernel)
    kernel.evaluate(f"open({str(tmp_path / 'seen')!r}, 'w').close()", PATIENCE)
    assert (tmp_path / "seen").exists()
    with pytest.raises(KernelStartError, match="ZeroDivisionError"):
        kernel.evaluate("1 / 0", PATIENCE)


def test_a_death_while_it_starts_is_noticed(kernel: StepKernel) -> None:
    kernel.launch()
    kernel.kill()
    with pytest.raises(KernelStartError, match="SIGKILL"):
        kernel.connect(PATIENCE, lambda: False)


def test_patience_ends(kernel: StepKernel) -> None:
    kernel.launch()
    with pytest.raises(KernelStartError, match="within 0 s"):
        kernel.connect(0, lambda: False)


def test_a_kernel_that_is_not_wanted_is_not_waited_for(kernel: StepKernel) -> None:
    kernel.launch()
    with pytest.raises(KernelStartError, match="no longer wanted"):
        kernel.connect(PATIENCE, lambda: True)


def test_a_kernel_that_does_not_leave_is_ended(kernel: StepKernel) -> None:
    started(kernel).evaluate("__import__('atexit').register(__import__('time').sleep, 600)", PATIENCE)
    kernel.shut_down(0.2)
    assert kernel.exit_code() is not None


def test_what_a_kernel_says_before_it_runs_is_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ipykernel_launcher.py").write_text("raise SystemExit('no kernel today')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    kernel = StepKernel(name=None, cwd=str(tmp_path), environment=environment, log=tmp_path / "log")
    try:
        kernel.launch()
        with pytest.raises(KernelStartError, match="status 1"):
            kernel.connect(PATIENCE, lambda: False)
    finally:
        kernel.close()
    assert "no kernel today" in (tmp_path / "log").read_text()


def test_long_temporary_folders_are_avoided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    folder = private_folder()
    folder.rmdir()
    assert len(str(folder)) + len("/k-ipc-65535") <= SOCKET_PATH
    assert list(long.iterdir()) == []


def test_exit_statuses_in_words() -> None:
    assert describe_exit(-9) == "by SIGKILL"
    assert describe_exit(3) == "with status 3"
    assert describe_exit(-63) == "by signal 63"


def test_a_watch_that_is_stopped_did_nothing(kernel: StepKernel) -> None:
    watch = KernelWatchdog(started(kernel), timeout=600, cancel=CancelToken(), report=lambda: None)
    watch.start()
    watch.stop()
    assert watch.reason is None
    assert kernel.exit_code() is None


@pytest.mark.parametrize("hard", [False, True])
def test_a_watch_ends_a_kernel_that_is_not_wanted(kernel: StepKernel, hard: bool) -> None:
    cancel = CancelToken()
    started(kernel).evaluate("__import__('signal').signal(__import__('signal').SIGUSR1, lambda *_: None)", PATIENCE)
    watch = KernelWatchdog(kernel, timeout=None, cancel=cancel, report=lambda: None)
    cancel.ask(hard=hard)
    watch.start()
    watch.join()
    assert watch.reason == "cancelled"
    kernel.shut_down(0)
    assert kernel.exit_code() == (-9 if hard else -15)


SLEEP = "import time; time.sleep(600)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); {SLEEP}"
PARENT = (
    f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); print('up', flush=True); {SLEEP}"
)


def spawn(code: str, **environment: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


@pytest.mark.parametrize("code", [DEAF, PARENT, "print('done')"])
def test_every_process_is_ended_even_a_deaf_one(code: str) -> None:
    process = spawn(code)
    family = [psutil.Process(process.pid), *processes.descendants(process.pid)]
    with process:
        processes.end_all(lambda: [process for process in family if process.is_running()])
        assert process.poll() is not None or not psutil.pid_exists(process.pid)
    assert [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []


def test_processes_are_found_by_what_they_inherit(tmp_path: Path) -> None:
    process = spawn(PARENT, JUPYTER_PIPELINES_ATTEMPT=str(tmp_path))
    with process:
        marked = processes.marked_processes("JUPYTER_PIPELINES_ATTEMPT", str(tmp_path))
        assert len(marked) == 2
        processes.kill_all(lambda: processes.marked_processes("JUPYTER_PIPELINES_ATTEMPT", str(tmp_path)))
    assert processes.marked_processes("JUPYTER_PIPELINES_ATTEMPT", str(tmp_path)) == []


def test_asking_from_any_thread_is_heard() -> None:
    cancel = CancelToken()
    assert (cancel.asked, cancel.hard) == (False, False)
    thread = threading.Thread(target=cancel.ask)
    thread.start()
    thread.join()
    assert (cancel.asked, cancel.hard) == (True, False)
    cancel.ask(hard=True)
    assert cancel.hard


def test_what_starts_the_users_own_sessions_does_not_start_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "mine.py").write_text(f"open({str(tmp_path / 'started')!r}, 'w').close()")
    (tmp_path / "rc.py").write_text(f"open({str(tmp_path / 'started')!r}, 'w').close()")
    variables = {"IPYTHONDIR": str(tmp_path / "ipython"), "PYTHONSTARTUP": str(tmp_path / "rc.py")}
    environment = {**os.environ, **variables}
    kernel = StepKernel(name=None, cwd=str(tmp_path), environment=environment, log=tmp_path / "log")
    try:
        started(kernel)
    finally:
        kernel.close()
    assert not (tmp_path / "started").exists()
