"""Notebooks as people write them by hand, under awkward names: the command line reads each, and its help works."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.e2e.notebook_project import COMMAND

CELL = "%%step a -o x\nx = 1"
MYST = f"```{{code-cell}}\n{CELL}\n```\n"
PERCENT = "# %%\n# %%step a -o x\nx = 1\n"
LIB = """class Δ:
    n = 3


def f(x, /, *, by=Δ.n):
    match x:
        case int(): return x * by
    return (y := x)
"""


def old_notebook(*sources: str) -> str:
    cells = [{"cell_type": "code", "input": source, "language": "python", "outputs": []} for source in sources]
    return json.dumps({"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": [{"cells": cells}]})


def myst(*sources: str) -> str:
    return "\n".join(f"```{{code-cell}}\n{source}\n```\n" for source in sources)


GOOD = {
    "a b.md": f"---\nkernelspec:\n  name: python3\n---\n\n{MYST}",
    "it's.md": f"---\ntitle: 'T'\n---\n\n{MYST}",
    "[1] {x}.py": f"# ---\n# jupyter:\n#   kernelspec:\n#     name: python3\n# ---\n\n{PERCENT}",
    "-start.py": PERCENT,
    "$HOME.Rmd": "---\ntitle: x\n---\n\n```{python}\n#| step: a\n#| out: x\nx = 1\n```\n",
    "größe.rmd": "```{python}\n#| step: a\n#| out: x\nx = 1\n```\n",
    "old 'one'.ipynb": old_notebook(CELL),
    "old run.ipynb": old_notebook("%run 'my lib.py'", "%%step a -o x\nx = f(2)"),
    "run.md": '```{code-cell}\n%run "my lib.py"\n```\n\n```{code-cell}\n%%step a -o x\nx = f(2)\n```\n',
    "run.py": "# %%\n# %run 'my lib.py'\n\n# %%\n# %%step a -o x\nx = f(2)\n",
    "light.py": "# +\n# %run 'my lib.py'\n# -\n\n# +\n# %%step a -o x\nx = f(2)\n",
    "setup.py": "# %%\n# %%setup\n# %run -i my\\ lib.py\n\n# %%\n# %%step a -o x\nx = [f(n) for n in range(3)]\n",
    "star.md": myst("from math import *", CELL, "%%step b -o y\ny = sum([x])"),
    "broken but unused.md": f"```{{code-cell}}\nrows = [1\n```\n\n{MYST}",
}
BAD = {
    "a.qmd": ("---\njupyter: python3\n---\n\n```{python}\nx = 1\n```\n", "JP104"),
    "missing.md": ("```{code-cell}\n%run 'no such.py'\n```\n\n```{code-cell}\n%%step a -o x\nx = f(2)\n```\n", "JP210"),
    "needed.py": ("# %%\nrows = [1\n\n# %%\n# %%step a -o x\nx = rows\n", "JP107"),
    "old needed.ipynb": (old_notebook("rows = [1", "%%step a -o x\nx = rows"), "JP107"),
    "certain.md": (myst("def f():\n    return no", "%%step a -o x\nx = f()"), "JP201"),
    "a.R": ("x <- 1\n", "JP104"),
}


def check(folder: Path, name: str) -> subprocess.CompletedProcess[str]:
    command = [str(COMMAND), "check", "--json", "--", name]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my [pro] 'ject'"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("")
    (folder / "my lib.py").write_text(LIB)
    (tmp_path / "link to it").symlink_to(folder)
    return tmp_path / "link to it"


@pytest.mark.parametrize("name", GOOD)
def test_nothing_good_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_text(GOOD[name])
    answer = check(folder, name)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert not [fault for fault in json.loads(answer.stdout)["faults"] if fault["severity"] == "error"]


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("name", "value"), [("star.md", 1), ("light.py", 6), ("old run.ipynb", 6), ("$HOME.Rmd", 1), ("-start.py", 1)]
)
def test_each_format_computes_what_it_says(folder: Path, name: str, value: int) -> None:
    (folder / name).write_text(GOOD[name])
    store = ["--store", str(folder / "store")]
    run = [str(COMMAND), "run", *store, "--", name]
    answer = subprocess.run(run, cwd=folder, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    output = [str(COMMAND), "output", "--json", *store, "--", name, "a.x"]
    answer = subprocess.run(output, cwd=folder, capture_output=True, text=True, check=False)
    assert json.loads(Path(json.loads(answer.stdout)["path"]).read_text()) == value


@pytest.mark.parametrize("name", BAD)
def test_what_would_fail_is_refused_before_the_run(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # nothing is installed but Python
    text, code = BAD[name]
    (folder / name).write_text(text)
    answer = check(folder, name)
    assert answer.returncode == 2, answer.stdout
    (fault,) = [fault for fault in json.loads(answer.stdout)["faults"] if fault["severity"] == "error"]
    assert fault["code"] == code
    assert "quarto-cli" in fault["suggestion"] if name.endswith(".qmd") else fault["suggestion"]
    for command in re.findall(r"`((?:pip|conda) [^`]+)`", fault["suggestion"]):
        assert shlex.split(command)[1] == "install"
