"""A step starts from a clean state and leaves nothing to the next step, whether its kernel was forked or started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from jupyter_pipelines.execution.executors.local import LocalExecutor
from jupyter_pipelines.execution.prefork.zygote_handle import VARIABLE, can_fork
from jupyter_pipelines.execution.ticket import StepOutcome, StepTicket, TicketProgress
from tests.execution.sample_tickets import TicketFactory, executed, log_of

pytestmark = pytest.mark.kernel
PACKAGES = ("numpy", "pandas", "matplotlib.pyplot")
WARM = {"shared": PACKAGES, "own": ()}
HANG = "print('here', flush=True)\nimport time\nwhile True: time.sleep(0.01)"


class IsolationRunner:
    """Run steps with an executor and a store that all tests of a way to start kernels share."""

    def __init__(self, folder: Path, jobs: int, forks: bool) -> None:
        self.factory = TicketFactory(folder)
        self.local = LocalExecutor(jobs)
        self.forks = forks

    def submit(self, *bodies: str, outputs: str = "", **more: Any) -> StepTicket:
        ticket = self.factory.ticket(*bodies, outputs=outputs, warm=WARM, following=[WARM], **more)
        self.local.submit(ticket)
        return ticket

    def outcomes(self, number: int) -> dict[str, StepOutcome]:
        """Wait for outcomes; the test's own time limit ends a hang."""
        outcomes: dict[str, StepOutcome] = {}
        while len(outcomes) < number:
            outcomes |= {message.ticket: message for message in self.local.poll(5) if isinstance(message, StepOutcome)}
        return outcomes

    def run(self, *bodies: str, outputs: str = "", **more: Any) -> Any:
        """Run a step, and return its only value, or all of them."""
        ticket = self.submit(*bodies, outputs=outputs, **more)
        outcome = self.outcomes(1)[ticket.id]
        assert outcome.state == "succeeded", (outcome.fault, log_of(ticket))
        values = self.factory.values(outcome.outputs)
        return values if len(values) != 1 else next(iter(values.values()))

    def fail(self, *bodies: str, **more: Any) -> StepOutcome:
        ticket = self.submit(*bodies, **more)
        return self.outcomes(1)[ticket.id]

    def zygote(self) -> int | None:
        return self.local._zygote._process.pid if self.local._zygote else None


@pytest.fixture(scope="module", params=["1", "0"], ids=["forked", "ordinary"])
def runner(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IsolationRunner]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, request.param)
        patch.setenv("OMP_NUM_THREADS", "3")
        patch.delenv("MPLBACKEND", raising=False)
        shared = IsolationRunner(tmp_path_factory.mktemp("place"), 2, can_fork(os.environ))
        yield shared
        shared.local.close()


# Where only a fork could make a difference: what another process has drawn, imported or started threads for.
forked = pytest.mark.parametrize("runner", ["1"], ids=["forked"], indirect=True)


def test_kernels_are_started_as_this_module_believes(runner: IsolationRunner) -> None:
    parent = runner.run("import os\nparent = open(f'/proc/{os.getppid()}/cmdline').read()", outputs="parent")
    assert ("zygote" in parent) is runner.forks


