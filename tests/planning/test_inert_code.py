"""Imports that nothing uses, and hints of functions that are only called, do not count; look-alikes do.

Each pair of codes is also run as it stands: where the key stays, the results are equal to the last byte of a pickle.
"""

from __future__ import annotations

import hashlib
import importlib
import itertools
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_pipelines.pipeline.step import SharedCode, Step
from jupyter_pipelines.planning.keys.canonical_code import canonical
from jupyter_pipelines.planning.keys.fingerprint import key, parts
from jupyter_pipelines.planning.keys.inert_code import IMPORTED, LOADED, inert_names, words_of
from tests.planning.planning_fakes import PYTHON, module, shared, step

Code = tuple[str, ...]
"""Shared code, one text each; a module as ``MODULE tools``, a line end and its text; last the cell that makes `y`."""

CALLED = ("def f(x):\n    z = x + 1\n    return z", "y = f(1)")
DISPATCH = """import functools
@functools.singledispatch
def f(x):
    return 0
@f.register
def g(x: {}):
    return 1
y = f(1)"""
SHOW = "def show(f):\n    return lambda: str(f.__annotations__)"
SAME: dict[str, tuple[Code, Code]] = {
    "import in a cell": (("import os\ny = os.sep",), ("import os\nimport re\ny = os.sep",)),
    "import under another name": (("y = 1",), ("import json as j\ny = 1",)),
    "import of a class": (("y = 1",), ("from pathlib import Path\ny = 1",)),
    "single name of an import": (("import os\ny = os.sep",), ("import os, re\ny = os.sep",)),
    "import in a module": (
        ("MODULE tools\nLIMIT = 1", "import tools", "y = tools.LIMIT"),
        ("MODULE tools\nimport math\nLIMIT = 1", "import tools", "y = tools.LIMIT"),
    ),
    "hints": (CALLED, ("def f(x: int) -> int:\n    z = x + 1\n    return z", "y = f(1)")),
    "hint of a local variable": (CALLED, ("def f(x):\n    z: int = x + 1\n    return z", "y = f(1)")),
    "hint of a constant": (("LIMIT = 1", "y = LIMIT"), ("LIMIT: int = 1", "y = LIMIT")),
    "hint with an import for it": (
        CALLED,
        ("from typing import Optional", "def f(x: Optional[int]) -> int:\n    z = x + 1\n    return z", "y = f(1)"),
    ),
    "hint of a package": (
        ("import numpy as np", "def f(x):\n    return 1", "y = int(np.sqrt(f(4)))"),
        ("import numpy as np", "def f(x: np.ndarray) -> int | None:\n    return 1", "y = int(np.sqrt(f(4)))"),
    ),
    "hint of a package in the body": (
        ("import numpy as np", "def f(x):\n    return 1", "F = f(1)", "y = int(np.sqrt(F))"),
        ("import numpy as np", "def f(x: np.ndarray):\n    return 1", "F = f(1)", "y = int(np.sqrt(F))"),
    ),
    "hint in the cell": (
        ("def f(x, *more, **named):\n    return x\ny = f(1)",),
        ("from typing import Any\ndef f(x: Any, *more: 'int', **named: int | None) -> Any:\n    return x\ny = f(1)",),
    ),
    "hints in a module": (
        ("MODULE tools\ndef g(x):\n    return f(x)\ndef f(x):\n    return x", "from tools import g", "y = g(1)"),
        (
            """MODULE tools
from collections.abc import Sequence
def g(x: Sequence[int]) -> list[int]:
    return f(x)
def f(x: tuple[int, ...]):
    return x""",
            "from tools import g",
            "y = g(1)",
        ),
    ),
    "hints of a function in a function": (
        ("def g():\n    def f(x):\n        return x\n    return f(1)", "y = g()"),
        ("def g() -> int:\n    def f(x: int) -> int:\n        return x\n    return f(1)", "y = g()"),
    ),
    "hints of a generator": (
        ("def f():\n    yield 1", "y = list(f())"),
        ("from typing import Iterator", "def f() -> Iterator[int]:\n    yield 1", "y = list(f())"),
    ),
}
ACTS: dict[str, tuple[Code, Code]] = {
    "import that is used": (
        ("def re():\n    return 1", "y = re()"), ("def re():\n    return 1", "import re\ny = re()"),
    ),
    "import that is called": (("y = partial(int)()",), ("from functools import partial\ny = partial(int)()",)),
    "import that another import takes": (
        ("MODULE tools\nLIMIT = 1", "from tools import math\nimport math\ny = 1"),
        ("MODULE tools\nimport math\nLIMIT = 1", "from tools import math\nimport math\ny = 1"),
    ),
    "import that another import renames": (
        ("MODULE tools\nLIMIT = 1", "from tools import math as m\ny = 1"),
        ("MODULE tools\nimport math\nLIMIT = 1", "from tools import math as m\ny = 1"),
    ),
    "import over an input": (("re = 1", "y = re"), ("re = 1", "import re\ny = re")),
    "import of a name that is not there": (("y = 1",), ("from math import nothing\ny = 1",)),
    "import of a module that is not there": (("y = 1",), ("import not_there\ny = 1",)),
    "import with effects": (
        ("import sys\ny = 'this' in sys.modules",), ("import sys, this\ny = 'this' in sys.modules",),
    ),
    "import that globals show": (("y = 're' in globals()",), ("import re\ny = 're' in globals()",)),
    "import that vars show": (("y = len(vars())",), ("import re\ny = len(vars())",)),
    "import that dir shows": (("y = sorted(dir())",), ("import re\ny = sorted(dir())",)),
    "import that exec uses": (
        ("try:\n    y = eval('r' + 'e').__name__\nexcept NameError:\n    y = 0",),
        ("import re\ntry:\n    y = eval('r' + 'e').__name__\nexcept NameError:\n    y = 0",),
    ),
    "import that a frame shows": (
        ("import sys\ny = len(sys._getframe().f_globals)",),
        ("import sys, re\ny = len(sys._getframe().f_globals)",),
    ),
    "import in a module that shows it": (
        ("MODULE tools\nLIMIT = 1", "import tools", "y = hasattr(tools, 'ma' + 'th')"),
        ("MODULE tools\nimport math\nLIMIT = 1", "import tools", "y = hasattr(tools, 'ma' + 'th')"),
    ),
    "star import of such a module": (
        ("MODULE tools\nLIMIT = 1", "math = 0\nfrom tools import *\ny = str(math)"),
        ("MODULE tools\nimport math\nLIMIT = 1", "math = 0\nfrom tools import *\ny = str(math)"),
    ),
    "import in a function that is a value": (
        ("def f():\n    x = 1\n    return x", "y = f"),
        ("def f():\n    import re\n    x = 1\n    return x", "y = f"),
    ),
    "hints of a value": (("def f(x):\n    return x", "y = f"), ("def f(x: int):\n    return x", "y = f")),
    "hints that are read": (
        ("def f(x):\n    return x", "y = str(f.__annotations__)"),
        ("def f(x: int):\n    return x", "y = str(f.__annotations__)"),
    ),
    "hints that typing reads": (
        ("import typing\ndef f(x):\n    return x", "y = str(typing.get_type_hints(f))"),
        ("import typing\ndef f(x: int):\n    return x", "y = str(typing.get_type_hints(f))"),
    ),
    "hints that inspect reads": (
        ("import inspect\ndef f(x):\n    return x", "y = str(inspect.signature(f))"),
        ("import inspect\ndef f(x: int):\n    return x", "y = str(inspect.signature(f))"),
    ),
    "hints that dispatch": ((DISPATCH.format("str"),), (DISPATCH.format("int"),)),
    "hints under a decorator": (
        (SHOW, "@show\ndef f(x=1):\n    return x", "y = f()"),
        (SHOW, "@show\ndef f(x: int = 1):\n    return x", "y = f()"),
    ),
    "hints of a dataclass": (
        ("import dataclasses\n@dataclasses.dataclass\nclass A:\n    x = 1\ny = repr(A())",),
        ("import dataclasses\n@dataclasses.dataclass\nclass A:\n    x: int = 1\ny = repr(A())",),
    ),
    "hints of a named tuple": (
        ("from typing import NamedTuple\nclass A(NamedTuple):\n    x: int = 1\n    z = 2\ny = len(A())",),
        ("from typing import NamedTuple\nclass A(NamedTuple):\n    x: int = 1\n    z: int = 2\ny = len(A())",),
    ),
    "hints of what a value calls": (
        ("def f(x):\n    return x", "y = lambda: f(1)"), ("def f(x: int):\n    return x", "y = lambda: f(1)"),
    ),
    "hints of what a function that is a value calls": (
        ("def f(x):\n    return x", "def g():\n    return f(1)", "y = g"),
        ("def f(x: int):\n    return x", "def g():\n    return f(1)", "y = g"),
    ),
    "hints of what an object calls": (
        ("def f(x):\n    return x", "class A:\n    def go(self):\n        return f(1)", "y = A()"),
        ("def f(x: int):\n    return x", "class A:\n    def go(self):\n        return f(1)", "y = A()"),
    ),
    "hints of a function in a value": (
        ("def g():\n    def f(x):\n        return x\n    return f(1)", "y = g"),
        ("def g():\n    def f(x: int):\n        return x\n    return f(1)", "y = g"),
    ),
    "hints of a function in a value that does not call it": (
        ("def g():\n    def f(x):\n        return x\n    return 1", "y = g"),
        ("def g():\n    def f(x: int):\n        return x\n    return 1", "y = g"),
    ),
    "hint of a local variable of a value": (
        ("def f():\n    x = 1\n    return x", "y = f.__annotations__, f.__code__.co_firstlineno"),
        ("def f(a: int = 2):\n    x: int = 1\n    return x", "y = f.__annotations__, f.__code__.co_firstlineno"),
    ),
    "hint that is not there": (CALLED, ("def f(x: Number):\n    z = x + 1\n    return z", "y = f(1)")),
    "hint that is imported later": (
        CALLED, ("def f(x: Any):\n    z = x + 1\n    return z", "y = f(1)\nfrom typing import Any\nz = 1"),
    ),
    "hint that a module does not import": (
        ("MODULE tools\ndef f(x):\n    return x", "from typing import Any", "from tools import f", "y = f(1)"),
        ("MODULE tools\ndef f(x: Any):\n    return x", "from typing import Any", "from tools import f", "y = f(1)"),
    ),
    "hint that may not be imported": (
        ("if 0:\n    from typing import Any\ndef f(x):\n    return x\ny = f(1)",),
        ("if 0:\n    from typing import Any\ndef f(x: Any):\n    return x\ny = f(1)",),
    ),
    "hint from another module": (
        ("from math import pi as Any\ndef f(x):\n    return x\ny = f(1)",),
        ("from math import pi as Any\ndef f(x: Any | None):\n    return x\ny = f(1)",),
    ),
    "hint that fails": (CALLED, ("def f(x: int[int]):\n    z = x + 1\n    return z", "y = f(1)")),
    "hint that takes one type": (
        ("from typing import Optional", *CALLED),
        ("from typing import Optional", "def f(x: Optional[int, str]):\n    z = x + 1\n    return z", "y = f(1)"),
    ),
    "hint of texts": (CALLED, ("def f(x: 'int' | None):\n    z = x + 1\n    return z", "y = f(1)")),
    "hint by a name that is another here": (
        ("list = [1]\ndef f(x):\n    return x\ny = f(1)",),
        ("list = [1]\ndef f(x: list[int]):\n    return x\ny = f(1)",),
    ),
    "hint with effects": (
        ("seen = []", *CALLED[:1], "y = f(1), seen"),
        ("seen = []", "def f(x: seen.append(1)):\n    z = x + 1\n    return z", "y = f(1), seen"),
    ),
    "hint without a value": (
        ("x = 1", "def f():\n    return x", "y = f()"), ("x = 1", "def f():\n    x: int\n    return x", "y = f()"),
    ),
    "hint of an attribute": (
        ("class A: pass", "seen = []", "A.x = 1\ny = seen"),
        ("class A: pass", "seen = []", "A.x: seen.append(1) = 1\ny = seen"),
    ),
    "hints of variables that are read": (("x = 1\ny = len(globals())",), ("x: int = 1\ny = len(globals())",)),
    "two functions of a name": (
        ("def f(x):\n    return x\ng = f\ndef f(x):\n    return 2\ny = g.__defaults__, f(1), g",),
        ("def f(x: int):\n    return x\ng = f\ndef f(x):\n    return 2\ny = g.__defaults__, f(1), g",),
    ),
}  # fmt: skip
CAUTIOUS: dict[str, tuple[Code, Code]] = {
    "import of any other module": (("y = 1",), ("import tkinter\ny = 1",)),
    "last line of a cell": (("y = 1",), ("y = 1\nimport re",)),
    "a text that names the import": (("y = 're'",), ("import re\ny = 're'",)),
    "a table that is asked by text": (("y = t.query(q)",), ("import math\ny = t.query(q)",)),
    "lines of IPython's own": (("%env A=1\ny = 1",), ("%env A=1\nimport re\ny = 1",)),
    "lines of IPython's own elsewhere": (("%env A=1", "y = 1"), ("%env A=1", "import re\ny = 1")),
    "a method": (
        ("class A:\n    def f(self):\n        return 1", "y = A().f()"),
        ("class A:\n    def f(self) -> int:\n        return 1", "y = A().f()"),
    ),
    "a name from elsewhere": (
        ("try:\n    from fast import f\nexcept ImportError:\n    def f(x):\n        return x", "y = f(1)"),
        ("try:\n    from fast import f\nexcept ImportError:\n    def f(x: int):\n        return x", "y = f(1)"),
    ),
    "another name for a function": (
        ("MODULE tools\ndef f(x):\n    return x", "from tools import f as g\ny = g"),
        ("MODULE tools\ndef f(x: int):\n    return x", "from tools import f as g\ny = g"),
    ),
    "docstrings that are read": (("y = y.__doc__",), ("import re\ny = y.__doc__",)),
}


