"""Worker processes: side by side, killed, orphaned."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from jupyter_pipelines.execution.executors.local import LocalExecutor
from jupyter_pipelines.execution.ticket import StepOutcome, StepTicket, TicketProgress
from tests.execution.sample_tickets import TicketFactory, executed, log_of
from tests.waiting import PATIENCE

pytestmark = pytest.mark.kernel
HANG = "import time\ntime.sleep(600)"
CHILDREN = """
import os, subprocess
plain = subprocess.Popen(["sleep", "600"]).pid
daemon = subprocess.Popen(["sleep", "600"], start_new_session=True).pid
orphan = int(os.popen("setsid sh -c 'sleep 600 >/dev/null & echo $!'").readline())
pids = [plain, daemon, orphan]
print(*pids, os.getpid(), flush=True)
"""


def worker_of(local: LocalExecutor) -> int:
    """Return the id of the worker process of the only ticket."""
    return next(worker._process.pid for worker in local._workers if worker.ticket is not None)


@pytest.fixture
def factory(tmp_path: Path) -> TicketFactory:
    return TicketFactory(tmp_path)


@pytest.fixture
def local() -> Iterator[LocalExecutor]:
    executor = LocalExecutor(2)
    yield executor
    executor.close()


def until(
    local: LocalExecutor, condition: Callable[[TicketProgress | StepOutcome], bool]
) -> TicketProgress | StepOutcome:
    """Poll until a message meets `condition`; the test's own time limit ends a hang."""
    while True:
        for news in local.poll(5):
            if condition(news):
                return news


def outcome(local: LocalExecutor) -> StepOutcome:
    news = until(local, lambda message: isinstance(message, StepOutcome))
    assert isinstance(news, StepOutcome)
    return news


def printed_numbers(local: LocalExecutor) -> list[int]:
    """Wait until a step has printed numbers, and return them."""
    news = until(local, lambda message: isinstance(message, TicketProgress) and message.text[:1].isdigit())
    assert isinstance(news, TicketProgress)
    return [int(word) for word in news.text.split()]


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_children_of_a_step_that_succeeds_are_ended(factory: TicketFactory, local: LocalExecutor) -> None:
    local.submit(factory.ticket(CHILDREN, outputs="pids"))
    finished = outcome(local)
    assert finished.state == "succeeded"
    pids = factory.values(finished.outputs)["pids"]
    assert len(pids) == 3
    assert all(gone(pid) for pid in pids)


@pytest.mark.parametrize("end", ["import os; os._exit(0)", "import os; os.kill(os.getpid(), 9)", "1 / 0"])
def test_children_of_a_step_that_fails_are_ended(factory: TicketFactory, local: LocalExecutor, end: str) -> None:
    ticket = factory.ticket(CHILDREN, end)
    local.submit(ticket)
    assert outcome(local).state in ("died", "failed")
    pids = [int(word) for word in log_of(ticket).split()[:3]]
    assert all(gone(pid) for pid in pids)


def test_two_steps_run_at_once(factory: TicketFactory, local: LocalExecutor) -> None:
    meet = (
        "import pathlib, time\npathlib.Path({mine!r}).touch()\nend = time.monotonic() + 600\n"
        "while not pathlib.Path({other!r}).exists() and time.monotonic() < end: time.sleep(0.01)\n"
        "met = pathlib.Path({other!r}).exists()"
    )
    for mine, other in (("a", "b"), ("b", "a")):
        local.submit(factory.ticket(meet.format(mine=mine, other=other), outputs="met"))
    outcomes = _outcomes(local, 2)
    assert [factory.values(finished.outputs)["met"] for finished in outcomes] == [True, True]


def _outcomes(local: LocalExecutor, number: int) -> list[StepOutcome]:
    outcomes: list[StepOutcome] = []
    while len(outcomes) < number:
        outcomes += [message for message in local.poll(5) if isinstance(message, StepOutcome)]
    return outcomes


@pytest.mark.parametrize("warm", ["0", "1"])
def test_workers_are_used_again_and_tickets_wait(
    factory: TicketFactory, monkeypatch: pytest.MonkeyPatch, warm: str
) -> None:
    monkeypatch.setenv("JUPYTER_PIPELINES_WARM", warm)
    executor = LocalExecutor(1)
    try:
        for _ in range(4):
            executor.submit(factory.ticket("import time\ntimes = [time.monotonic()]", outputs="times"))
        outcomes = _outcomes(executor, 4)
        workers = len(executor._workers)
    finally:
        executor.close()
    times = [factory.values(finished.outputs)["times"][0] for finished in outcomes]
    assert times == sorted(times)
    assert workers <= 2 if executor._may_fork else workers == 1


def test_a_killed_worker_is_told_replaced_and_leaves_nothing(factory: TicketFactory, local: LocalExecutor) -> None:
    local.submit(factory.ticket(CHILDREN, HANG))
    *children, kernel = printed_numbers(local)
    os.kill(worker_of(local), signal.SIGKILL)
    lost = outcome(local)
    assert lost.fault is not None
    assert (lost.state, lost.fault.code) == ("died", "JP308")
    assert "SIGKILL" in lost.fault.message
    assert all(gone(pid) for pid in (*children, kernel))
    assert factory.leftovers() == []
    local.submit(factory.ticket("x = 1", outputs="x"))
    assert outcome(local).state == "succeeded"


