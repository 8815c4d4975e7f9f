"""Of shared code, the order counts where it can matter, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from jupyter_pipelines.pipeline.step import SharedCode
from jupyter_pipelines.planning.keys.code_order import order_constraints
from jupyter_pipelines.planning.keys.fingerprint import key, parts
from jupyter_pipelines.planning.reasons import explain_difference
from tests.planning.planning_fakes import PYTHON, shared, step


def piece(source: str) -> SharedCode:
    name = source.replace("(", " ").replace("=", " ").replace(",", " ").replace(":", " ").split()
    if source.startswith("#setup"):
        return shared("cell 1", source, 1, "setup")
    kind = {"import": "import", "from": "import", "def": "function", "class": "class"}.get(name[0], "constant")
    return shared(name[0] if kind == "constant" else name[1], source, 1, kind)


def keys(*sources: str) -> set[str]:
    """Return the keys of a step for every order of its shared code."""
    pieces = [piece(source) for source in sources]
    steps = [step("a", shared=order) for order in permutations(pieces)]
    return {key(parts(ordered, values={}, inputs={}, environment=PYTHON)) for ordered in steps}


MATTERS = {
    "a name bound twice": ("lo, hi = 0, 10", "hi, st = 20, 2"),
    "a default": ("LIMIT = 1", "def f(x=LIMIT):\n    return x"),
    "a default through a function": ("LIMIT = 1", "def g():\n    return LIMIT", "def f(x=g()):\n    return x"),
    "a keyword's default": ("LIMIT = 1", "def f(*, x=LIMIT):\n    return x"),
    "a decorator": ("def register(f):\n    return f", "@register\ndef f():\n    return 1"),
    "two decorators": ("@register\ndef f():\n    return 1", "@register\ndef g():\n    return 1"),
    "a base": ("class A:\n    pass", "class B(A):\n    pass"),
    "two subclasses": ("class A(Base):\n    pass", "class B(Base):\n    pass"),
    "a class body": ("LIMIT = 1", "class A:\n    limit = LIMIT"),
    "a constant of a constant": ("A = 1", "B = A + 1"),
    "a built-in name": ("B = max(1, 2)", "def max(*x):\n    return 0"),
    "setup and what it reads": ("LIMIT = 1", "#setup\nprint(LIMIT)"),
    "setup and a default it changes": ("#setup\nimport m\nm.x = 1", "def f(x=m.x()):\n    return x"),
    "setup and an import": ("#setup\nimport os\nos.environ['A'] = '1'", "import jax"),
    "setup and an import that is tried": (
        "#setup\nprepare()",
        "try:\n    import jax\nexcept ImportError:\n    jax = 0",
    ),
    "two setups": ("#setup\nseed(1)", "#setup\nseed(2)"),
    "a global that a call sets": ("def f():\n    global x\n    x = 1\n    return 2", "x = 5", "y = f()"),
    "a lambda's default": ("LIMIT = 1", "f = lambda x=LIMIT: x"),
    "an annotation": ("T = int", "def f(x: T):\n    return x"),
    "a loop": ("x = 1", "for x in range(3):\n    pass"),
}
DOES_NOT = {
    "imports": ("import a", "import b", "from c import d"),
    "functions": ("def f(x):\n    y = g(x)\n    return y", "def g(x):\n    y = x + LIMIT\n    return y", "LIMIT = 1"),
    "functions and imports": ("import np", "def f(x):\n    return np.sum(x)"),
    "constants": ("A = 1", "B = [2, 3]", "C = {'a': -1}"),
    "classes": (
        "class A:\n    x = 1\n    def __init__(self):\n        self.x = 2",
        "class B:\n    x = 2\n    def __init__(self): ...",
    ),
    "an annotated function": ("def f(x: int = 3) -> str:\n    return x", "LIMIT = 1", "def g(y: float) -> str: ..."),
    "a setup and what it does not need": ("#setup\nseed(1)", "def f():\n    return LIMIT", "LIMIT = 1"),
    "a decorator and what it does not need": ("@cache\ndef f():\n    return 1", "import a", "B = 2"),
}  # fmt: skip


@pytest.mark.parametrize("sources", MATTERS.values(), ids=MATTERS)
def test_order_that_matters_counts(sources: tuple[str, ...]) -> None:
    assert len(keys(*sources)) > 1


@pytest.mark.parametrize("sources", DOES_NOT.values(), ids=DOES_NOT)
def test_order_that_does_not_matter_does_not_count(sources: tuple[str, ...]) -> None:
    assert len(keys(*sources)) == 1


def test_the_reason_is_the_order_when_nothing_else_changed() -> None:
    original = step("a", shared=(piece("lo, hi = 0, 10"), piece("hi, st = 20, 2")))
    reordered = replace(original, shared=original.shared[::-1])
    now, before = (parts(each, values={}, inputs={}, environment=PYTHON) for each in (reordered, original))
    reason = explain_difference(now, before, reordered)
    assert reason is not None
    assert (reason.code, reason.text) == ("shared-code", "its shared code runs in another order")
    assert reason.details == ("order of shared code: lo < hi -> hi < lo",)


def test_the_order_of_much_shared_code_costs_little() -> None:
    many = step("a", shared=tuple(piece(f"def f{n}(x, y=L{n}):\n    return f{n + 1}(x)") for n in range(500)))
    assert parts(many, values={}, inputs={}, environment=PYTHON)["python"]


def test_a_default_needs_what_stands_in_the_bodies_that_it_calls() -> None:
    sources = {"LIMIT": "LIMIT = 1", "g": "def g():\n    return LIMIT", "f": "def f(x=g()):\n    return x"}
    assert order_constraints([(name, "function", source) for name, source in sources.items()]) == ["LIMIT < f", "g < f"]