# What a step does, and how a later step would notice.
LEFT = {
    "a name": ("name_of_mine = 1", "'name_of_mine' in globals()"),
    "a built-in": ("import builtins\nbuiltins.mine = 1", "hasattr(__import__('builtins'), 'mine')"),
    "a variable": ("import os\nos.environ['MINE'] = '1'", "'MINE' in __import__('os').environ"),
    "a folder": ("import os\nos.chdir('/')", "__import__('os').getcwd() == '/'"),
    "a mask": ("import os\nos.umask(0o077)", "__import__('os').umask(0o022) == 0o077"),
    "a file": (
        "import os\nfile = open('left.txt', 'w')",
        "'left.txt' in str([os.readlink(one.path) for one in os.scandir('/proc/self/fd') if os.path.islink(one.path)])",
    ),
    "a figure": (
        "import matplotlib.pyplot as plt\nplt.figure()",
        "bool(__import__('matplotlib.pyplot').pyplot.get_fignums())",
    ),
    "a setting": (
        "import matplotlib\nmatplotlib.rcParams['lines.linewidth'] = 77",
        "__import__('matplotlib').rcParams['lines.linewidth'] == 77",
    ),
    "a backend": (
        "import matplotlib\nmatplotlib.use('svg')",
        "__import__('matplotlib').get_backend().lower() == 'svg'",
    ),
    "an option": (
        "import pandas\npandas.set_option('display.max_rows', 7)",
        "__import__('pandas').get_option('display.max_rows') == 7",
    ),
    "a patch": ("import colorsys\ncolorsys.rgb_to_hls = None", "__import__('colorsys').rgb_to_hls is None"),
    "a filter": (
        "import warnings\nwarnings.simplefilter('error', BytesWarning)",
        "any(one[0] == 'error' and one[2] is BytesWarning for one in __import__('warnings').filters)",
    ),
    "a handler": (
        "import signal\nsignal.signal(signal.SIGUSR2, lambda *_: None)",
        "__import__('signal').getsignal(__import__('signal').SIGUSR2) != __import__('signal').SIG_DFL",
    ),
    "a thread": (
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True, name='mine').start()",
        "'mine' in [one.name for one in __import__('threading').enumerate()]",
    ),
    "a path": ("import sys\nsys.path.insert(0, '/mine')", "'/mine' in __import__('sys').path"),
    "a limit": (
        "import resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))\nimport sys\nsys.setrecursionlimit(4321)",
        "__import__('sys').getrecursionlimit() == 4321",
    ),
    "a stored value": ("mine = 1\n%store mine", "'autorestore/mine' in get_ipython().db"),
    "a log": ("import logging\nlogging.getLogger().setLevel(3)", "__import__('logging').getLogger().level == 3"),
    "a locale": ("import locale\nlocale.setlocale(0, 'C')", "__import__('locale').setlocale(0) == 'C' != start"),
    "a child": (
        "import subprocess\nchild = subprocess.Popen(['sleep', '600'])",
        "'sleep' in open(f'/proc/{os.getpid()}/task/{os.getpid()}/children').read()",
    ),
}  # fmt: skip


def test_nothing_that_a_step_does_is_seen_by_the_next(runner: IsolationRunner) -> None:
    checks = "\n".join(f"found[{what!r}] = bool({see})" for what, (_, see) in LEFT.items())
    begin = "import locale, os\nstart = locale.setlocale(locale.LC_ALL)\nfound = {}\n"
    assert runner.run(begin + checks, outputs="found") == dict.fromkeys(LEFT, False)
    pids = runner.run("import os\npid = os.getpid()", *[do for do, _ in LEFT.values()], outputs="pid")
    assert runner.run(begin + checks, "pid = os.getpid()", outputs="found pid") != pids
    seen_by_next = runner.run(begin + checks, outputs="found")
    assert [what for what, seen in seen_by_next.items() if seen] == []


def test_a_step_sees_its_own_text_and_modules_as_they_are_now(runner: IsolationRunner) -> None:
    module = runner.factory.project / "neighbour.py"
    for number in range(3):
        module.write_text(f"value = {number}{' ' * number}")
        assert runner.run("import neighbour\nvalue = neighbour.value", outputs="value") == number
    module.write_text("value = 7")
    package = runner.factory.project / "packages"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text("value = 8")
    assert runner.run("from packages.inner import value as found", outputs="found") == 8


def test_a_neighbour_named_like_an_installed_module_comes_first(runner: IsolationRunner) -> None:
    """Also where an installed package imports it."""
    (runner.factory.project / "yaml.py").write_text("mine = True")
    neighbour_first = []
    for warm in ({"shared": ("yaml",), "own": ()}, {"shared": (), "own": ("yaml",)}):
        ticket = runner.factory.ticket("import yaml\nfound = hasattr(yaml, 'mine')", outputs="found", warm=warm)
        runner.local.submit(ticket)
        neighbour_first.append(runner.factory.values(runner.outcomes(1)[ticket.id].outputs)["found"])
    (runner.factory.project / "yaml.py").unlink()
    assert neighbour_first == [True, True]


