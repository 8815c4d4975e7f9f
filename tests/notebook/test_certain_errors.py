"""What a run would certainly fail on is an error before it; what might work is none."""

from __future__ import annotations

import pytest

from tests.notebook.notebooks import diagnostics, only_diagnostic, pipeline, shape, shared

STEP = "%%step a -o x\nx = [f(2)]"


@pytest.mark.parametrize(
    ("cell", "step"),
    [
        ("def f(x):\n    return (x", STEP),
        ("rows = [1, 2", "%%step a -o x\nx = len(rows)"),
        ("import math as m\n)", "%%step a -o x\nx = m.pi"),
        ("from math import pi, tau\nx = = 1", "%%step a -o x\nx = tau"),
        ("class K:\n    a = 1 +", "%%step a -o x\nx = K.a"),
        ("if True:\n    LIMIT: int = 3\n  y = 2", "%%step a -o x\nx = LIMIT"),
        ("first, (last, more) = 1, (2, 3)\nprint 1", "%%step a -o x\nx = more"),
        ("names = !ls\nx = (%time", "%%step a -o x\nx = names"),
        ("größe = 3\nprint(%run lib.py)", "%%step a -o x\nx = größe"),
        ("for line in range(3) print(line)", "%%step a -o x\nx = line"),
    ],
)
def test_a_cell_that_cannot_be_parsed_is_an_error_where_a_step_needs_it(cell: str, step: str) -> None:
    diagnostic = only_diagnostic(cell, step)
    assert (diagnostic.code, diagnostic.severity, diagnostic.step) == ("JP107", "error", "a")
    assert diagnostic.place
    assert diagnostic.place.cell == 1
    assert diagnostic.notes[-1].startswith("step `a` needs `")
    assert only_diagnostic(cell, "%%step b -o y\ny = 1").severity == "warning"


def test_a_cell_that_only_reads_the_name_does_not_define_it() -> None:
    cells = ("print(rows\nif rows == 1: rows.append(2)", "%%step a -o x\nx = rows")
    assert {(d.code, d.severity) for d in diagnostics(*cells)} == {("JP107", "warning"), ("JP201", "error")}


def test_a_name_that_another_cell_binds_needs_no_cell_that_cannot_be_parsed() -> None:
    assert only_diagnostic("rows = [1]", "rows = [1, 2", "%%step a -o x\nx = rows").severity == "warning"


@pytest.mark.parametrize(
    "cell",
    [
        "def f(x):\n    return x * mising",
        "def g(x):\n    y = mising + x\n    return y\ndef f(x):\n    return g(x)",
        "def f(x):\n    with open('rows.txt') as file:\n        return mising(file)",
        "def f(x):\n    for row in mising:\n        x += row\n    return x",
        "def f(x=mising):\n    return x",
        "@mising\ndef f(x):\n    return x",
    ],
)
def test_shared_code_that_certainly_fails_is_an_error(cell: str) -> None:
    diagnostic = only_diagnostic(cell, STEP)
    assert (diagnostic.code, diagnostic.severity) == ("JP201", "error")


@pytest.mark.parametrize(
    "cell",
    [
        "def f(x):\n    return x if x else mising",
        "def f(x):\n    if x > 3:\n        return mising\n    return x",
        "def f(x):\n    try:\n        return mising\n    except NameError:\n        return x",
        "def f(x):\n    return x and mising",
        "def f(x):\n    return [mising for _ in range(x - 2)]",
        "def f(x):\n    return lambda: mising",
        "def f(x):\n    if x:\n        return x\n    return mising",
        "def f(x):\n    globals()['mising'] = 1\n    return mising",
        "def f(x):\n    exec('mising = 1')\n    return mising",
        "def f(x):\n    yield mising",
        "async def f(x):\n    return mising",
        "import contextlib\ndef f(x):\n    with contextlib.suppress(NameError):\n        return mising",
        "def f(x):\n    global mising\n    mising = 2\n    return mising",
        "def init():\n    global other, mising\n    mising = 2\ndef f(x):\n    init()\n    return mising",
    ],
)
def test_shared_code_that_may_work_is_no_error(cell: str) -> None:
    assert all(diagnostic.severity == "warning" for diagnostic in diagnostics(cell, STEP))


@pytest.mark.parametrize(
    "line",
    [
        "import builtins; builtins.mising = 3",
        "import sys; setattr(sys.modules['__main__'], 'mising', 3)",
        "import sympy; sympy.var('first mising')",
        "%load_ext other",
    ],
)
@pytest.mark.parametrize("header", ["%%setup", "%%step before -o z\nz = 1"])
def test_a_name_that_code_may_set_from_outside_is_no_error(header: str, line: str) -> None:
    cells = (f"{header}\n{line}", "def f(x):\n    return mising", STEP)
    assert all(diagnostic.severity == "warning" for diagnostic in diagnostics(*cells))


def test_extensions_that_bind_nothing_leave_it_an_error() -> None:
    setup = "%load_ext jupyter_pipelines\n%load_ext autoreload"
    assert only_diagnostic(setup, "def f(x):\n    return mising", STEP).severity == "error"


STAR = "from numpy import *"


@pytest.mark.parametrize("module", ["numpy", "math", "os", "collections", "no_such_package"])
@pytest.mark.parametrize("name", ["sum", "max", "any", "pow", "open", "abs", "round", "all", "min"])
def test_a_star_import_makes_no_builtin_an_input(module: str, name: str) -> None:
    use = f"%%step b -i x -o y\ny = [{name}(x)]"
    star = f"from {module} import *"
    made = pipeline(f"%%step a -o x\n{star}\nx = {name}", use)
    assert shape(made.steps[1]) == ({"x": "a.x"}, ["y"])
    assert not shared(made.steps[1])
    inferred = pipeline(f"%%step a\n{star}\nx = {name}", f"%%step b\ny = {name}(x)\nprint(y)")
    assert shape(inferred.steps[1])[0] == {"x": "a.x"}
    for cell in (star, f"%%setup\n{star}"):
        made = pipeline(cell, "%%step a -o x\nx = 3", use)
        assert shape(made.steps[1]) == ({"x": "a.x"}, ["y"])


def test_a_star_import_that_may_shadow_a_builtin_comes_with_the_step_that_uses_it() -> None:
    made = pipeline(STAR, "%%step a -o x\nx = 3", "%%step b -i x -o y\ny = sum([x])")
    assert [shared(step) for step in made.steps] == [[], [STAR]]
    made = pipeline("from math import *", "%%step a -o x\nx = sum([1])", "%%step b -i x -o y\ny = pow(x, 2)")
    assert [shared(step) for step in made.steps] == [[], ["pow"]]
