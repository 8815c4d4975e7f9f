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
}


@pytest.mark.parametrize("name", REFUSED)
def test_check_refuses_what_run_refuses_in_the_same_words(book: NotebookProject, name: str) -> None:
    cells, options, code = REFUSED[name]
    book.write(*cells)
    (book.folder / "sub").mkdir()
    book.name = f"sub/../{book.name}"
    checked, ran = book.call("check", *options), book.call("run", *options)
    assert (checked.code, ran.code) == (2, 2)
    assert f"error[{code}]: " in ran.err
    assert f"  --> {book.name}" in ran.err
    errors = [paragraph for paragraph in ran.err.strip().split("\n\n") if paragraph.startswith("error")]
    assert [paragraph for paragraph in checked.out.strip().split("\n\n") if paragraph.startswith("error")] == errors


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
