"""The tree of forking processes: which modules it may import, how its processes end, and what its clients get."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from jupyter_pipelines.execution.executors.local import WORKERS
from jupyter_pipelines.execution.kernels import process_wait
from jupyter_pipelines.execution.kernels.launch_environment import KERNELS
from jupyter_pipelines.execution.prefork import fork_safety, socket_messages
from jupyter_pipelines.execution.prefork.client import ForkedProcess, ForkUnavailable, prepare
from jupyter_pipelines.execution.prefork.zygote_handle import ZygoteHandle, can_fork
from jupyter_pipelines.execution.prefork.zygote_pool import ZygotePool
from tests.waiting import PATIENCE

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(not can_fork({}), reason="forked processes are for Linux"),
]
READY = ("ready", "refused", "ended")


class ZygoteTree:
    """A zygote with its tree of processes, and requests to it."""

    def __init__(self, packages: Path, work: Path) -> None:
        self.packages, self.work = packages, work
        self.environment = {**os.environ, "PYTHONPATH": str(packages)}
        self.zygote = ZygoteHandle(self.environment, ("--HistoryManager.hist_file=:memory:",), (KERNELS,))

    def request(self, *shared: str, own: tuple[str, ...] = ()) -> dict[str, Any]:
        return {"kind": KERNELS, "cwd": str(self.work), "shared": list(shared), "own": list(own)}

    def ask(self, *shared: str, own: tuple[str, ...] = (), **environment: str) -> ForkedProcess:
        order = {"cwd": str(self.work), "environment": self.environment | environment}
        with Path(os.devnull).open("r+b") as nothing:
            return ForkedProcess(
                self.zygote.path, self.request(*shared, own=own) | {"order": order}, [nothing.fileno()] * 3
            )

    def fork(self, *shared: str, own: tuple[str, ...] = ()) -> ForkedProcess:
        """Request a process, and wait until it is ready."""
        process = self.ask(*shared, own=own)
        process.settle(lambda: False)
        return process

    def package(self, name: str, text: str) -> str:
        (self.packages / f"{name}.py").write_text(text)
        return name

    def members(self) -> list[psutil.Process]:
        root = psutil.Process(self.zygote._process.pid)
        return [root, *root.children(recursive=True)]

    def branch_of(self, process: ForkedProcess) -> psutil.Process:
        parent = psutil.Process(process.pid).parent()
        assert parent is not None
        return parent


@pytest.fixture
def make_tree(tmp_path: Path) -> Iterator[Callable[[], ZygoteTree]]:
    # Named so that what is in it counts as installed.
    packages, work = tmp_path / "site-packages", tmp_path / "work"
    made: list[ZygoteTree] = []

    def tree() -> ZygoteTree:
        packages.mkdir(exist_ok=True)
        work.mkdir(exist_ok=True)
        made.append(ZygoteTree(packages, work))
        return made[-1]

    yield tree
    for zygote_tree in made:
        zygote_tree.zygote.close()


@pytest.fixture
def tree(make_tree: Callable[[], ZygoteTree]) -> ZygoteTree:
    return make_tree()


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZygoteTree]:
    """A tree shared by the tests that change nothing in it except the list of refused packages."""
    folder = tmp_path_factory.mktemp("tree")
    for name in ("site-packages", "work", "elsewhere"):
        (folder / name).mkdir()
    shared = ZygoteTree(folder / "site-packages", folder / "work")
    yield shared
    shared.zygote.close()


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_gone(*processes: psutil.Process) -> None:
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE)
    assert not [process for process in alive if not gone(process.pid)]


UNFIT = {
    "threads": (
        "import _thread\nlock = _thread.allocate_lock()\nlock.acquire()\n_thread.start_new_thread(lock.acquire, ())",
        "threads",
    ),
    "files": ("file = open(__file__)", "open"),
    "prints": ("print('hello')", "it prints"),
    "prints_below": ("import os\nos.write(2, b'hello')", "it prints"),
    "warns": ("import warnings\nwarnings.warn('old')", "it warns"),
    "signals": ("import signal\nsignal.signal(signal.SIGTERM, print)", "signals"),
    "processes": ("import subprocess\nit = subprocess.Popen(['sleep', '600'])", "a process running"),
    "moves": ("import os\nos.chdir('/')", "working directory"),
    "hooks": ("import sys\nsys.excepthook = print", "hook"),
    "streams": ("import sys\nerrors = [sys.stderr]", "keeps a standard stream"),
    "shell": ("from IPython import get_ipython\nget_ipython().kernel.comm_manager", "cannot be imported"),
    "asks": ("from IPython import get_ipython\nhasattr(get_ipython(), 'user_ns')", "of the shell"),
    "keeps": ("from IPython import get_ipython\nshell = get_ipython()", "keeps the shell"),
    "sows": ("import random\nrandom.seed(0)", "seeds"),
    "draws": ("import random\nmine = random.Random()", "random numbers of its own"),
    "fails": ("raise RuntimeError('no')", "RuntimeError"),
    "leaves": ("raise SystemExit", "SystemExit"),
    "crashes": ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "its process ended"),
    "exits": ("import os\nos._exit(0)", "its process ended"),
    "context": ("import zmq\nzmq.Context.instance()", "open"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_imports_that_would_be_seen_in_other_steps_are_left_to_each_step(common: ZygoteTree, name: str) -> None:
    text, why = UNFIT[name]
    module = common.package(f"unfit_{name}", text)
    process = common.fork(module)
    assert psutil.Process(process.pid).is_running()
    assert f"{module} is not shared" in common.zygote.complaints()
    assert why in common.zygote.complaints().split(f"{module} is not shared: ")[1].splitlines()[0]
    process.close()


@pytest.mark.parametrize("name", ["prints", "fails", "crashes", "exits"])
def test_imports_of_one_step_alone_are_held_to_the_same(common: ZygoteTree, name: str) -> None:
    module = common.package(f"own_{name}", UNFIT[name][0])
    process = common.fork(own=(module,))
    assert psutil.Process(process.pid).is_running()
    assert f"{module} is not shared" in common.zygote.complaints()
    process.close()


def test_a_process_that_serves_one_step_may_have_threads(common: ZygoteTree) -> None:
    module = common.package("own_threads", UNFIT["threads"][0])
    process = common.fork(own=(module,))
    assert module not in common.zygote.complaints()
    process.close()


def test_a_module_that_no_package_installed_is_not_shared(common: ZygoteTree) -> None:
    (common.work / "neighbour.py").write_text("x = 1")
    common.package("of_the_neighbour", "import neighbour")
    common.fork("of_the_neighbour").close()
    assert "brings along `neighbour`, which no package installed" in common.zygote.complaints()


def test_what_one_import_brings_along_counts(common: ZygoteTree, monkeypatch: pytest.MonkeyPatch) -> None:
    common.package("polars", "")
    common.package("of_polars", "import polars")
    common.fork("of_polars").close()
    assert "of_polars is not shared: it brings along `polars`" in common.zygote.complaints()


def test_after_a_refused_package_the_others_are_shared(common: ZygoteTree) -> None:
    bad = common.package("bad_first", "print('hello')")
    good = common.package("good_second", "import os\nos.environ['GOOD'] = str(os.getpid())")
    first, second = common.fork(bad, good), common.fork(bad, good)
    assert common.branch_of(first) == common.branch_of(second)
    assert good not in common.zygote.complaints()
    for process in (first, second):
        process.close()


def test_settings_in_the_folder_of_the_notebook_are_read_by_each_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    assert not fork_safety.is_fork_unsafe("matplotlib.pyplot")
    Path("matplotlibrc").write_text("lines.linewidth: 7")
    assert fork_safety.is_fork_unsafe("matplotlib.pyplot")
    Path("matplotlibrc").unlink()
    monkeypatch.setenv("MPLBACKEND", "tkagg")
    assert fork_safety.is_fork_unsafe("matplotlib.pyplot")


def test_an_import_that_does_not_end_is_given_up(tree: ZygoteTree, monkeypatch: pytest.MonkeyPatch) -> None:
    # The environment is that of the root: a site hook shortens its patience, so that this takes no half minute.
    hook = "from jupyter_pipelines.execution.prefork import fork_safety\nfork_safety.IMPORT_PATIENCE = 1"
    tree.zygote.close()
    tree.package("sitecustomize", hook)
    tree.zygote = ZygoteHandle(tree.environment, (), (KERNELS,))
    module = tree.package("endless", "import time\ntime.sleep(600)")
    process = tree.fork(module)
    assert f"{module} is not shared: its process ended" in tree.zygote.complaints()
    process.close()
    process = tree.fork(own=(tree.package("endless_too", "while True: pass"),))
    assert "endless_too is not shared" in tree.zygote.complaints()
    process.close()


def test_a_client_that_waits_for_too_long_does_without(tree: ZygoteTree) -> None:
    os.kill(tree.zygote._process.pid, signal.SIGSTOP)
    try:
        process = tree.ask()
        with pytest.raises(ForkUnavailable, match="no longer waited for"):
            process.settle(lambda: False, patience=0.2)
        process = tree.ask()
        with pytest.raises(ForkUnavailable):
            process.settle(lambda: True)
    finally:
        os.kill(tree.zygote._process.pid, signal.SIGCONT)
    tree.fork().close()


def test_many_large_requests_to_a_branch_that_refuses_are_all_answered(tree: ZygoteTree) -> None:
    """An environment may be larger than the buffer of a socket; this must cause no deadlock."""
    module = tree.package("slow_and_bad", "import time\ntime.sleep(1)\nprint('no')")
    large = {f"LARGE_{number}": "x" * 100_000 for number in range(8)}
    asked = [threading.Thread(target=_fork_large, args=(tree, module, large, pids := [])) for _ in range(6)]
    results: list[list[int]] = [thread._args[3] for thread in asked]  # type: ignore[attr-defined]
    for thread in asked:
        thread.start()
    for thread in asked:
        thread.join(PATIENCE)
    assert [len(pids_of_thread) for pids_of_thread in results] == [1] * 6
    assert len({pid for pids_of_thread in results for pid in pids_of_thread}) == 6
    del pids


def _fork_large(tree: ZygoteTree, module: str, large: dict[str, str], pids: list[int]) -> None:
    process = tree.ask(module, **large)
    process.settle(lambda: False)
    pids.append(process.pid)
    process.close()


def test_a_spare_is_used_and_replaced(tree: ZygoteTree) -> None:
    first = tree.fork()
    prepare(tree.zygote.path, tree.request())
    prepare(tree.zygote.path, tree.request())  # a spare exists already
    second = tree.fork()
    family = {child.pid for child in tree.branch_of(first).children()}
    assert family == {first.pid, second.pid}
    prepare(tree.zygote.path, tree.request())
    third = tree.fork()
    assert third.pid not in family
    for process in (first, second, third):
        process.close()


def test_a_spare_that_is_killed_is_not_handed_out(tree: ZygoteTree) -> None:
    first = tree.fork()
    branch = tree.branch_of(first)
    prepare(tree.zygote.path, tree.request())
    spare = _other_child(branch, first.pid)
    spare.kill()
    while not gone(spare.pid):  # the test's own time limit ends a hang
        pass
    second = tree.fork()
    assert second.pid != spare.pid
    for process in (first, second):
        process.close()


def _other_child(branch: psutil.Process, pid: int) -> psutil.Process:
    """Wait for a child other than `pid`; the test's own time limit ends a hang."""
    while True:
        for child in branch.children():
            if child.pid != pid:
                return child