def step_of(code: Code, **more: Any) -> Step:
    kinds = {"import": "import", "from": "import", "def": "function", "class": "class"}
    pieces = [text for text in code[:-1] if not text.startswith("MODULE ")]
    modules = [text.removeprefix("MODULE ").split("\n", 1) for text in code if text.startswith("MODULE ")]
    imported = [name for text in pieces for name in [text.split()[-1]] if text.split()[0] in ("import", "from")]
    names, numbers = iter(imported), itertools.count()
    shared_code: tuple[SharedCode, ...] = tuple(
        shared(next(names) if kind == "import" else f"p{next(numbers)}", text, 1, kind)
        for text in pieces
        for kind in [kinds.get(text.split()[0], "constant")]
    )
    return step("a", "", "y", code[-1], shared=shared_code, modules=tuple(module(*m) for m in modules), **more)


def key_of(code: Code, **more: Any) -> str:
    return key(parts(step_of(code, **more), values={"re": 1}, inputs={}, environment=PYTHON))


@pytest.fixture
def clean_modules() -> Iterator[None]:
    before = dict(sys.modules)
    yield
    sys.modules.clear()
    sys.modules.update(before)


def outcome(code: Code, folder: Path) -> str:
    """Run a code as one program, and return what it makes of `y`."""
    folder.mkdir()
    for text in code:
        if text.startswith("MODULE "):
            name, source = text.removeprefix("MODULE ").split("\n", 1)
            (folder / f"{name}.py").write_text(source)
    texts = [text for text in code if not text.startswith("MODULE ")]
    program = types.ModuleType("__main__")
    sys.path.insert(0, str(folder))
    sys.modules.pop("tools", None)
    sys.modules.pop("this", None)
    importlib.invalidate_caches()
    try:
        for text in texts:
            exec(compile(text, "cell", "exec", dont_inherit=True), program.__dict__)
        value = program.__dict__["y"]
        return repr(value) if isinstance(value, str | int) else hashlib.sha256(cloudpickle.dumps(value)).hexdigest()
    except Exception as error:  # noqa: BLE001 (whatever the code raises is its outcome)
        return type(error).__name__
    finally:
        sys.path.remove(str(folder))