@pytest.mark.parametrize("hard", [False, True])
def test_a_cancelled_step_ends_with_its_children(factory: TicketFactory, local: LocalExecutor, hard: bool) -> None:
    ticket = factory.ticket(CHILDREN, HANG)
    local.submit(ticket)
    pids = printed_numbers(local)[:4]
    local.cancel(ticket.id, hard=hard)
    local.cancel(ticket.id, hard=hard)
    assert outcome(local).state == "cancelled"
    assert all(gone(pid) for pid in pids)
    assert executed(ticket).metadata.jupyter_pipelines.state == "cancelled"


def test_a_second_cancel_may_be_harder(factory: TicketFactory, local: LocalExecutor) -> None:
    ticket = factory.ticket(
        "import time\nprint(1, flush=True)\nwhile True:\n    try: time.sleep(600)\n    except KeyboardInterrupt: pass"
    )
    local.submit(ticket)
    assert printed_numbers(local) == [1]
    local.cancel(ticket.id)
    local.cancel(ticket.id, hard=True)
    assert outcome(local).state == "cancelled"


RUNNER = """
import json, sys
from jupyter_pipelines.execution.executors.local import LocalExecutor
from jupyter_pipelines.execution.ticket import StepTicket
local = LocalExecutor(1)
local.submit(StepTicket.from_dict(json.load(open(sys.argv[1]))))
print("worker", local._workers[0]._process.pid, flush=True)
while True:
    for message in local.poll(5):
        print(getattr(message, "text", "over"), flush=True)
"""


def start_runner(ticket: StepTicket, folder: Path, before: str = "") -> tuple[subprocess.Popen[str], list[int]]:
    """Start a runner in a process of its own, and return it with the numbers that the step printed and its worker's."""
    path = folder / "ticket.json"
    path.write_text(json.dumps(ticket.to_dict()))
    runner = subprocess.Popen([sys.executable, "-c", before + RUNNER, str(path)], stdout=subprocess.PIPE, text=True)
    assert runner.stdout is not None
    worker = int(runner.stdout.readline().split()[1])
    for line in runner.stdout:
        if line[:1].isdigit():
            return runner, [*(int(word) for word in line.split()), worker]
    raise AssertionError("the step printed nothing")


@pytest.mark.parametrize("body", [HANG, "while True: pass"])
def test_a_killed_runner_leaves_nothing_behind(factory: TicketFactory, body: str, tmp_path: Path) -> None:
    runner, pids = start_runner(factory.ticket(CHILDREN, body), tmp_path)
    processes = [psutil.Process(pid) for pid in pids]
    with runner:
        runner.kill()
    psutil.wait_procs(processes, timeout=PATIENCE)
    assert all(gone(pid) for pid in pids)
    assert factory.leftovers() == []


def test_a_flood_of_text_stays_out_of_the_workers_memory(factory: TicketFactory, local: LocalExecutor) -> None:
    def worker_memory(body: str) -> tuple[int, StepTicket]:
        ticket = factory.ticket(body)
        local.submit(ticket)
        pid = worker_of(local)
        finished = outcome(local)
        assert finished.fault is None
        status = Path(f"/proc/{pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024, ticket

    if not Path("/proc/self/status").exists():
        pytest.skip("reads the most memory a process ever held from /proc")
    quiet, _ = worker_memory("pass")
    loud, ticket = worker_memory("for _ in range(1000): print('x' * 100_000)")
    assert loud - quiet <= 64 * 2**20
    assert Path(ticket.publish["log"]).stat().st_size >= 100_000_000
    assert Path(ticket.publish["notebook"]).stat().st_size < 1_000_000


def test_closing_ends_what_still_runs(factory: TicketFactory) -> None:
    executor = LocalExecutor(1)
    executor.submit(factory.ticket(CHILDREN, HANG))
    pids = [*printed_numbers(executor), worker_of(executor)]
    executor.close()
    assert all(gone(pid) for pid in pids)
    assert factory.leftovers() == []


def test_nothing_starts_before_the_first_ticket() -> None:
    before = set(psutil.Process().children())
    executor = LocalExecutor(3)
    assert executor.poll(0) == []
    assert executor.jobs == 3
    assert executor.capacity().cpus
    executor.close()
    assert not set(psutil.Process().children()) - before


def test_a_runner_in_the_background_can_still_interrupt(factory: TicketFactory, tmp_path: Path) -> None:
    """A shell starts background jobs with interrupts ignored, and children inherit that."""
    ticket = factory.ticket("print(1, flush=True)", HANG, timeout=20)
    runner, _ = start_runner(ticket, tmp_path, "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n")
    with runner:
        assert runner.stdout is not None
        assert "over\n" in runner.stdout
        runner.kill()
    assert [output.ename for output in executed(ticket).cells[-2].outputs] == ["KeyboardInterrupt", "JP304"]