def test_there_are_never_many_spares(tree: ZygoteTree) -> None:
    first = tree.fork()
    branch = tree.branch_of(first)
    for number in range(6):
        prepare(tree.zygote.path, tree.request(own=(tree.package(f"own_{number}", ""),)))
    last = tree.fork(own=("own_5",))
    spares = [child for child in branch.children() if child.pid not in (first.pid, last.pid) and not gone(child.pid)]
    assert len(spares) <= 2
    for process in (first, last):
        process.close()


def test_a_process_ends_with_its_client(tree: ZygoteTree) -> None:
    closed, other = tree.fork(), tree.fork()
    closed_process = psutil.Process(closed.pid)
    folder = Path(closed.facts["folder"])
    closed.close()
    wait_gone(closed_process)
    assert not gone(other.pid)
    other.kill()
    assert other.wait(PATIENCE) == -signal.SIGKILL
    assert not folder.exists() or not any(folder.parent.glob(f"{folder.name}/*"))


def test_a_client_that_goes_while_its_package_is_imported_leaves_nothing(tree: ZygoteTree) -> None:
    slow = tree.package("slow", "import time\ntime.sleep(1)")
    tree.ask(slow).close()
    process = tree.fork(slow)
    branch = tree.branch_of(process)
    left = [child for child in branch.children() if child.pid != process.pid]
    wait_gone(*left)
    assert all(gone(child.pid) for child in left)
    assert process.poll() is None
    process.close()


