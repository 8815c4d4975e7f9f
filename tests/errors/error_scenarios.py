"""For every error code the shortest way in which a user meets it, through the command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.e2e.notebook_project import COMMAND, NotebookProject

Scenario = Callable[[NotebookProject], str]

LOAD = "%%step load -o rows\nrows = [1, 2, 3]"
COUNT = "%%params\ncount: Annotated[int, Interval(ge=1, le=9)] = 3\nkind: Literal['linear', 'tree'] = 'tree'"
SECRET = "%%params\ntoken: Secret = 'env:SHOP_TOKEN'"
USE = "%%step use -p count kind -o out\nout = (count, kind)"


def checked(*cells: str) -> Scenario:
    """``check`` reports it, before anything runs."""
    return lambda book: book.write(*cells).call("check").out


def given(*options: str) -> Scenario:
    """Values for the parameters of a sound notebook are wrong."""
    return lambda book: book.write(COUNT, USE).call("plan", *options).err


def with_a_leading_zero(book: NotebookProject) -> str:
    """Hold a text that is not quoted in a file of parameters."""
    (book.folder / "nightly.yaml").write_text("count: 3\nkind: 017\n")
    return given("--params-file", "nightly.yaml")(book)


def ran(*cells: str, options: tuple[str, ...] = ()) -> Scenario:
    """A run reports it."""
    return lambda book: book.write(*cells).call("run", *options).err


def left_out_after_an_edit(book: NotebookProject) -> str:
    """Run a step alone when the step before it has changed."""
    book.write(LOAD, "%%step train -i rows -o model\nmodel = sum(rows)").run()
    book.edit("rows = ", "rows = 2 * ")
    return book.call("plan", "--only", "train").err


def after_a_run(command: str, *options: str) -> Scenario:
    """Another command reports it, after a run of a valid notebook."""

    def call(book: NotebookProject) -> str:
        book.write(LOAD, "%%step train -i rows -o model\nmodel = sum(rows)").run()
        return book.call(command, *options).err

    return call


def unreadable(book: NotebookProject) -> str:
    book.write(LOAD)
    book.path.write_text(book.path.read_text()[:200])
    return book.call("check").err


def of_another_language(book: NotebookProject) -> str:
    book.write("summary(cars)")
    document = book.read()
    document["metadata"] = {"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}}
    book.save(document)
    return book.call("convert", "--dry-run").err


def without_pytest(book: NotebookProject) -> str:
    (book.folder / "blind").mkdir()
    hide = "import sys\nsys.modules['pytest'] = None\nimport importlib.util as u\nf = u.find_spec\n"
    hide += "u.find_spec = lambda name, *a: None if name == 'pytest' else f(name, *a)\n"
    (book.folder / "blind" / "sitecustomize.py").write_text(hide)
    book.environment["PYTHONPATH"] = str(book.folder / "blind")
    return book.write(LOAD).call("test").err


def patched(book: NotebookProject, lines: str) -> NotebookProject:
    """Let every Python that starts execute `lines` first."""
    (book.folder / "patch").mkdir()
    (book.folder / "patch" / "sitecustomize.py").write_text(lines)
    book.environment["PYTHONPATH"] = str(book.folder / "patch")
    return book


def without_dask(book: NotebookProject) -> str:
    patched(book, "import sys\nsys.modules['distributed'] = None\n")
    return book.write(LOAD).call("run", "--on", "dask").err


def on_another_python(book: NotebookProject) -> str:
    """The worker is in the process that asks; so it is the plan that is told something else."""
    lie = "import jupyter_pipelines.planning.keys.packages as p\np.python, real = lambda: '3.99', p.python\n"
    lie += "import jupyter_pipelines.execution.executors.remote.dask as d\n"
    lie += "connect = d.DaskExecutor._connect\ndef lied(self):\n    p.python = real\n    connect(self)\n"
    lie += "d.DaskExecutor._connect = lied\n"
    lines = (
        f"{lie}from jupyter_pipelines.interfaces.cli.main import main\nmain(['run', 'book.ipynb', '--on', 'dask'])\n"
    )
    book.write(LOAD)
    output = re.sub(r"inproc://[^ ]+", "tcp://10.0.0.7:41235", python(book, lines))
    return re.sub(r"Python 3\.\d+,", "Python 3.11,", output)


def on_a_cluster(book: NotebookProject) -> str:
    """A step reads a file whose name its code does not show."""
    (book.folder / "data").mkdir()
    (book.folder / "data" / "2024.csv").write_text("a\n1\n")
    return (
        book.write("%%step load -o rows\nrows = open('data/' + str(2000 + 24) + '.csv').read()")
        .call("run", "--on", "dask")
        .err
    )


def with_a_database(url: str) -> Scenario:
    """The database that a team's settings name is another kind of thing."""

    def call(book: NotebookProject) -> str:
        book.environment["JUPYTER_PIPELINES_INDEX"] = url
        return book.write(LOAD).call("run").err

    return call