RANDOM = """
import os, random, secrets, ssl, tempfile, uuid
import numpy as np
from numpy.random import default_rng
from sklearn.ensemble._hist_gradient_boosting.grower import TreeGrower
at_import = [one for one in TreeGrower.__init__.__defaults__ if isinstance(one, np.random.Generator)]
found = [
    random.random(), np.random.rand(), default_rng().random(), str(uuid.uuid4()), str(uuid.uuid1()),
    os.urandom(8).hex(), secrets.token_hex(8), ssl.RAND_bytes(8).hex(), next(tempfile._get_candidate_names()),
    tempfile.mktemp(), random.SystemRandom().random(), np.random.RandomState().rand(),
    *[one.random() for one in at_import],
]
random.seed(1); np.random.seed(1)
seeded = [random.random(), np.random.rand(), default_rng(1).random()]
"""


@forked
def test_random_numbers_differ_unless_they_are_seeded(runner: IsolationRunner) -> None:
    warm = {"shared": (*PACKAGES, "sklearn.ensemble"), "own": ()}
    runs = [runner.run(RANDOM, outputs="found seeded") for _ in range(2)]
    for _ in range(3):
        ticket = runner.factory.ticket(RANDOM, outputs="found seeded", warm=warm)
        runner.local.submit(ticket)
        runs.append(runner.factory.values(runner.outcomes(1)[ticket.id].outputs))
    for draws in zip(*[draws_of_run["found"] for draws_of_run in runs], strict=True):
        assert len(set(draws)) == len(runs)
    assert all(outputs["seeded"] == runs[0]["seeded"] for outputs in runs)


# What a step finds around it

LOOK = r"""
import numpy, pandas, matplotlib.pyplot, warnings, logging
import __main__, asyncio, builtins, gc, inspect, locale, os, resource, signal, sys, threading, threadpoolctl
def status(name):
    return next((one.split()[1] for one in open("/proc/self/status") if one.startswith(name + ":")), "")
look = {
    "sys.path": sys.path,
    "sys.argv": [len(sys.argv), os.path.basename(sys.argv[0]), sys.argv[1]],
    "sys.orig_argv": [os.path.basename(one) for one in sys.orig_argv[:3]],
    "sys.flags": repr(sys.flags),
    "hooks": [repr(getattr(sys, name)).split(" at ")[0] for name in ("excepthook", "displayhook", "breakpointhook")],
    "meta_path": [repr(one).split(" at ")[0] for one in sys.meta_path],
    "__main__": sorted(name for name in vars(__main__) if not name.startswith("_i")),
    "name": [__name__, __main__.__name__, str(getattr(__main__, "__file__", None)), str(__main__.__spec__)],
    "builtins": sorted(vars(builtins)),
    "globals": sorted(name for name in globals() if not name.startswith("_i")),
    "_dh": [str(one) for one in _dh],
    "environ": {name: value for name, value in os.environ.items()
                if name not in ("JPY_PARENT_PID", "JUPYTER_PIPELINES_ATTEMPT", "JUPYTER_PIPELINES_WARM",
                                "COLUMNS", "LINES")},  # readline tells them to children of the process under test
    "cwd": os.getcwd(),
    "stdin": [os.readlink("/proc/self/fd/0"), sys.stdin is None or sys.stdin.isatty()],
    "streams": [type(sys.stdout).__name__, type(sys.stderr).__name__, sys.stdout.encoding, sys.stdout.isatty()],
    "umask": status("Umask"),
    "limits": {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name[:7] == "RLIMIT_"},
    "blocked": status("SigBlk"), "ignored": status("SigIgn"), "caught": status("SigCgt"),
    "handlers": [repr(signal.getsignal(n)).split(" at ")[0] for n in sorted(signal.valid_signals())],
    "priority": os.getpriority(os.PRIO_PROCESS, 0), "affinity": sorted(os.sched_getaffinity(0)),
    "leads": [os.getpgid(0) == os.getpid(), os.getsid(0) == os.getpid()],
    "threads": sorted(one.name for one in threading.enumerate()), "tasks": len(os.listdir("/proc/self/task")),
    "pools": sorted([one["internal_api"], one["num_threads"]] for one in threadpoolctl.threadpool_info()),
    "warnings": [repr((one[0], getattr(one[1], "pattern", one[1]), one[2], getattr(one[3], "pattern", one[3])))
                 for one in warnings.filters],
    "loggers": [repr(one).split(" at ")[0] for one in logging.getLogger().handlers],
    "kept streams": sorted(
        [one.__qualname__, type(value).__name__]
        for one in gc.get_objects()
        if inspect.isfunction(one) and str(one.__module__).startswith(("matplotlib", "pandas"))
        for value in one.__defaults__ or () if hasattr(value, "isatty")),
    "locale": locale.setlocale(locale.LC_ALL), "encoding": sys.getfilesystemencoding(),
    "recursion": sys.getrecursionlimit(), "switch": sys.getswitchinterval(), "hash": hash("a"),
    "gc": [gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()], "trace": [sys.gettrace(), sys.getprofile()],
    "shell": [type(get_ipython()).__name__, sorted(get_ipython().magics_manager.magics["line"]),
              sorted(get_ipython().config), get_ipython().history_manager.hist_file, get_ipython().execution_count],
    "loop": type(asyncio.get_event_loop_policy()).__name__,
    "pandas": [pandas.get_option("display." + name) for name in ("max_columns", "width", "notebook_repr_html")],
    "matplotlib": {name: str(value) for name, value in matplotlib.rcParams.items()},
    "interactive": matplotlib.is_interactive(),
    "new modules": sorted({one.partition(".")[0] for one in sys.modules}),
}
"""
INTENDED = {
    # Imports come from a process that has needed a little more of the standard library and of what kernels are made of.
    "new modules",
    # Python remembers that its main module was run under another name.
    "name",
    # An ordinary kernel watches its parent in a thread; the system does that for a forked kernel. Threads of OpenBLAS
    # start when there is something to compute.
    "threads",
    "tasks",
}


