"""The tree of processes that fork: what may be imported in it, what becomes of it, and of those who ask it."""

from __future__ import annotations

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

from jupyter_pipelines.running.forking import messages, sound
from jupyter_pipelines.running.forking.client import ForkedProcess, Refused, prepare
from jupyter_pipelines.running.forking.keeping import Keeper
from jupyter_pipelines.running.forking.owner import Zygote, can_fork

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(not can_fork({}), reason="forked processes are for Linux"),
]
READY = ("ready", "refused", "ended")


class Tree:
    """A tree, and what can be asked of it."""

    def __init__(self, packages: Path, work: Path) -> None:
        self.packages, self.work = packages, work
        self.environment = {**os.environ, "PYTHONPATH": str(packages)}
        self.zygote = Zygote(self.environment, ("--HistoryManager.hist_file=:memory:",), ("kernels",))

    def request(self, *shared: str, own: tuple[str, ...] = ()) -> dict[str, Any]:
        return {"kind": "kernels", "cwd": str(self.work), "shared": list(shared), "own": list(own)}

    def ask(self, *shared: str, own: tuple[str, ...] = (), **environment: str) -> ForkedProcess:
        order = {"cwd": str(self.work), "environment": self.environment | environment}
        with Path(os.devnull).open("r+b") as nothing:
            return ForkedProcess(
                self.zygote.path, self.request(*shared, own=own) | {"order": order}, [nothing.fileno()] * 3
            )

    def fork(self, *shared: str, own: tuple[str, ...] = ()) -> ForkedProcess:
        """Ask, and wait until it is there."""
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
        found = psutil.Process(process.pid).parent()
        assert found is not None
        return found


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[], Tree]]:
    # Named so that what is in it counts as installed.
    packages, work = tmp_path / "site-packages", tmp_path / "work"
    made: list[Tree] = []

    def tree() -> Tree:
        packages.mkdir(exist_ok=True)
        work.mkdir(exist_ok=True)
        made.append(Tree(packages, work))
        return made[-1]

    yield tree
    for one in made:
        one.zygote.close()


@pytest.fixture
def tree(make: Callable[[], Tree]) -> Tree:
    return make()


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    """One for tests that leave it as it is, but for packages that it refuses."""
    folder = tmp_path_factory.mktemp("tree")
    for name in ("site-packages", "work", "elsewhere"):
        (folder / name).mkdir()
    found = Tree(folder / "site-packages", folder / "work")
    yield found
    found.zygote.close()


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_gone(*processes: psutil.Process) -> None:
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert not [one for one in alive if not gone(one.pid)]


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
def test_imports_that_would_be_seen_in_other_steps_are_left_to_each_step(common: Tree, name: str) -> None:
    text, why = UNFIT[name]
    module = common.package(f"unfit_{name}", text)
    process = common.fork(module)
    assert psutil.Process(process.pid).is_running()
    assert f"{module} is not shared" in common.zygote.complaints()
    assert why in common.zygote.complaints().split(f"{module} is not shared: ")[1].splitlines()[0]
    process.close()


@pytest.mark.parametrize("name", ["prints", "fails", "crashes", "exits"])
def test_imports_of_one_step_alone_are_held_to_the_same(common: Tree, name: str) -> None:
    module = common.package(f"own_{name}", UNFIT[name][0])
    process = common.fork(own=(module,))
    assert psutil.Process(process.pid).is_running()
    assert f"{module} is not shared" in common.zygote.complaints()
    process.close()


def test_a_process_that_serves_one_step_may_have_threads(common: Tree) -> None:
    module = common.package("own_threads", UNFIT["threads"][0])
    process = common.fork(own=(module,))
    assert module not in common.zygote.complaints()
    process.close()


def test_a_module_that_no_package_installed_is_not_shared(common: Tree) -> None:
    (common.work / "neighbour.py").write_text("x = 1")
    common.package("of_the_neighbour", "import neighbour")
    common.fork("of_the_neighbour").close()
    assert "brings along `neighbour`, which no package installed" in common.zygote.complaints()