@pytest.mark.usefixtures("clean_modules")
@pytest.mark.parametrize(("before", "after"), SAME.values(), ids=SAME)
def test_what_has_no_effect_does_not_count(before: Code, after: Code, tmp_path: Path) -> None:
    assert outcome(before, tmp_path / "before") == outcome(after, tmp_path / "after")
    assert key_of(before) == key_of(after)


@pytest.mark.usefixtures("clean_modules")
@pytest.mark.parametrize(("before", "after"), ACTS.values(), ids=ACTS)
def test_what_looks_alike_and_has_an_effect_counts(before: Code, after: Code, tmp_path: Path) -> None:
    assert outcome(before, tmp_path / "before") != outcome(after, tmp_path / "after")
    assert key_of(before) != key_of(after)


@pytest.mark.parametrize(("before", "after"), CAUTIOUS.values(), ids=CAUTIOUS)
def test_in_doubt_everything_counts(before: Code, after: Code) -> None:
    assert key_of(before) != key_of(after)


@pytest.mark.parametrize("more", [
    {"packages": "pydantic"}, {"packages": "beartype"}, {"kernel": "xeus"}, {"unknown": ("cell 1 calls exec",)},
    {"parameters": "re"}, {"modules": (module("re", "x = 1"),)},
], ids=str)  # fmt: skip
def test_what_else_a_step_is_decides(more: dict[str, Any]) -> None:
    def of(code: str) -> str:
        return key(parts(step("a", "", "y", code, **more), values={"re": 1}, inputs={}, environment=PYTHON))

    assert of("y = 1") != of("import re\ny = 1")