def test_a_forked_kernel_looks_like_an_ordinary_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MPLBACKEND", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    looks: list[dict[str, Any]] = []
    folder = tmp_path / "place"
    for value in ("1", "0"):
        monkeypatch.setenv(VARIABLE, value)
        runner = IsolationRunner(folder / value, 1, value == "1")
        runner.factory.project = folder / "project"
        runner.factory.project.mkdir(exist_ok=True)
        try:
            runner.run("x = 1", outputs="x")
            looks.append(runner.run(LOOK, outputs="look"))
        finally:
            runner.local.close()
    differences = {name: _difference(looks[0][name], looks[1][name]) for name in looks[0]}
    differences = {name: difference for name, difference in differences.items() if difference}
    assert differences.keys() <= INTENDED, {name: differences[name] for name in differences.keys() - INTENDED}
    assert set(looks[0]["threads"]) <= set(looks[1]["threads"])
    extra = set(looks[0]["new modules"]) - set(looks[1]["new modules"])
    assert not extra & {"scipy", "sklearn", "pyarrow", "joblib", "jupyter_client", "papermill", "nbclient"}


def _difference(forked_look: Any, ordinary_look: Any) -> str:
    if forked_look == ordinary_look:
        return ""
    if not isinstance(forked_look, list | dict):
        return f"forked {forked_look}, ordinary {ordinary_look}"
    forked_look, ordinary_look = (
        set(map(str, look.items() if isinstance(look, dict) else look)) for look in (forked_look, ordinary_look)
    )
    return f"forked only: {sorted(forked_look - ordinary_look)}, ordinary only: {sorted(ordinary_look - forked_look)}"


# What a step does to itself

ENDS = {
    "killed": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "crashed": "import ctypes\nctypes.string_at(0)",
    "left": "import os\nos._exit(3)",
    "group": "import os, signal\nassert os.getpgid(0) == os.getpid()\nos.killpg(0, signal.SIGKILL)",
}


@pytest.mark.parametrize("end", ENDS)
def test_a_step_that_dies_leaves_the_others_alone(runner: IsolationRunner, end: str) -> None:
    runner.run("x = 1", outputs="x")
    before = runner.zygote()
    sibling = runner.submit(
        "import pathlib, time\npathlib.Path('here').touch()\n"
        "while not pathlib.Path('go').exists(): time.sleep(0.01)\nx = 1",
        outputs="x",
    )
    while not (runner.factory.project / "here").exists():  # the test's own time limit ends a hang
        runner.local.poll(0.01)
    ticket = runner.submit(ENDS[end])
    assert runner.outcomes(1)[ticket.id].state == "died"
    (runner.factory.project / "go").touch()
    assert runner.outcomes(1)[sibling.id].state == "succeeded"
    for name in ("here", "go"):
        (runner.factory.project / name).unlink()
    assert runner.run("x = 2", outputs="x") == 2
    assert runner.zygote() == before