def test_what_one_import_brings_along_counts(common: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    common.package("polars", "")
    common.package("of_polars", "import polars")
    common.fork("of_polars").close()
    assert "of_polars is not shared: it brings along `polars`" in common.zygote.complaints()


def test_after_one_that_is_refused_the_others_are_shared(common: Tree) -> None:
    bad = common.package("bad_first", "print('hello')")
    good = common.package("good_second", "import os\nos.environ['GOOD'] = str(os.getpid())")
    one, other = common.fork(bad, good), common.fork(bad, good)
    assert common.branch_of(one) == common.branch_of(other)
    assert good not in common.zygote.complaints()
    for process in (one, other):
        process.close()


def test_settings_in_the_folder_of_the_notebook_are_read_by_each_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    assert not sound.left_to_children("matplotlib.pyplot")
    Path("matplotlibrc").write_text("lines.linewidth: 7")
    assert sound.left_to_children("matplotlib.pyplot")
    Path("matplotlibrc").unlink()
    monkeypatch.setenv("MPLBACKEND", "tkagg")
    assert sound.left_to_children("matplotlib.pyplot")


def test_an_import_that_does_not_end_is_given_up(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    # The environment is that of the root: a site hook shortens its patience, so that this takes no half minute.
    hook = "from jupyter_pipelines.running.forking import sound\nsound.IMPORT_PATIENCE = 1"
    tree.zygote.close()
    tree.package("sitecustomize", hook)
    tree.zygote = Zygote(tree.environment, (), ("kernels",))
    module = tree.package("endless", "import time\ntime.sleep(600)")
    process = tree.fork(module)
    assert f"{module} is not shared: its process ended" in tree.zygote.complaints()
    process.close()
    process = tree.fork(own=(tree.package("endless_too", "while True: pass"),))
    assert "endless_too is not shared" in tree.zygote.complaints()
    process.close()


def test_whoever_waits_for_too_long_does_without(tree: Tree) -> None:
    os.kill(tree.zygote._process.pid, signal.SIGSTOP)
    try:
        process = tree.ask()
        with pytest.raises(Refused, match="no longer waited for"):
            process.settle(lambda: False, patience=0.2)
        process = tree.ask()
        with pytest.raises(Refused):
            process.settle(lambda: True)
    finally:
        os.kill(tree.zygote._process.pid, signal.SIGCONT)
    tree.fork().close()


def test_many_large_requests_to_a_branch_that_refuses_are_all_answered(tree: Tree) -> None:
    """An environment may be larger than what a socket holds; nobody waits for somebody who waits."""
    module = tree.package("slow_and_bad", "import time\ntime.sleep(1)\nprint('no')")
    large = {f"LARGE_{number}": "x" * 100_000 for number in range(8)}
    asked = [threading.Thread(target=_fork_large, args=(tree, module, large, found := [])) for _ in range(6)]
    results: list[list[int]] = [thread._args[3] for thread in asked]  # type: ignore[attr-defined]
    for thread in asked:
        thread.start()
    for thread in asked:
        thread.join(120)
    assert [len(one) for one in results] == [1] * 6
    assert len({pid for one in results for pid in one}) == 6
    del found


def _fork_large(tree: Tree, module: str, large: dict[str, str], found: list[int]) -> None:
    process = tree.ask(module, **large)
    process.settle(lambda: False)
    found.append(process.pid)
    process.close()


def test_a_spare_is_used_and_replaced(tree: Tree) -> None:
    first = tree.fork()
    prepare(tree.zygote.path, tree.request())
    prepare(tree.zygote.path, tree.request())  # there is one
    second = tree.fork()
    family = {one.pid for one in tree.branch_of(first).children()}
    assert family == {first.pid, second.pid}
    prepare(tree.zygote.path, tree.request())
    third = tree.fork()
    assert third.pid not in family
    for one in (first, second, third):
        one.close()


def test_a_spare_that_is_killed_is_not_handed_out(tree: Tree) -> None:
    first = tree.fork()
    branch = tree.branch_of(first)
    prepare(tree.zygote.path, tree.request())
    spare = _other_child(branch, first.pid)
    spare.kill()
    while not gone(spare.pid):  # the test's own time limit ends a hang
        pass
    second = tree.fork()
    assert second.pid != spare.pid
    for one in (first, second):
        one.close()


def _other_child(branch: psutil.Process, pid: int) -> psutil.Process:
    """Wait for a child other than `pid`; the test's own time limit ends a hang."""
    while True:
        for one in branch.children():
            if one.pid != pid:
                return one


def test_there_are_never_many_spares(tree: Tree) -> None:
    first = tree.fork()
    branch = tree.branch_of(first)
    for number in range(6):
        prepare(tree.zygote.path, tree.request(own=(tree.package(f"own_{number}", ""),)))
    last = tree.fork(own=("own_5",))
    spares = [one for one in branch.children() if one.pid not in (first.pid, last.pid) and not gone(one.pid)]
    assert len(spares) <= 2
    for one in (first, last):
        one.close()


def test_a_process_ends_with_whoever_asked_for_it(tree: Tree) -> None:
    one, other = tree.fork(), tree.fork()
    process = psutil.Process(one.pid)
    folder = Path(one.facts["folder"])
    one.close()
    wait_gone(process)
    assert not gone(other.pid)
    other.kill()
    assert other.wait(60) == -signal.SIGKILL
    assert not folder.exists() or not any(folder.parent.glob(f"{folder.name}/*"))


def test_a_client_that_goes_while_its_package_is_imported_leaves_nothing(tree: Tree) -> None:
    slow = tree.package("slow", "import time\ntime.sleep(1)")
    tree.ask(slow).close()
    process = tree.fork(slow)
    branch = tree.branch_of(process)
    wait_gone(*[one for one in branch.children() if one.pid != process.pid])
    process.close()


def test_exit_codes_and_signals_are_told(tree: Tree) -> None:
    process = tree.fork()
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(signal.SIGSEGV)
    assert process.wait(60) == -signal.SIGSEGV
    assert process.poll() == -signal.SIGSEGV
    process.send_signal(signal.SIGTERM)  # nothing happens


def test_it_hears_of_a_process_among_a_thousand_open_files(tree: Tree) -> None:
    """`select` knows no descriptor beyond 1023."""
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(Path(os.devnull).open()) for _ in range(1100)]
        process = tree.fork()
        assert process.fileno() > 1023
        assert process.poll() is None
        process.kill()
        assert process.wait(60) == -signal.SIGKILL
        del files


def test_the_tree_ends_with_its_owner(tmp_path: Path) -> None:
    text = (
        "import json, os, signal\n"
        "from jupyter_pipelines.running.forking.owner import Zygote\n"
        "from jupyter_pipelines.running.forking.client import ForkedProcess\n"
        "zygote = Zygote(os.environ, (), ('kernels', 'workers'))\n"
        "order = {'cwd': '/', 'environment': dict(os.environ)}\n"
        "process = ForkedProcess(zygote.path, {'kind': 'kernels', 'cwd': '/', 'order': order}, [0, 1, 2])\n"
        "process.settle(lambda: False)\n"
        "print(json.dumps([zygote._process.pid, process.pid, str(zygote.folder)]), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False, timeout=120)
    root, kernel, folder = json.loads(done.stdout.splitlines()[0])
    wait_gone(*[psutil.Process(pid) for pid in (root, kernel) if psutil.pid_exists(pid)])
    assert not Path(folder).exists()


def test_a_node_that_is_killed_takes_its_own_along_and_no_others(tree: Tree) -> None:
    package = tree.package("shared_by_some", "")
    inner, outer = tree.fork(package), tree.fork()
    branch = tree.branch_of(inner)
    assert branch != tree.branch_of(outer)
    branch.kill()
    assert inner.wait(60) == -signal.SIGKILL
    assert outer.poll() is None
    wait_gone(branch)  # while it ends it may still be given a request, which is refused then
    again = tree.fork(package)
    assert tree.branch_of(again) == tree.branch_of(outer)
    for one in (again, outer):
        one.close()


def test_a_tree_without_its_root_refuses(tree: Tree) -> None:
    process = tree.fork()
    members = tree.members()
    tree.zygote._process.kill()
    assert process.wait(60) == -signal.SIGKILL
    wait_gone(*members[1:])
    with pytest.raises(Refused):
        tree.fork()
    assert not tree.zygote.lives()


def test_what_is_said_in_no_language_hurts_nobody(tree: Tree) -> None:
    for words in (b"", b"\0", b"\0\0\0\1\0x", b"\0\0\0\2\0{}", b'\0\0\0\5\0{"a":'):
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(tree.zygote.path)
            stranger.sendall(words)
    tree.fork().close()


def test_files_that_find_no_room_are_told_from_none(tmp_path: Path) -> None:
    here, there = socket.socketpair()
    with here, there, (tmp_path / "file").open("w") as file:
        messages.send(here, {"x": 1}, [file.fileno()])
        found = messages.receive(there)
        assert found is not None
        assert os.fstat(found[1][0]).st_ino == os.fstat(file.fileno()).st_ino
        messages.close(found[1])
        data = b"{}"
        here.sendall(len(data).to_bytes(4, "big") + bytes([1]) + data)  # the file has been lost on the way
        assert messages.receive(there) == ({}, [])
        here.close()
        assert messages.receive(there) is None


def test_no_process_is_to_be_had_when_the_system_has_none(tree: Tree) -> None:
    """A node that cannot fork says so, and those that it has forked live on."""
    process = tree.fork()
    branch = tree.branch_of(process)
    limits = branch.rlimit(psutil.RLIMIT_NOFILE)
    assert limits is not None
    branch.rlimit(psutil.RLIMIT_NOFILE, (branch.num_fds(), limits[1]))
    with pytest.raises(Refused):
        tree.fork()
    assert process.poll() is None
    branch.rlimit(psutil.RLIMIT_NOFILE, limits)
    tree.fork().close()
    process.close()


def test_eight_at_once(tree: Tree) -> None:
    processes = [tree.ask() for _ in range(8)]
    for one in processes:
        one.settle(lambda: False)
    assert len({one.pid for one in processes}) == 8
    assert len({one.facts["connection"]["key"] for one in processes}) == 8
    for one in processes:
        one.close()


# Keeping


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    found = Keeper()
    yield found
    found.end_all()


def test_a_tree_is_kept_for_the_same_environment_and_packages(
    keeper: Keeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "site-packages"
    packages.mkdir()
    monkeypatch.syspath_prepend(str(packages))
    usual = dict(os.environ)
    first = keeper.take(usual, (), ())
    keeper.release(first)
    assert keeper.take(usual, (), ()) is first
    assert keeper.take(usual | {"OTHER": "1"}, (), ()) is not first
    assert keeper.take(usual, ("--debug",), ()) is not first
    (packages / "new").mkdir()
    second = keeper.take(usual, (), ())
    assert second is not first
    mask = os.umask(0o077)
    try:
        assert keeper.take(usual, (), ()) is not second
    finally:
        os.umask(mask)
    assert keeper.take(usual, (), ()) is second


def test_a_tree_that_has_died_is_replaced(keeper: Keeper) -> None:
    first = keeper.take(os.environ, (), ())
    first._process.kill()
    first._process.wait()
    second = keeper.take(os.environ, (), ())
    assert second is not first
    assert second.lives()
    first.close()


def test_a_tree_that_nobody_uses_ends() -> None:
    keeper = Keeper(idle=0.0)
    first = keeper.take(os.environ, (), ())
    assert keeper.take(os.environ, (), ()) is first
    keeper.release(first)
    assert first.lives()
    keeper.release(first)
    first._process.wait(60)
    assert keeper.take(os.environ, (), ()) is not first
    keeper.end_all()


def test_a_child_of_the_owner_only_lets_go(keeper: Keeper) -> None:
    first = keeper.take(os.environ, (), ())
    pid = os.fork()
    if pid == 0:
        keeper.end_all()
        os._exit(0)
    os.waitpid(pid, 0)
    assert first.lives()
    assert Path(first.path).exists()


@pytest.mark.parametrize(("value", "forks"), [("0", False), ("ahead", False), ("1", True), ("", True)])
def test_the_environment_says_whether_to_fork(value: str, forks: bool) -> None:
    assert can_fork({"JUPYTER_PIPELINES_WARM": value}) is forks