def served(line: str) -> Scenario:
    """The answer of the server reports it."""
    lines = "from pathlib import Path\n"
    lines += "from jupyter_pipelines.interfaces.server.json_handler import HttpRefusal, check, not_allowed\n"
    lines += "from jupyter_pipelines.interfaces.server.notebook_registry import NotebookRegistry\n"
    lines += "from jupyter_pipelines.interfaces.server.routes import ROUTES as ALL\n"
    lines += "ROUTES = {(route.method, route.path): route for route in ALL}\n"
    lines += f"try:\n    {line}\nexcept Exception as error:\n    print(error.faults[0])\n"
    return lambda book: python(book, lines)


def bug(book: NotebookProject) -> str:
    patched(book, "import json, re\nre.Scanner.scan = json.dumps = None\n")
    return book.write(LOAD).call("show", "--json").err


def python(book: NotebookProject, lines: str) -> str:
    """Return the output of a Python program that uses the package."""
    done = subprocess.run([sys.executable, "-c", lines], cwd=book.folder, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def unpickled_badly(book: NotebookProject) -> str:
    module = "class Rows:\n    def __setstate__(self, state):\n        raise ImportError('lost')\n\n"
    module += "    def __getstate__(self):\n        return {'a': 1}\n"
    (book.folder / "odd.py").write_text(module)
    cells = (
        "import odd",
        "%%step load -o rows\nrows = odd.Rows()",
        "%%step train -i rows -o model\nmodel = bool(rows)",
    )
    return book.write(*cells).call("run").err


def interrupted(book: NotebookProject) -> str:
    book.write("import time", "%%step load -o rows\ntime.sleep(600)\nrows = [1]")
    lines = "import os, signal\nimport jupyter_pipelines as jp\n"
    lines += "def impatient(*, event):\n    event.kind == 'step-started' and os.kill(os.getpid(), signal.SIGINT)\n"
    return python(book, f"{lines}jp.run(jp.read('book.ipynb'), observers=[impatient]).raise_for_state()\n")


def worker_is_killed(book: NotebookProject) -> str:
    book.environment["JUPYTER_PIPELINES_WARM"] = "0"  # a kernel is then the child of its worker
    kill = "os.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(600)"
    return book.write("import os, signal, time", f"%%step load -o rows\n{kill}\nrows = [1]").call("run").err


def disk_is_read_only(book: NotebookProject) -> str:
    patched(
        book, "import os\ndef refuse(*_, **__):\n    raise OSError(30, 'Read-only file system')\nos.mkdir = refuse\n"
    )
    return book.write(LOAD).call("run").err


def disk_is_full(book: NotebookProject) -> str:
    patched(book, "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n")
    return book.write("%%step load -o rows\nrows = list(range(200_000))").call("run").err


def observed_by_something_broken(book: NotebookProject) -> str:
    lines = "import jupyter_pipelines as jp\ndef broken(*, event):\n    raise OSError('no such window')\n"
    lines += "run = jp.run(jp.read('book.ipynb'), observers=[broken])\nprint(*run.warnings, sep='\\n\\n')\n"
    return python(book.write(LOAD), lines)


def with_a_secret(book: NotebookProject) -> str:
    book.environment["SHOP_TOKEN"] = "not-to-be-seen"
    return book.write(SECRET, "%%step fetch -p token -o rows\nrows = [token]").call("run").err


def store_is_a_file(book: NotebookProject) -> str:
    (book.folder / "results").write_text("")
    return book.write(LOAD).call("run", "--store", "results").err


def in_a_shared_store(book: NotebookProject, *arguments: str) -> str:
    """Call a command on a store that several users write to; the user has a key."""
    home = book.folder.parent / f"{book.folder.name}-home"
    book.environment |= {"JUPYTER_PIPELINES_KEYS": str(home / "keys"), "JUPYTER_PIPELINES_FRONT": str(home / "front")}
    (book.folder / "team").mkdir()
    (book.folder / "team").chmod(0o2770)
    environment = {**os.environ, **book.environment}
    subprocess.run([COMMAND, "keys", "new"], env=environment, capture_output=True, check=True)
    if arguments[0] != "keys":
        patched(book, "import sys\nsys.modules['cryptography'] = None\n")
    options = [*arguments, book.write(LOAD).name, "--store", "team"]
    environment |= book.environment
    done = subprocess.run(
        [COMMAND, *options], cwd=book.folder, env=environment, capture_output=True, text=True, check=False
    )
    return done.stderr


def key_that_others_can_read(book: NotebookProject) -> str:
    keys = book.folder.parent / f"{book.folder.name}-home" / "keys"
    book.environment["JUPYTER_PIPELINES_KEYS"] = str(keys)
    environment = {**os.environ, **book.environment}
    subprocess.run([COMMAND, "keys", "new"], env=environment, capture_output=True, check=True)
    (keys / "own.key").chmod(0o644)
    return book.write(LOAD).call("run").err.replace(str(keys), "/home/ada/.config/jupyter-pipelines/keys")


def newer_store(book: NotebookProject) -> str:
    book.write(LOAD).run()
    path = book.folder / ".pipelines" / "format.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": "jupyter-pipelines/store/99"}))
    return book.call("run").err


