"""Scripts and Markdown as people write them by hand: headers that lack what nbformat wants, and no reader needs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from jupyter_pipelines.errors import NotebookError
from jupyter_pipelines.notebook.reader import read
from jupyter_pipelines.notebook.source.document import read_document
from jupyter_pipelines.notebook.source.write_cells import write_sources

MYST_CELL = "```{code-cell}\n%%step a -o x\nx = 1\n```\n"
PERCENT_CELL = "# %%\n# %%step a -o x\nx = 1\n"
LIGHT_HEADER = """# ---
# jupyter:
#   kernelspec:
#     name: python3
#   jupytext:
#     text_representation:
#       format_name: light
# ---
"""

FILES: dict[str, tuple[str, str | None]] = {
    "name only.md": (f"---\nkernelspec:\n  name: python3\n---\n\n{MYST_CELL}", "python3"),
    "name as text.md": (f"---\nkernelspec: python3\n---\n\n{MYST_CELL}", "python3"),
    "no header.md": (MYST_CELL, None),
    "title only.md": (f"---\ntitle: T\n---\n\n{MYST_CELL}", None),
    "mystnb [1].md": (
        f"---\nfile_format: mystnb\nkernelspec:\n  name: python3\n---\n\n# 'T'\n\n{MYST_CELL}",
        "python3",
    ),
    "large letters.MD": (MYST_CELL, None),
    "plain.markdown": ("# T\n\n```python\n%%step a -o x\nx = 1\n```\n", None),
    "percent.py": (f"# ---\n# jupyter:\n#   kernelspec:\n#     name: python3\n# ---\n\n{PERCENT_CELL}", "python3"),
    "no name.py": (f"# ---\n# jupyter:\n#   kernelspec:\n#     display_name: P\n# ---\n\n{PERCENT_CELL}", None),
    "shebang.py": (f"#!/usr/bin/env python\n# -*- coding: utf-8 -*-\n{PERCENT_CELL}", None),
    "kernel as text.py": (f"# ---\n# jupyter: python3\n# ---\n\n{PERCENT_CELL}", None),
    "light.py": (f"{LIGHT_HEADER}\n# +\n# %%step a -o x\nx = 1\n", "python3"),
    "report.Rmd": ("---\noutput: html_document\n---\n\n```{python}\n#| step: a\n#| out: x\nx = 1\n```\n", None),
    "report.rmd": ("```{python}\n#| step: a\n#| out: x\nx = 1\n```\n", None),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_written_by_hand_is_read_and_written(name: str, tmp_path: Path) -> None:
    text, kernel = FILES[name]
    path = tmp_path / name
    path.write_text(text)
    document = read_document(path)
    (cell,) = [cell for cell in document.cells if cell.kind == "code"]
    assert cell.source.splitlines()[0] in ("%%step a -o x", "#| step: a")
    assert cell.source.splitlines()[-1] == "x = 1"
    assert (document.kernel, document.language) == (kernel, "python")
    header = cell.source.splitlines()[0]
    write_sources(path, {cell.number: cell.source.replace(header, f"{header}y")})
    assert path.read_text() == text.replace(header, f"{header}y")


@pytest.mark.parametrize("empty", ["[]", "[ ]", "[\n   ]", '""'])
def test_an_empty_cell_gets_a_text(tmp_path: Path, empty: str) -> None:
    cell = '{"cell_type": "code", "id": "a", "metadata": {}, "execution_count": null, "outputs": [], "source": %s}'
    path = tmp_path / "book.ipynb"
    path.write_text(f'{{"nbformat": 4, "nbformat_minor": 5, "metadata": {{}}, "cells": [{cell % empty}]}}')
    write_sources(path, {1: "%%step a\nx = 1"})
    assert read_document(path).cells[0].source == "%%step a\nx = 1"


@pytest.mark.parametrize("version", [2, 3])
def test_a_notebook_of_an_old_format_is_read(version: int, tmp_path: Path) -> None:
    cells = [
        {"cell_type": "heading", "level": 1, "source": "T"},
        {"cell_type": "code", "input": ["%%step a -o x\n", "x = 1"], "language": "python", "outputs": []},
    ]
    path = tmp_path / "old 'one'.IPYNB"
    path.write_text(json.dumps({"nbformat": version, "metadata": {"name": ""}, "worksheets": [{"cells": cells}]}))
    assert [cell.source for cell in read_document(path).cells] == ["T", "%%step a -o x\nx = 1"]


def test_tags_may_be_a_text(tmp_path: Path) -> None:
    path = tmp_path / "tags.md"
    path.write_text("```{code-cell}\n:tags: parameters\nx = 1\n```\n")
    assert read_document(path).cells[0].tags == ("parameters",)


@pytest.mark.parametrize(
    ("name", "text", "suggestion"),
    [
        ("a.qmd", "---\njupyter: python3\n---\n\n```{python}\nx = 1\n```\n", "pip install quarto-cli"),
        (
            "m.py",
            "import marimo\n\napp = marimo.App()\n\n@app.cell\ndef _():\n    x = 1\n    return\n",
            "pip install marimo",
        ),
        (
            "p.md",
            "---\njupyter:\n  jupytext:\n    text_representation: {extension: .md, format_name: pandoc}\n---\n\nx\n",
            "conda install -c conda-forge pandoc",
        ),
    ],
)
def test_a_program_that_is_missing_is_to_be_installed(
    name: str, text: str, suggestion: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / name).write_text(text)
    with pytest.raises(NotebookError) as caught:
        read_document(tmp_path / name)
    (diagnostic,) = caught.value.faults
    assert diagnostic.code == "JP104"
    assert "is not installed" in diagnostic.message
    assert f"`{suggestion}`" in diagnostic.suggestion


QUARTO_FILE = """---
title: P
jupyter: python3
execute:
  cache: true
