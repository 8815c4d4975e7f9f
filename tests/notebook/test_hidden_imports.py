"""Imports that no import statement names: followed where they can be, else the step is never reused."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_pipelines.notebook.reader import read
from jupyter_pipelines.pipeline.step import Step
from tests.e2e.notebook_project import NotebookProject


def step_of(folder: Path, code: str, *shared: str) -> Step:
    (folder / "pyproject.toml").write_text("")
    (folder / "cfg.py").write_text("V = 1\n")
    (folder / "dyn").mkdir()
    (folder / "dyn" / "__init__.py").write_text("")
    (folder / "dyn" / "b.py").write_text("V = 1\n")
    reading = read(NotebookProject(folder).write(*shared, f"%%step s -o v\n{code}").path)
    assert reading.pipeline is not None, [str(diagnostic) for diagnostic in reading.faults]
    return reading.pipeline["s"]


FOLLOWED = {
    "import importlib\nv = importlib.import_module('cfg').V": "cfg",
    "import importlib as il\nv = il.import_module('cfg').V": "cfg",
    "from importlib import import_module\nv = import_module('.b', 'dyn').V": "dyn.b",
    "v = __import__('cfg').V": "cfg",
}


@pytest.mark.parametrize("code", FOLLOWED)
def test_names_that_are_written_are_followed(tmp_path: Path, code: str) -> None:
    step = step_of(tmp_path, code)
    assert FOLLOWED[code] in {module.name for module in step.modules}
    assert step.unknown == ()


HIDDEN = (
    "from importlib import import_module as im\nv = im('cfg').V",
    "import importlib\nf = importlib.import_module\nv = f('cfg').V",
    "import importlib\nv = getattr(importlib, 'import_' + 'module')('cfg').V",
    "import runpy\nv = runpy.run_path('cfg.py')['V']",
    "import builtins\nv = builtins.eval('1' + '1')",
    "import importlib\nv = [m.V for m in map(importlib.import_module, ['cfg'])]",
)


@pytest.mark.parametrize("code", HIDDEN)
def test_what_is_hidden_is_said(tmp_path: Path, code: str) -> None:
    assert step_of(tmp_path, code).unknown


def test_what_is_hidden_in_shared_code_and_modules_is_said(tmp_path: Path) -> None:
    helper = "from importlib import import_module as im\n\ndef load(name):\n    return im(name).V"
    assert step_of(tmp_path, "v = load('cfg')", helper).unknown
    (tmp_path / "cfg.py").write_text("import runpy\nV = runpy.run_path('x.py')\n")
    assert read(NotebookProject(tmp_path).write("%%step s -o v\nimport cfg\nv = cfg.V").path).pipeline["s"].unknown