@pytest.mark.parametrize("name", ["f", "re"])
def test_an_output_is_a_value(name: str) -> None:
    codes = ("x = 0\ndef f(x):\n    return x\nz = f(1)", "import re\nx = 0\ndef f(x: int):\n    return x\nz = f(1)")
    same, other = ([parts(step("a", "", outputs, code), values={}, inputs={}, environment=PYTHON)["code:1"]
                    for code in codes] for outputs in ("z", f"z {name}"))  # fmt: skip
    assert same[0] == same[1]
    assert other[0] != other[1]


def test_packages_that_read_no_hints_change_nothing() -> None:
    assert key_of(CALLED, packages="numpy pandas") == key_of(SAME["hints"][1], packages="numpy pandas")


def test_code_without_such_parts_has_the_digest_of_its_canonical_form() -> None:
    code = SAME["hints"][1]
    fingerprint = parts(step_of(code), values={}, inputs={}, environment=PYTHON)
    assert fingerprint["shared:p0"] == canonical(CALLED[0])
    assert fingerprint["code:1"] == canonical(CALLED[1])


HINTS = st.recursive(
    st.sampled_from(["int", "str", "None", "'int'", "'x y'", "list", "Any", "Optional", "Callable", "t.Any", "t.Union",
                     "Literal['a']", "Literal[1, None]", "missing", "...", "3"]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(" | ".join),
        st.tuples(
            st.sampled_from(["list", "tuple", "dict", "Optional", "Union", "List", "Dict", "Tuple", "t.Set", "Callable",
                             "type", "int", "Any", "Literal"]),
            st.lists(inner, min_size=1, max_size=3).map(", ".join),
        ).map(lambda pair: f"{pair[0]}[{pair[1]}]"),
        st.tuples(st.lists(inner, max_size=2).map(", ".join), inner).map(
            lambda pair: f"Callable[[{pair[0]}], {pair[1]}]"
        ),
    ),
    max_leaves=5,
)  # fmt: skip


@settings(max_examples=400)
@given(HINTS)
def test_a_hint_that_does_not_count_never_fails(hint: str) -> None:
    imports = "import typing as t\nfrom typing import Any, Callable, Dict, List, Literal, Optional, Tuple, Union\n"
    code = f"{imports}def f(x: {hint}):\n    return x\ny = f(1)"
    if "def f" in inert_names([code], {}, [], ["y"]):
        names: dict[str, object] = {}
        exec(compile(code, "cell", "exec", dont_inherit=True), names)
        assert names["y"] == 1


def test_hints_of_any_depth_are_looked_at() -> None:
    code = f"def f(x: {' | '.join(['int'] * 900)}):\n    return x\ny = f(1)"
    assert words_of(code).is_known
    assert inert_names([code], {}, [], ["y"]) == ()


def test_the_modules_whose_import_does_nothing_are_loaded_in_every_kernel() -> None:
    code = "import sys, ipykernel.kernelapp, ipykernel.ipkernel; print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert (LOADED | IMPORTED.keys()) - {*output.split()} == set()
    assert sys.stdlib_module_names >= LOADED
    for name, imported in IMPORTED.items():
        assert imported <= vars(importlib.import_module(name)).keys()