def test_a_timeout_hits_the_step_alone(runner: IsolationRunner) -> None:
    sibling = runner.submit("import time\ntime.sleep(10)\nx = 1", outputs="x")
    late = runner.submit(HANG, timeout=5)
    outcomes = runner.outcomes(2)
    assert outcomes[late.id].state == "timed-out"
    assert outcomes[sibling.id].state == "succeeded"
    assert "KeyboardInterrupt" in str(executed(late))


def test_an_interrupt_hits_the_step_alone_and_says_where_it_was(runner: IsolationRunner) -> None:
    ticket = runner.submit(HANG)
    while not any(isinstance(message, TicketProgress) and message.text == "here" for message in runner.local.poll(5)):
        pass
    sibling = runner.submit("x = 1", outputs="x")
    runner.local.cancel(ticket.id)
    outcomes = runner.outcomes(2)
    assert outcomes[ticket.id].state == "cancelled"
    assert outcomes[sibling.id].state == "succeeded"
    assert "time.sleep(0.01)" in log_of(ticket)


# What works inside

WORKS = {
    "fork": "import multiprocessing as m\nwith m.get_context('fork').Pool(2) as pool: found = pool.map(abs, [-1, 2])",
    "spawn": "import multiprocessing as m\nwith m.get_context('spawn').Pool(2) as pool: found = pool.map(abs, [-1, 2])",
    "forkserver": "import multiprocessing as m\n"
    "with m.get_context('forkserver').Pool(2) as pool: found = pool.map(abs, [-1, 2])",
    "loky": "from joblib import Parallel, delayed\nfound = Parallel(2)(delayed(abs)(one) for one in [-1, 2])",
    "futures": "from concurrent.futures import ProcessPoolExecutor\n"
    "with ProcessPoolExecutor(2) as pool: found = list(pool.map(abs, [-1, 2]))",
    "threads": "from concurrent.futures import ThreadPoolExecutor\n"
    "with ThreadPoolExecutor(2) as pool: found = list(pool.map(abs, [-1, 2]))",
    "await": "import asyncio\nasync def one(x):\n    await asyncio.sleep(0)\n    return abs(x)\n"
    "found = list(await asyncio.gather(one(-1), one(2)))",
    "loop": "import asyncio, threading\nfound = []\n"
    "async def one():\n    found.extend([1, 2])\n"
    "thread = threading.Thread(target=lambda: asyncio.run(one()))\nthread.start()\nthread.join()",
    "subprocess": "import subprocess, sys\n"
    "found = eval(subprocess.run([sys.executable, '-c', 'print([1, 2])'], capture_output=True, text=True).stdout)",
    "shell": "one = !echo 1 2\nfound = [int(word) for word in one[0].split()]",
    "own fork": "import os\nread, write = os.pipe()\nif os.fork() == 0:\n    os.write(write, b'12')\n    os._exit(0)\n"
    "found = [int(one) for one in os.read(read, 2).decode()]\nos.wait()",
    "alarm": "import signal\nfound = []\nsignal.signal(signal.SIGALRM, lambda *_: found.extend([1, 2]))\n"
    "signal.setitimer(signal.ITIMER_REAL, 0.01)\nsignal.pause()",
}  # fmt: skip


@forked
@pytest.mark.parametrize("way", WORKS)
def test_a_step_may_work_in_parallel(runner: IsolationRunner, way: str) -> None:
    assert runner.run(WORKS[way], outputs="found") == [1, 2]


def test_what_a_step_shows_is_in_its_notebook(runner: IsolationRunner) -> None:
    ticket = runner.submit(
        "%time x = 1",
        "!echo from the shell",
        "%%bash\necho from bash\necho to errors >&2",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2]);",
        "import os\nos.write(1, b'below python\\n')\nos.system('echo by system')\nprint('plain')",
        "import pandas\npandas.DataFrame({f'c{n}': [n] for n in range(30)})",
        "import logging\nlogging.warning('a log')",
        "import warnings\nwarnings.warn('old')",
    )
    assert runner.outcomes(1)[ticket.id].state == "succeeded"
    outputs = [out for cell in executed(ticket).cells for out in cell.get("outputs", ())]
    text = "".join(out.get("text", "") for out in outputs)
    for words in (
        "Wall time",
        "from the shell",
        "from bash",
        "to errors",
        "below python",
        "by system",
        "plain",
        "a log",
        "old",
    ):
        assert words in text, words
    shown = [out["data"] for out in outputs if "data" in out]
    assert any("image/png" in data for data in shown)
    table = next(data["text/html"] for data in shown if "text/html" in data)
    assert "..." in table
    assert "c0" in table  # twenty columns, as in every notebook