def store_command(book: NotebookProject, *arguments: str) -> str:
    done = subprocess.run(
        [COMMAND, "store", *arguments],
        cwd=book.folder,
        env={**os.environ, **book.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr


def store_in_use(book: NotebookProject) -> str:
    """Another process of ours copies the store."""
    from jupyter_pipelines.storage.maintenance.exclusive_use import EXCLUSIVE_KEY
    from jupyter_pipelines.storage.opening import open_store

    with open_store(book.folder / ".pipelines").leases.lease(EXCLUSIVE_KEY):
        text = store_command(book.write(LOAD), "upgrade")
    return text.replace(f"process {os.getpid()}", "process 4711")


def copied_into_itself(book: NotebookProject) -> str:
    book.write(LOAD).run()
    return store_command(book, "move", ".pipelines/copy")


def damaged(command: str, *options: str) -> Scenario:
    """What is stored has another byte."""

    def call(book: NotebookProject) -> str:
        book.write(LOAD, "%%step train -i rows -o model\nmodel = sum(rows)").run()
        artifact = Path(book.call("output", "load.rows", "--json").document["path"])
        artifact.chmod(0o600)
        artifact.write_bytes(artifact.read_bytes().replace(b"3", b"4"))
        return book.call(command, *options).err

    return call


def module_of_a_plugin_is_broken(book: NotebookProject) -> str:
    info = book.folder / "site" / "broken_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[jupyter_pipelines.executors]\nmoon = broken_plugin:Moon\n")
    book.environment["PYTHONPATH"] = str(book.folder / "site")
    return book.write(LOAD).call("run", "--on", "moon").err


def module_changes_while_it_is_used(book: NotebookProject) -> str:
    (book.folder / "prices.py").write_text("TEA = 2\n")
    change = "Path('prices.py').write_text('TEA = 3\\n')"
    cells = ("from pathlib import Path\nimport prices", f"%%step load -o rows\nrows = [prices.TEA]\n{change}")
    return book.write(*cells).call("run").err


SCENARIOS: Mapping[str, Scenario] = {
    "JP101": checked("%%step load -o rows --retires 2\nrows = [1]"),
    "JP102": checked("%%step one -i y -o x\nx = y", "%%step two -i x -o y\ny = x"),
    "JP103": checked("%%step load -o my-rows\nrows = [1]"),
    "JP104": unreadable,
    "JP105": checked("rows = [1]"),
    "JP106": checked(LOAD, "%%step Load -i rows -o size\nsize = len(rows)"),
    "JP107": checked("%%step load -o rows\nrows = [1, 2"),
    "JP108": checked("%%step load -o rows\n%%bash\nls"),
    "JP201": checked(LOAD, "%%step train -i -o model\nmodel = len(rows)"),
    "JP202": checked(LOAD, "%%step train -i rowss -o model\nmodel = rowss"),
    "JP203": checked("%%step load -o rows\nrosw = [1]"),
    "JP204": ran("%%step load -o rows\nif []:\n    rows = [1]\nrow = 1"),
    "JP205": ran("%%step load -o rows\nrows = [(number for number in [1, 2])]"),
    "JP206": checked(LOAD, "%%step again -o rows\nrows = [2]"),
    "JP207": checked(LOAD, "%%step train -i rows -o model\nmodel = 1"),
    "JP208": checked(LOAD, "best = max(map(int, open('best.txt')))", "%%step train -i rows -o model\nmodel = best"),
    "JP209": checked("%%step load -o rows --after load\nrows = [1]"),
    "JP210": checked("%%step load -i raw=data.csv -o rows\nrows = raw.read_text()"),
    "JP211": checked("%%step load -o rows --after laod\nrows = [1]"),
    "JP212": checked(LOAD, "%%step add -i rows -o more\nrows.append(4)\nmore = len(rows)"),
    "JP213": ran("%%step load -o rows same\nrows = [1]\nsame = rows"),
    "JP214": checked("%%step load -o rows\nexec('rows = [1]')\nrows = rows"),
    "JP215": checked(
        "%%step load -o rows\ndef double(x):\n    return 2 * x\nrows = [double(1)]",
        "%%step train -i rows -o model\nmodel = double(rows[0])",
    ),
    "JP216": checked(COUNT, USE, "%%step more -p count -o more\ncount = 4\nmore = count"),
    "JP217": checked("import random\nrandom.seed(1)", "%%step load -o rows\nrows = [random.random()]"),
    "JP218": checked(LOAD, "rows.append(4)", "%%step train -i rows -o model\nmodel = sum(rows)"),
    "JP219": lambda book: (
        book.write("%%params\ndepths: list[int] = [2, 4]", "%%step fit --foreach depth=depths -o model\nmodel = depth")
        .call("plan", "-p", "depths=[2, 2]")
        .err
    ),
    "JP221": checked(
        "%%step clean\nopen('clean.csv', 'w').write('1')", "%%step total -o t\nt = open('clean.csv').read()"
    ),
    "JP222": ran(
        "%%step first\nopen('sums.txt', 'w').write('1')",
        "%%step second\nopen('sums.txt', 'w').write('2')",
        options=("--jobs", "1"),
    ),
    "JP223": lambda book: checked("%%step load -o rows\nimport pandsa\nrows = [1]")(book).replace(
        sys.executable, "/home/ada/.venv/bin/python"
    ),
    "JP224": ran("%%step load -i raw=http://127.0.0.1:1/churn.csv -o rows\nrows = raw.read_text()"),
    "JP300": ran("%%step load -o rows\nprices = {'tea': 2}\nrows = [prices['tee']]"),
    "JP301": ran("import os, signal", "%%step load -o rows\nos.kill(os.getpid(), signal.SIGKILL)\nrows = [1]"),
    "JP302": ran("import os", "%%step load -o rows\nos._exit(0)\nrows = [1]"),
    "JP303": ran("import sys", "%%step load -o rows\nsys.exit(0)\nrows = [1]"),
    "JP304": ran("import time", "%%step load -o rows --timeout 1\ntime.sleep(600)\nrows = [1]"),
    "JP305": ran("%%step load -o rows --kernel nope\nrows = [1]"),
    "JP306": interrupted,
    "JP307": ran(LOAD, "%%step add -i rows -o more\nmore = (lambda taken: taken.append(4))(rows) or len(rows)"),
    "JP308": worker_is_killed,
    "JP309": ran("%%step load -o rows\nrows = [input('How many? ')]"),
    "JP310": unpickled_badly,
    "JP311": module_changes_while_it_is_used,
    "JP312": ran("%%step fit --foreach depth=2,4,8 --allow-failed 1 -o model\nmodel = 1 // (depth - 4)"),
    "JP313": left_out_after_an_edit,
    "JP401": store_is_a_file,
    "JP402": disk_is_read_only,
    "JP403": disk_is_full,
    "JP404": damaged("output", "load.rows"),
    "JP405": after_a_run("output", "load.row"),
    "JP406": newer_store,
    "JP407": store_in_use,
    "JP408": copied_into_itself,
    "JP410": damaged("run", "--force", "train"),
    "JP411": lambda book: in_a_shared_store(book, "run"),
    "JP412": key_that_others_can_read,
    "JP413": lambda book: in_a_shared_store(book, "keys", "sign"),
    "JP414": ran(LOAD, options=("--store", "gs://team/results")),
    "JP415": with_a_database("mysql://ada:hush@10.0.0.9/team"),
    "JP501": given("-p", "cuont=3"),
    "JP502": given("-p", "count=three"),
    "JP503": given("-p", "count=12"),
    "JP504": given("-p", "kind=trea"),
    "JP505": checked("%%params\ncount: Intt = 3", "%%step use -p count -o out\nout = count"),
    "JP506": ran("%%params\ncount: int", "%%step use -p count -o out\nout = count"),
    "JP507": checked("%%params\ncount: int = 3\nother: int = 1", "%%step use -p count -o out\nout = count"),
    "JP508": with_a_leading_zero,
    "JP509": checked("%%params\napi_token: str = 'abc'", "%%step fetch -p api_token -o rows\nrows = [api_token]"),
    "JP510": ran(SECRET, "%%step fetch -p token -o rows\nrows = [len(token)]"),
    "JP511": with_a_secret,
    "JP601": module_of_a_plugin_is_broken,
    "JP602": ran(LOAD, options=("--on", "moon")),
    "JP603": after_a_run("run", "--to", "trian"),
    "JP604": after_a_run("run", "--jobs", "0"),
    "JP605": after_a_run("rnu"),
    "JP701": of_another_language,
    "JP702": lambda book: book.write("rows = [1]").call("convert", "-o", "nowhere/book.ipynb").err,
    "JP607": without_dask,
    "JP608": on_another_python,
    "JP609": on_a_cluster,
    "JP606": observed_by_something_broken,
    "JP703": lambda book: book.write("rows = [1]\nprint(rows)").call("convert", "--static").err,
    "JP704": without_pytest,
    "JP801": served("NotebookRegistry(Path()).meet('../book.ipynb')"),
    "JP802": served("check(ROUTES['POST', 'notebooks'].body, {'path': 7})"),
    "JP803": served("raise HttpRefusal(403, not_allowed('you may not execute pipelines on this server'))"),
    "JP901": bug,
}