def test_exit_codes_and_signals_are_told(tree: ZygoteTree) -> None:
    process = tree.fork()
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(signal.SIGSEGV)
    assert process.wait(PATIENCE) == -signal.SIGSEGV
    assert process.poll() == -signal.SIGSEGV
    process.send_signal(signal.SIGTERM)  # nothing happens


def test_it_hears_of_a_process_among_a_thousand_open_files(tree: ZygoteTree) -> None:
    """`select` knows no descriptor beyond 1023."""
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(Path(os.devnull).open()) for _ in range(1100)]
        process = tree.fork()
        assert process.fileno() > 1023
        assert process.poll() is None
        process.kill()
        assert process.wait(PATIENCE) == -signal.SIGKILL
        del files


def test_an_end_that_another_thread_hears_first_is_noticed(tree: ZygoteTree) -> None:
    process = tree.fork()

    async def follow() -> bool:
        following = asyncio.create_task(process_wait.until_ended(process))
        await asyncio.sleep(0)  # now it waits for news
        process.kill()
        process.wait(PATIENCE)  # as another thread does while this one has no turn
        await asyncio.wait({following}, timeout=PATIENCE)
        return following.done()

    assert asyncio.run(follow())


def test_the_tree_ends_with_its_owner(tmp_path: Path) -> None:
    text = (
        "import json, os, signal\n"
        "from jupyter_pipelines.execution.prefork.zygote_handle import ZygoteHandle\n"
        "from jupyter_pipelines.execution.prefork.client import ForkedProcess\n"
        f"zygote = ZygoteHandle(os.environ, (), {(KERNELS, WORKERS)!r})\n"
        "order = {'cwd': '/', 'environment': dict(os.environ)}\n"
        f"process = ForkedProcess(zygote.path, {{'kind': {KERNELS!r}, 'cwd': '/', 'order': order}}, [0, 1, 2])\n"
        "process.settle(lambda: False)\n"
        "print(json.dumps([zygote._process.pid, process.pid, str(zygote.folder)]), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False, timeout=PATIENCE)
    root, kernel, folder = json.loads(done.stdout.splitlines()[0])
    left = []
    for pid in (root, kernel):
        with contextlib.suppress(psutil.NoSuchProcess):
            left.append(psutil.Process(pid))
    wait_gone(*left)
    assert not Path(folder).exists()


def test_a_node_that_is_killed_takes_its_own_along_and_no_others(tree: ZygoteTree) -> None:
    package = tree.package("shared_by_some", "")
    inner, outer = tree.fork(package), tree.fork()
    branch = tree.branch_of(inner)
    assert branch != tree.branch_of(outer)
    branch.kill()
    assert inner.wait(PATIENCE) == -signal.SIGKILL
    assert outer.poll() is None
    wait_gone(branch)  # while it ends it may still be given a request, which is refused then
    again = tree.fork(package)
    assert tree.branch_of(again) == tree.branch_of(outer)
    for process in (again, outer):
        process.close()


def test_a_tree_without_its_root_refuses(tree: ZygoteTree) -> None:
    process = tree.fork()
    members = tree.members()
    tree.zygote._process.kill()
    assert process.wait(PATIENCE) == -signal.SIGKILL
    wait_gone(*members[1:])
    with pytest.raises(ForkUnavailable):
        tree.fork()
    assert not tree.zygote.lives()


def test_malformed_requests_do_no_harm(tree: ZygoteTree) -> None:
    for words in (b"", b"\0", b"\0\0\0\1\0x", b"\0\0\0\2\0{}", b'\0\0\0\5\0{"a":'):
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(tree.zygote.path)
            stranger.sendall(words)
    process = tree.fork()
    assert tree.zygote.lives()
    assert process.poll() is None
    process.close()


def test_lost_files_differ_from_no_files(tmp_path: Path) -> None:
    here, there = socket.socketpair()
    with here, there, (tmp_path / "file").open("w") as file:
        socket_messages.send(here, {"x": 1}, [file.fileno()])
        message = socket_messages.receive(there)
        assert message is not None
        assert os.fstat(message[1][0]).st_ino == os.fstat(file.fileno()).st_ino
        socket_messages.close(message[1])
        data = b"{}"
        here.sendall(len(data).to_bytes(4, "big") + bytes([1]) + data)  # the file has been lost on the way
        assert socket_messages.receive(there) == ({}, [])
        here.close()
        assert socket_messages.receive(there) is None


def test_no_process_is_to_be_had_when_the_system_has_none(tree: ZygoteTree) -> None:
    """A node that cannot fork reports it, and the processes that it has forked live on."""
    process = tree.fork()
    branch = tree.branch_of(process)
    limits = branch.rlimit(psutil.RLIMIT_NOFILE)
    assert limits is not None
    branch.rlimit(psutil.RLIMIT_NOFILE, (branch.num_fds(), limits[1]))
    with pytest.raises(ForkUnavailable):
        tree.fork()
    assert process.poll() is None
    branch.rlimit(psutil.RLIMIT_NOFILE, limits)
    tree.fork().close()
    process.close()


def test_eight_at_once(tree: ZygoteTree) -> None:
    processes = [tree.ask() for _ in range(8)]
    for process in processes:
        process.settle(lambda: False)
    assert len({process.pid for process in processes}) == 8
    assert len({process.facts["connection"]["key"] for process in processes}) == 8
    for process in processes:
        process.close()


# The pool of zygotes


@pytest.fixture
def pool() -> Iterator[ZygotePool]:
    pool = ZygotePool()
    yield pool
    pool.end_all()


def test_a_tree_is_kept_for_the_same_environment_and_packages(
    pool: ZygotePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "site-packages"
    packages.mkdir()
    monkeypatch.syspath_prepend(str(packages))
    usual = dict(os.environ)
    first = pool.take(usual, (), ())
    pool.release(first)
    assert pool.take(usual, (), ()) is first
    assert pool.take(usual | {"OTHER": "1"}, (), ()) is not first
    assert pool.take(usual, ("--debug",), ()) is not first
    (packages / "new").mkdir()
    second = pool.take(usual, (), ())
    assert second is not first
    mask = os.umask(0o077)
    try:
        assert pool.take(usual, (), ()) is not second
    finally:
        os.umask(mask)
    assert pool.take(usual, (), ()) is second


def test_a_tree_that_has_died_is_replaced(pool: ZygotePool) -> None:
    first = pool.take(os.environ, (), ())
    first._process.kill()
    first._process.wait()
    second = pool.take(os.environ, (), ())
    assert second is not first
    assert second.lives()
    first.close()


def test_a_tree_without_users_ends() -> None:
    pool = ZygotePool(idle=0.0)
    first = pool.take(os.environ, (), ())
    assert pool.take(os.environ, (), ()) is first
    pool.release(first)
    assert first.lives()
    pool.release(first)
    first._process.wait(PATIENCE)
    assert pool.take(os.environ, (), ()) is not first
    pool.end_all()


def test_a_child_of_the_owner_only_lets_go(pool: ZygotePool) -> None:
    first = pool.take(os.environ, (), ())
    pid = os.fork()
    if pid == 0:
        pool.end_all()
        os._exit(0)
    os.waitpid(pid, 0)
    assert first.lives()
    assert Path(first.path).exists()


@pytest.mark.parametrize(("value", "forks"), [("0", False), ("ahead", False), ("1", True), ("", True)])
def test_the_environment_says_whether_to_fork(value: str, forks: bool) -> None:
    assert can_fork({"JUPYTER_PIPELINES_WARM": value}) is forks