---

```{python}
#| tags: [parameters]
#| echo: false
trees = 3
```

```{python}
#| label: load
#| step: load
#| out: [rows, more]
#| retries: 2
#| no-cache: true
rows = [1, 2, 3]
more = 2
```

```{python}
#| step: train
#| in: rows more
#| out: model
#| param: trees
#| timeout: 1h
#| fig-width: 8
#| fig-cap: "A: b"
model = sum(rows) * trees * more
```

```{python}
#| tags: ["step:last", "prev:train"]
print(model)
```
"""
QUARTO_CELLS = (
    ({"tags": ["parameters"]}, "#| echo: false\ntrees = 3"),
    (
        {"step": "load", "out": ["rows", "more"], "retries": 2, "no-cache": True},
        "#| label: load\nrows = [1, 2, 3]\nmore = 2",
    ),
    (
        {"step": "train", "in": "rows more", "out": "model", "param": "trees", "timeout": "1h", "fig-width": 8},
        "#| fig-cap: 'A: b'\nmodel = sum(rows) * trees * more",
    ),
    ({"tags": ["step:last", "prev:train"]}, "print(model)"),
)
"""What `quarto convert` of Quarto 1.11 makes of the cells: options that it does not know become metadata."""


def test_a_quarto_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    top = {"cell_type": "markdown", "metadata": {}, "source": QUARTO_FILE.partition("\n\n")[0]}
    cells = [
        {"cell_type": "code", "metadata": metadata, "source": source, "execution_count": None, "outputs": []}
        for metadata, source in QUARTO_CELLS
    ]
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3 (ipykernel)"}
    notebook = {"nbformat": 4, "nbformat_minor": 4, "metadata": {"kernelspec": kernel}, "cells": [top, *cells]}
    (tmp_path / "converted.json").write_text(json.dumps(notebook))
    # Stands for Quarto, whose package downloads the program when it is installed.
    program = tmp_path / "bin" / "quarto"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\nif [ "$1" = --version ]; then echo 1.11.0; exit; fi\nfor last; do :; done\n'
        f'cp "{tmp_path}/converted.json" "${{last%.qmd}}.ipynb"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    path = tmp_path / "book.qmd"
    path.write_text(QUARTO_FILE)
    result = read(path)
    assert result.faults == ()
    assert result.pipeline is not None
    load, train, last = result.pipeline.steps
    assert (load.retries, load.cache, [output.name for output in load.outputs]) == (2, False, ["rows", "more"])
    assert (train.timeout, train.parameters, last.after) == (3600, ("trees",), ("train",))
    assert capfd.readouterr() == ("", "")
