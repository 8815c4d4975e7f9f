"""`from module import *` replaces builtins where it comes last, in steps as in the notebook, and leaves the others."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.e2e.notebook_project import NotebookProject

LIB = "__all__ = ['max', 'pow']\nsum = max = pow = lambda *_: 'lib'\n"
SHARED = {
    "numpy": ("from numpy import *", "def total(values):\n    return sum(values)"),
    "own module": ("def total(values):\n    return max(values), sum(values)", "from lib import *"),
    "try": (
        "try:\n    from numpy import *\nexcept ImportError:\n    pass",
        "from contextlib import suppress",
        "with suppress(ImportError):\n    from lib import *\n\n\ndef total(values):\n    return max(values)",
    ),
    "what comes last": (
        "from lib import max",
        "from numpy import *",
        "from builtins import round\nfrom math import *",
        "def total(values):\n    return max(values)\n\n\ndef abs(value):\n    return 'mine'",
    ),
}
STEPS = {
    "shadowed": "[sum([1, 2]), abs(-2.5), max([3, 1]), min([1, 2]), pow(2, 3), round(2.5), any([0, 1])]",
    "others": "[len([1]), sorted([2, 1]), int(3.7), list(range(2)), dict(a=1), isinstance(1, int)]",
    "through": "[total([3, 1]), total([0])]",
}


@pytest.mark.parametrize("name", SHARED)
def test_steps_get_the_builtins_that_the_notebook_gets(book: NotebookProject, name: str) -> None:
    (book.folder / "lib.py").write_text(LIB)
    made = {step: f"{step} = [[type(value).__name__, str(value)] for value in {code}]" for step, code in STEPS.items()}
    ran = book.write(*SHARED[name], *(f"%%step {step}s -o {step}\n{code}" for step, code in made.items())).run()
    assert ran.code == 0, ran.err
    shown = "import json; print(json.dumps([shadowed, others, through]))"
    live = "\n".join([*SHARED[name], *made.values(), shown])
    answer = subprocess.run([sys.executable, "-c", live], cwd=book.folder, capture_output=True, check=True)
    assert [book.value(f"{step}s.{step}") for step in made] == json.loads(answer.stdout)