UNFINISHED = {
    "unclosed.txt": 'file = open("unclosed.txt", "w")\nfile.write("text")',
    "at_exit.txt": 'import atexit, pathlib\natexit.register(lambda: pathlib.Path("at_exit.txt").write_text("text"))',
    "deleted.txt": 'class Ends:\n    def __del__(self): open("deleted.txt", "w").write("text")\none = Ends()',
    "deep.txt": 'class Ends:\n    def __del__(self): open("deep.txt", "w").write("text")\n'
    'more = {"deep": [Ends()]}\ndel Ends',
    "finalized.txt": 'import pathlib, weakref\nclass Anchor: pass\nanchor = Anchor()\n'
    'weakref.finalize(anchor, pathlib.Path("finalized.txt").write_text, "text")',
    "logged.txt": 'import logging, logging.handlers\nclass Writes(logging.Handler):\n'
    '    def emit(self, record): open("logged.txt", "w").write(record.getMessage())\n'
    'logging.getLogger("x").addHandler(logging.handlers.MemoryHandler(99, target=Writes()))\n'
    'logging.getLogger("x").error("text")',
    "generated.txt": 'def generate():\n    try: yield\n    finally: open("generated.txt", "w").write("text")\n'
    'waiting = [generate()]\nnext(waiting[0])',
    "threaded.txt": 'import pathlib, threading, time\ndef work():\n    time.sleep(0.5)\n'
    '    pathlib.Path("threaded.txt").write_text("text")\nthreading.Thread(target=work).start()',
}  # fmt: skip


@pytest.mark.parametrize("name", UNFINISHED)
def test_what_is_left_unfinished_is_finished_when_a_step_ends(runner: IsolationRunner, name: str) -> None:
    runner.run(UNFINISHED[name])
    path = runner.factory.project / name
    assert path.exists()
    assert path.read_text() == "text"
    path.unlink()


def test_a_daemon_of_a_step_ends_with_it(runner: IsolationRunner) -> None:
    pid = runner.run(
        "import os\nread, write = os.pipe()\n"
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        "        os.write(write, str(os.getpid()).encode())\n        os.execlp('sleep', 'sleep', '600')\n"
        "    os._exit(0)\n"
        "pid = int(os.read(read, 20))",
        outputs="pid",
    )
    runner.run("x = 1", outputs="x")
    runner.run("x = 1", outputs="x")
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.skipif(not can_fork({}), reason="forked processes are for Linux")
def test_eight_steps_fork_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    runner = IsolationRunner(tmp_path, 8, True)
    meet = (
        "import os, pathlib, time\npathlib.Path(f'here-{os.getpid()}').touch()\n"
        "while len(list(pathlib.Path().glob('here-*'))) < 8: time.sleep(0.01)\npid = os.getpid()"
    )
    try:
        tickets = [runner.submit(meet, outputs="pid") for _ in range(8)]
        outcomes = runner.outcomes(8)
        pids = {runner.factory.values(outcomes[ticket.id].outputs)["pid"] for ticket in tickets}
    finally:
        runner.local.close()
    assert len(pids) == 8


def measure(runner: IsolationRunner) -> tuple[int, int, int, int]:
    """Return how many processes, open files and folders there are, and how much memory they take."""
    root = psutil.Process(runner.zygote())
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    assert runner.local._zygote is not None
    files = psutil.Process().num_fds() + sum(process.num_fds() for process in [root, *root.children()])
    memory = sum(process.memory_info().rss for process in [psutil.Process(), root, *root.children()])
    return len(family), files, len(list(runner.local._zygote.folder.iterdir())), memory


