"""What `run` refuses before anything runs, `check` refuses, in the same words."""

from __future__ import annotations

import re

import pytest

from tests.e2e.notebook_project import NotebookProject

COUNT = "%%params\ncount: int = 3\ndepths: list[int] = [1, 2]"
USE = "%%step use -p count -o out\nout = count"
EACH = "%%step each --foreach depth=depths -o trees\ntrees = depth"
REFUSED: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "a value of the wrong type": ((COUNT, USE, EACH), ("-p", "count=many"), "JP502"),
    "a parameter that does not exist": ((COUNT, USE, EACH), ("-p", "cuont=1"), "JP501"),
    "a parameter without a value": (("%%params\ncount: int", USE), (), "JP506"),
    "items that are no items": ((COUNT, USE, EACH), ("-p", "depths=[]"), "JP219"),
    "a kernel that is not installed": (("%%step a -o x --kernel moon\nx = 1",), (), "JP305"),
    "a kernel of many items": (("%%step a -o x --kernel moon --foreach n=1,2\nx = n",), (), "JP305"),
    "a cell that a step needs and that cannot be read": (("rows = [1", "%%step a -o x\nx = rows"), (), "JP107"),
    "a package that is not installed": (("%%step a -o x\nimport pandsa\nx = 1",), (), "JP223"),
    "a package on a line of its own": (("%%step a -o x\r\nimport os, \\\r\n  pandsa\r\nx = 1",), (), "JP223"),
    "a package of shared code": (("import numpy as np, pandsa.frames as pd", "%%step a -o x\nx = pd.x"), (), "JP223"),
    "a package of setup": (("#md # Shop", "%%setup\nfrom pandsa import x", "%%step a -o x\nx = 1"), (), "JP223"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_check_refuses_what_run_refuses_in_the_same_words(book: NotebookProject, name: str) -> None:
    cells, options, code = REFUSED[name]
    book.write(*cells)
    (book.folder / "sub").mkdir()
    book.name = f"sub/../{book.name}"
    checked, ran, planned = (book.call(command, *options) for command in ("check", "run", "plan"))
    assert (checked.code, ran.code, planned.code) == (2, 2, 2)
    assert planned.err == ran.err
    assert f"error[{code}]: " in ran.err
    assert f"  --> {book.name}" in ran.err
    errors = [paragraph for paragraph in ran.err.strip().split("\n\n") if paragraph.startswith("error")]
    assert [paragraph for paragraph in checked.out.strip().split("\n\n") if paragraph.startswith("error")] == errors


def test_all_faults_are_listed_together_whatever_their_kind(book: NotebookProject) -> None:
    (book.folder / "empty").mkdir()
    book.write(
        "%%params\ncount: int = 3\ndepths: list[int] = [2, 4]\nrate: float = 'high'",
        "%%step a -o x --retires 2\nx = count, rate",
        "%%step b -i x none -o y --kernel moon --foreach depth=depths\ny = x, none, depth",
        "%%step c --foreach part=empty/ -o z\nz = part.name",
        "%%step d -i raw=no.csv -o w\nimport pandsa\nw = raw",
    )
    options = ("-p", "count=many", "-p", "depths=[2, 2]", "-p", "rate=2", "-p", "cuont=1", "--json")
    checked, ran, planned = (book.call(command, *options) for command in ("check", "run", "plan"))
    errors = [fault for fault in checked.document["faults"] if fault["severity"] == "error"]
    codes = [fault["code"] for fault in errors]
    assert codes == ["JP502", "JP101", "JP202", "JP210", "JP305", "JP223", "JP501", "JP502", "JP219", "JP210"]
    assert ran.document["faults"] == planned.document["faults"] == errors
    assert (checked.code, ran.code, planned.code) == (2, 2, 2)
    assert not (book.folder / ".pipelines").exists()
    # Once the notebook itself is in order: what a selection asks for, too, and only steps that would run count.
    book.write("%%step a -o x\nx = 1", "%%step b -i x -o y --kernel moon\nimport pandsa\ny = x")
    assert book.call("plan", "--only", "a").code == 0
    selected = book.call("plan", "--to", "aa", "--json")
    assert [fault["code"] for fault in selected.document["faults"]] == ["JP305", "JP603"]


UNCERTAIN_IMPORTS = (
    "try:\n    import nowhere\nexcept ImportError:\n    nowhere = None",
    "if len('a') == 2:\n    import nowhere",
    "def later():\n    import nowhere",
    "import contextlib\nwith contextlib.suppress(ImportError):\n    import nowhere",
    "%pip install nowhere\nimport nowhere",
    "!pip install nowhere\nimport nowhere",
    "import sys\nsys.path.append('lib')\nimport nowhere",
    "import sys, types\nsys.modules['nowhere'] = types.ModuleType('nowhere')\nimport nowhere",
    "import os\nos.chdir('lib')\nimport nowhere",
    "import findspark\nfindspark.init()\nimport nowhere",
    "%load_ext Cython\nimport nowhere",
    "open('nowhere.py', 'w').write('a = 1')\nimport nowhere",
    "from pathlib import Path\nPath('lib/nowhere.py').touch()\nimport nowhere",
    "import shutil\nshutil.unpack_archive('lib.zip')\nimport nowhere",
    "from urllib.request import urlretrieve\nurlretrieve('http://127.0.0.1/x', 'x')\nimport nowhere",
    "import beside, namespace.part, script, of_src",
    "import numpy.random, setuptools.command, xml.dom",
)


def test_an_import_that_may_work_is_not_refused(book: NotebookProject) -> None:
    for name in ("beside.py", "namespace/part.py", "script.hy", "src/of_src/__init__.py", "more/findspark.py"):
        (book.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (book.folder / name).write_text("")
    (book.folder / "pyproject.toml").write_text("")
    book.environment["PYTHONPATH"] = str(book.folder / "more")
    shared = ("try:\n    import lost\nexcept ImportError:\n    lost = None", "import nothing")
    elsewhere = "%%step k --kernel python3 -o k\nimport nowhere\nk = 1"
    notebooks = [(f"%%step s -o x\n{code}\nx = 1",) for code in UNCERTAIN_IMPORTS]
    # A step may install what another one imports.
    notebooks.append(
        ("%%step first -o x\n!pip install nowhere\nx = 1", "%%step second -i x -o y\nimport nowhere\ny = x")
    )
    notebooks.append((*shared, "%%step last -o y\ny = lost", elsewhere))
    for cells in notebooks:
        book.write(*cells)
        faults = book.call("check", "--json").document["faults"]
        assert "JP223" not in {fault["code"] for fault in faults}, cells


IMPORTS = "import sqlite3\nimport threading"
UNSTORABLE = {
    "generator": "(n for n in range(3))",
    "produced": "produce()",
    "coroutine": "later()",
    "written": "open('x.txt', 'w')",
    "read": "open('x.txt', mode='r')",
    "lock": "threading.Lock()",
    "rlock": "threading.RLock()",
    "connection": "sqlite3.connect(':memory:')",
}
FUNCTIONS = "def produce():\n    yield 1\n\n\nasync def later():\n    return 1\n\n\n"


def test_an_output_that_certainly_cannot_be_stored_is_refused_in_the_words_of_a_run(book: NotebookProject) -> None:
    (book.folder / "x.txt").write_text("")
    steps = [f"%%step make_{name} -o {name}\n{FUNCTIONS}{name} = {code}" for name, code in UNSTORABLE.items()]
    checked = book.write(IMPORTS, *steps).call("check")
    assert checked.code == 2
    # What a function returns cannot be known without running it.
    hidden = [
        step.replace(f"{name} = ", f"{name} = (lambda: ") + ")()" for name, step in zip(UNSTORABLE, steps, strict=True)
    ]
    assert book.write(IMPORTS, *hidden).call("check").code == 0
    ran = book.call("run", "--continue")
    assert ran.code == 1
    words = re.compile(r"^error\[JP205\]: (.*)$|^   = help: (`.*)$", re.M)
    assert sorted(words.findall(checked.out)) == sorted(words.findall(ran.err))
    assert len(words.findall(ran.err)) == 2 * len(UNSTORABLE)


UNCERTAIN = (
    "x = (n for n in range(3))\nx = list(x)",
    "x = (n for n in range(3))\nfor x in x:\n    pass",
    "if len('a'):\n    x = (n for n in range(3))\nelse:\n    x = 1",
    "x = [n for n in range(3)]",
    "x = list(n for n in range(3))",
    "x = open('x.txt').read()",
    "def open(path):\n    return path\nx = open('x.txt')",
    "from gzip import open\nx = open('x.txt')",
    "mode = 'rb'\nx = open('x.txt', mode)",
    "def f():\n    def g():\n        yield 1\n    return list(g())\nx = f()",
    "import functools\n@functools.lru_cache\ndef f():\n    yield 1\nx = f()",
    "async def f():\n    return 1\nx = await f()",
    "class Table:\n    def sorted(self):\n        yield 1\nx = sorted([3, 1])",
    "class threading:\n    Lock = int\nx = threading.Lock()",
    "import sqlite3\nx = sqlite3.connect(':memory:', factory=dict)",
    "x = (n for n in range(3))\n%time x = 1",
    "x = (n for n in range(3))\nexec('x = 1')",
    "def f():\n    global x\n    x = 1\nx = (n for n in range(3))\nf()",
    "x, y = (n for n in range(2))",
    "with open('x.txt') as x:\n    pass\nx = 1",
)


def test_what_may_be_stored_is_not_refused(book: NotebookProject) -> None:
    steps = [
        f"%%step s{number} -o x{number}\n" + re.sub(r"\bx\b(?!\.txt)", f"x{number}", code)
        for number, code in enumerate(UNCERTAIN)
    ]
    checked = book.write(*steps).call("check", "--json")
    assert [fault for fault in checked.document["faults"] if fault["severity"] == "error"] == []
