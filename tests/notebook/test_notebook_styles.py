"""Correct notebooks of unusual style: no error, no warning, and the interfaces that their authors mean."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from jupyter_pipelines.notebook.reader import read
from jupyter_pipelines.notebook.source.read_result import ReadResult
from tests.e2e.notebook_project import NotebookProject

# Cells, and for each step what it takes -> what it makes.
STYLES: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "classes, decorators and bases from other cells": (
        (
            "import functools\nfrom dataclasses import dataclass, field",
            "def traced(f):\n    @functools.wraps(f)\n    def inner(*args, **more):\n        return f(*args, **more)\n    return inner",
            "class Base:\n    unit = 'cm'\n\n    def size(self):\n        return len(self.items)",
            "@dataclass\nclass Box(Base):\n    items: list = field(default_factory=list)\n\n    @traced\n    def add(self, item):\n        self.items.append(item)\n        return self",
            "%%step fill\nbox = Box().add(1).add(2)\ntotal = box.size()",
            "%%step report\nprint(total, Base.unit)",
        ),
        {"fill": "-> total", "report": "total ->"},
    ),
    "walrus, comprehensions that shadow, lambdas with defaults": (
        (
            "%%step load\nrows = [3, 1, 2]\nscale = 2",
            "%%step work\nif (n := len(rows)) > 2:\n    pass\nsquares = [y for x in rows if (y := x * x) > 1]\n"
            "rows_by = {row: [rows for rows in range(row)] for row in rows}\n"
            "key = lambda x, k=scale: -x * k\nordered = sorted(squares, key=key)",
            "%%step show\nprint(ordered, n, rows_by)",
        ),
        {"load": "-> rows scale", "work": "rows scale -> n ordered rows_by", "show": "ordered n rows_by ->"},
    ),
    "closures, nonlocal and global": (
        (
            "COUNT = 0\n\ndef counter(start):\n    count = start\n    def step():\n        nonlocal count\n        count += 1\n        return count\n    return step",
            "def bump():\n    global COUNT\n    COUNT += 1\n    return COUNT",
            "%%step use -o numbers\nnext_one = counter(10)\nnumbers = [next_one(), next_one(), bump()]",
        ),
        {"use": "-> numbers"},
    ),
    "match, for-else, try-finally, with": (
        (
            "import contextlib\nimport io",
            "%%step read -o words kind\nwith contextlib.suppress(ValueError), io.StringIO('a b c') as source:\n    words = source.read().split()\n"
            "match words:\n    case [first, *rest] if rest:\n        kind = first\n    case []:\n        kind = None\n    case {'a': value, **others}:\n        kind = others\n    case _:\n        kind = 'other'",
            "%%step find -i words -o found\nfor word in words:\n    if word == 'b':\n        found = word\n        break\nelse:\n    found = ''\ntry:\n    pass\nexcept (ValueError, KeyError) as error:\n    print(error)\nfinally:\n    print(found)",
        ),
        {"read": "-> words kind", "find": "words -> found"},
    ),
    "await, async for and generators": (
        (
            "import asyncio\n\nasync def numbers(n):\n    for i in range(n):\n        yield i\n        await asyncio.sleep(0)",
            "%%step gather -o got\ngot = [i async for i in numbers(3)]\nasync for one in numbers(1):\n    got.append(one)\nawait asyncio.sleep(0)",
        ),
        {"gather": "-> got"},
    ),
    "imports that are tried, type checking, submodules under other names": (
        (
            "from __future__ import annotations\nimport os.path as where\nimport xml.etree.ElementTree as ET\nfrom typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from collections.abc import Iterable",
            "try:\n    import tomllib\nexcept ImportError:\n    tomllib = None",
            "def parsed(text: str) -> Iterable[str]:\n    return tomllib.loads(text) if tomllib else ()",
            "%%step parse -o table name\ntable = dict(parsed('a = 1'))\nname: str = where.basename('/x/y')\nroot = ET.fromstring('<a/>')",
        ),
        {"parse": "-> table name"},
    ),
    "a step over several cells, with words between": (
        (
            "%%step load -o rows\nrows = []",
            "#md Now some more.",
            "%%step load\nrows.extend([1, 2])\nextra = 1",
            "rows[:1]",
            "%%step use -i rows -o n\nn = len(rows) + 1",
        ),
        {"load": "-> rows", "use": "rows -> n"},
    ),
    "comments instead of magics": (
        (
            "#| params\nlimit: int = 3",
            "#| step: load\n#| out: rows\nrows = list(range(10))",
            "#| step: cut\n#| in: rows\n#| out: rows\n#| param: limit\n#| retries: 1\nrows = rows[:limit]",
            "#| step: show\nprint(rows)",
        ),
        {"load": "-> rows", "cut": "rows -> rows", "show": "rows ->"},
    ),
    "IPython's own lines": (
        (
            "%matplotlib inline\n%config InlineBackend.figure_format = 'retina'\n%load_ext autoreload\n%autoreload 2",
            "!pip list | head -1",
            "files = !ls",
            "len?",
            "%%step work -o text\n%time numbers = [1, 2]\ntext = '''\n%not a magic\n!nor this\n'''\nnumbers",
            "%%time\n%%step more -i text -o n\nn = len(text)",
        ),
        {"work": "-> text", "more": "text -> n"},
    ),
    "constants made of constants, tables of functions": (
        (
            "HOUR = 60 * 60\nDAY = 24 * HOUR\nLIMITS = {'a': (1, DAY), 'b': (2, -HOUR)}\nNAME = f'{DAY} seconds'",
            "def low(x):\n    return x - HOUR\n\ndef high(x):\n    return x + DAY",
            "TABLE = {'low': low, 'high': high}",
            "%%step use -o results\nresults = {name: f(LIMITS['a'][1]) for name, f in TABLE.items()}\nprint(NAME)",
        ),
        {"use": "-> results"},
    ),
    "functions that use parameters and outputs as globals": (
        (
            "%%params\nrate: float = 0.5",
            "def taxed(x):\n    return x * (1 + rate)\n\ndef lookup(name):\n    return prices[name]",
            "%%step load\nprices = {'a': 1.0}",
            "%%step pay\ncost = taxed(lookup('a'))",
            "%%step show\nprint(cost)",
        ),
        {"load": "-> prices", "pay": "prices -> cost", "show": "cost ->"},
    ),
    "names made again, deleted, unpacked and left over": (
        (
            "%%step load -o rows\nrows, _ = [3, 1], None\ntmp = 1\ndel tmp",
            "%%step clean -i rows -o rows\nrows = sorted(rows)\nfor i, _ in enumerate(rows):\n    pass",
            "%%step also -i rows -o first\nfirst, *others = rows\ntmp = others",
            "%%step use -i r=clean.rows first -o n\nn = len(r) + first",
        ),
        {"load": "-> rows", "clean": "rows -> rows", "also": "rows -> first", "use": "r first -> n"},
    ),
    "settings for every step": (
        (
            "import random\nimport decimal",
            "%%setup\nrandom.seed(7)\ndecimal.getcontext().prec = 8\nround_to = 3",
            "%%step draw -o x\nx = round(random.random(), round_to)",
            "%%step use -i x\nprint(x, decimal.Decimal(1) / 3)",
        ),
        {"draw": "-> x", "use": "x ->"},
    ),
}


def interfaces(reading: ReadResult) -> dict[str, str]:
    assert reading.pipeline is not None
    texts = {}
    for step in reading.pipeline:
        inputs = " ".join(input_.name for input_ in step.inputs)
        outputs = " ".join(output.name for output in step.outputs)
        texts[step.name] = f"{inputs} -> {outputs}".strip()
    return texts


def words(interface: str) -> tuple[set[str], set[str]]:
    inputs, _, outputs = interface.partition("->")
    return set(inputs.split()), set(outputs.split())


@pytest.mark.parametrize("style", STYLES)
def test_unusual_but_right(tmp_path: Path, style: str) -> None:
    cells, expected = STYLES[style]
    reading = read(NotebookProject(tmp_path).write(*cells).path)
    assert [str(diagnostic) for diagnostic in reading.faults] == []
    actual = interfaces(reading)
    assert {name: words(text) for name, text in actual.items()} == {
        name: words(text) for name, text in expected.items()
    }
    assert all(not step.unknown for step in reading.pipeline or ())


def test_a_percent_script(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(
        "# %% [markdown]\n# # Title\n\n# %%\nimport math\n\n# %%\n#| step: one\nx = math.pi\n\n# %%\n#| step: two\nprint(x)\n"
    )
    reading = read(path)
    assert reading.faults == ()
    assert interfaces(reading) == {"one": "-> x", "two": "x ->"}


@pytest.mark.parametrize("name", ["quickstart", "flights"])
@pytest.mark.parametrize("bare", [False, True], ids=["as it is", "interfaces left out"])
def test_the_examples(tmp_path: Path, name: str, bare: bool) -> None:
    source = Path(__file__).parents[2] / "notebooks" / f"{name}.ipynb"
    for module in source.parent.glob("*.py"):
        (tmp_path / module.name).write_text(module.read_text())
    document = json.loads(source.read_text())
    declared = interfaces(read(source))
    for cell in document["cells"] if bare else ():
        text = "".join(cell["source"])
        if text.startswith("%%step") and ":file" not in text.split("\n")[0]:
            cell["source"] = re.sub(r"^(%%step \w+).*", r"\1", text)
    book = NotebookProject(tmp_path, f"{name}.ipynb")
    book.save(document)
    reading = read(book.path)
    assert [str(diagnostic) for diagnostic in reading.faults] == []
    assert {key: words(text) for key, text in interfaces(reading).items()} == {
        key: words(text) for key, text in declared.items()
    }