@pytest.mark.skipif(not can_fork({}), reason="forked processes are for Linux")
def test_many_steps_leak_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    runner = IsolationRunner(tmp_path, 1, True)
    steps = int(os.environ.get("JUPYTER_PIPELINES_TEST_STEPS", "60"))
    try:
        for _ in range(10):
            runner.run("x = 1", outputs="x")
        before = measure(runner)
        for _ in range(steps):
            runner.run("x = 1", outputs="x")
        after = measure(runner)
    finally:
        runner.local.close()
    assert after[0] <= before[0] + 2, (before, after)  # a kernel may still be ending, and a spare be made
    assert after[1] <= before[1] + 24, (before, after)
    assert after[2] <= before[2] + 2, (before, after)
    assert after[3] - before[3] < 30_000_000, (before, after)
    assert runner.factory.leftovers() == []


# Packages: imported ahead of time and not, each computes something with its threads

COMPUTE = {
    "numpy": "import numpy as np\na = np.arange(250_000.0).reshape(500, 500)\nfound = float((a @ a).trace() > 0)",
    "scipy": "import numpy as np\nimport scipy.linalg\nfound = float(scipy.linalg.svdvals(np.eye(300)).sum() == 300)",
    "pandas": "import pandas as pd\nfound = float(pd.DataFrame({'a': [1, 1]}).groupby('a').size().iloc[0] == 2)",
    "pyarrow": "import pyarrow as pa\nimport pyarrow.compute as pc\n"
    "table = pa.table({'k': [1, 2] * 50_000, 'v': range(100_000)})\n"
    "found = float(table.group_by('k').aggregate([('v', 'sum')]).num_rows == 2)",
    "sklearn.ensemble": "import numpy as np\nfrom sklearn.ensemble import HistGradientBoostingRegressor\n"
    "x = np.random.default_rng(0).random((2000, 4))\n"
    "found = float(HistGradientBoostingRegressor(max_iter=5).fit(x, x[:, 0]).score(x, x[:, 0]) > 0.1)",
    "matplotlib.pyplot": "import io\nimport matplotlib.pyplot as plt\nfile = io.BytesIO()\nplt.plot([1, 2])\n"
    "plt.savefig(file)\nplt.close()\nfound = float(file.tell() > 1000)",
    "polars": "import polars as pl\nframe = pl.DataFrame({'k': [1, 2] * 50_000, 'v': range(100_000)})\n"
    "found = float(frame.lazy().group_by('k').agg(pl.col('v').sum()).collect().height == 2)",
    "joblib": "from joblib import Parallel, delayed\n"
    "found = float(Parallel(2, prefer='threads')(delayed(abs)(-1) for _ in range(4)) == [1] * 4)",
    "PIL.Image": "from PIL import Image\nfound = float(Image.new('RGB', (99, 9)).resize((9, 9)).size == (9, 9))",
    "torch": "import torch\na = torch.ones(500, 500)\nfound = float((a @ a).sum().item() == 500 ** 3)",
    "xgboost": "import numpy as np\nimport xgboost\nx = np.random.rand(999, 3)\n"
    "found = float(len(xgboost.XGBRegressor(n_estimators=5).fit(x, x[:, 0]).predict(x)) == 999)",
    "lightgbm": "import numpy as np\nimport lightgbm\nx = np.random.rand(999, 3)\n"
    "found = float(len(lightgbm.LGBMRegressor(n_estimators=5, verbose=-1).fit(x, x[:, 0]).predict(x)) == 999)",
    "duckdb": "import duckdb\nfound = float(duckdb.sql('select sum(range) from range(100000)').fetchall()[0][0] > 0)",
    "statsmodels.api": "import numpy as np\nimport statsmodels.api as sm\nx = np.random.rand(99, 2)\n"
    "found = float(len(sm.OLS(x[:, 0], x).fit().params) == 2)",
    "seaborn": "import seaborn\nimport pandas\nseaborn.lineplot(pandas.DataFrame({'a': [1, 2]}))\nfound = 1.0",
}


@forked
@pytest.mark.parametrize("package", COMPUTE)
def test_packages_compute_the_same_however_they_are_imported(runner: IsolationRunner, package: str) -> None:
    pytest.importorskip(package)
    for warm in ({"shared": (package,), "own": ()}, {"shared": (), "own": (package,)}):
        ticket = runner.factory.ticket(COMPUTE[package], outputs="found", warm=warm)
        runner.local.submit(ticket)
        outcome = runner.outcomes(1)[ticket.id]
        assert outcome.state == "succeeded", (outcome.fault, log_of(ticket))
        assert runner.factory.values(outcome.outputs)["found"] == 1.0
