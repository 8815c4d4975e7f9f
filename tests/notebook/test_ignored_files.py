"""Files that do not count, as headers and ``pyproject.toml`` name them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from jupyter_pipelines.notebook.headers.split import split_cell
from jupyter_pipelines.notebook.read_cache import read
from jupyter_pipelines.pipeline.graph import step_to_dict
from jupyter_pipelines.pipeline.ignored_paths import ignored_path, is_ignored
from tests.e2e.notebook_project import NotebookProject


@pytest.mark.parametrize(
    ("pattern", "path", "ignored"),
    [
        ("logs/", "logs/a/b", True),
        ("logs", "logs", True),
        ("logs", "logs2", False),
        ("*.tmp", "a/b.tmp", True),
        ("*.tmp", "a.tmp/b", True),
        ("data/*.bak", "data/x.bak", True),
        ("data/*.bak", "data/s/x.bak", False),
        ("data/**/*.bak", "data/s/t/x.bak", True),
        ("data/**/*.bak", "data/x.bak", True),
        ("run.log", "sub/run.log", True),
        ("run.log", "a/debug/run.log", True),
        ("run.log", "my_run.log", False),
        ("logs/", "a/logs/b.txt", True),
        ("logs/", "a/blogs/b.txt", False),
        ("a/logs/", "b/a/logs/c", False),
        ("./run.log", "run.log", True),
        ("./run.log", "sub/run.log", False),
        ("[[^]].txt", "^].txt", True),
        ("data[1-3].csv", "data2.csv", True),
        ("[!ab].txt", "s/c.txt", True),
        ("[!ab].txt", "s/a.txt", False),
        ("a.b", "axb", False),
        ("./a/../b", "b", True),
    ],
)
def test_patterns(pattern: str, path: str, ignored: bool) -> None:
    counted = ignored_path(pattern)
    assert counted is not None
    assert is_ignored(path, [counted]) is ignored


@pytest.mark.parametrize("text", ["", ".", "..", "../x", "/etc/x", "~/x", "a/../.."])
def test_nothing_outside_of_the_project_can_be_left_out(text: str) -> None:
    assert ignored_path(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "%%step t --cache-for 1d --ignore logs/ *.tmp --ignore x",
        "#| step: t\n#| cache-for: 1d\n#| ignore: logs/ *.tmp x\nx = 1",
    ],
)
def test_headers(text: str) -> None:
    split = split_cell(text)
    assert split.faults == ()
    assert split.header is not None
    assert split.header.cache_for == 86400
    assert split.header.ignore == ("logs", "*.tmp", "x")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("forever", math.inf), ("Forever", math.inf), ("1w", 604800), ("1w2d", 777600), ("1.5H", 5400)],
)
def test_how_long_results_are_accepted(text: str, seconds: float) -> None:
    split = split_cell(f"%%step t --cache-for {text}")
    assert split.faults == ()
    assert split.header is not None
    assert split.header.cache_for == seconds


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("logs/,*.tmp", ("logs", "*.tmp")),
        ("logs/, *.tmp", ("logs", "*.tmp")),
        ("'a,b.csv' c", ("a,b.csv", "c")),
    ],
)
def test_commas_separate_paths(text: str, paths: tuple[str, ...]) -> None:
    split = split_cell(f"%%step t --ignore {text}")
    assert split.faults == ()
    assert split.header is not None
    assert split.header.ignore == paths


def test_a_range_that_no_character_fits() -> None:
    (fault,) = split_cell("%%step t --ignore data[z-a].csv").faults
    assert (fault.code, fault.message) == ("JP101", "no character fits `[z-a]`")
    assert is_ignored("dataz.csv", ["data[a-z].csv"])


@pytest.mark.parametrize(
    ("text", "ignore", "fault"),
    [
        ("", ["own"], ""),
        ('[tool.jupyter-pipelines]\nignore = ["logs/", "*.tmp"]', ["own", "logs", "*.tmp"], ""),
        ("[tool.jupyter-pipelines]\n", ["own"], ""),
        ('[tool.jupyter-pipelines]\nignore = "logs"', [], "`ignore` in `pyproject.toml` is not a list of texts"),
        ('[tool.jupyter-pipelines]\nignore = ["../x"]', [], "`../x` in `ignore` of `pyproject.toml` is not in"),
        ("[tool.jupyter-pipelines\n", [], "`pyproject.toml` cannot be read"),
        ("[tool]\njupyter-pipelines = 3", [], "`jupyter-pipelines` in `pyproject.toml` is no table"),
        ("tool = 3 # jupyter-pipelines", [], "`jupyter-pipelines` in `pyproject.toml` is no table"),
        ('[tool.jupyter-pipelines]\nignores = ["x"]', [], "there is no setting `ignores` in `pyproject.toml`"),
        ('[tool.jupyter-pipelines]\nignore = ["a[z-a]"]', [], "no character fits `[z-a]` in `ignore` of"),
    ],
)
def test_settings_of_the_project(tmp_path: Path, text: str, ignore: list[str], fault: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    book = NotebookProject(tmp_path).write("%%step s -o x --ignore own --cache-for forever\nx = 1")
    for _ in range(2):  # the second reading is a saved one
        reading = read(book.path)
        assert [diagnostic.message[: len(fault)] for diagnostic in reading.faults] == [fault] * bool(fault)
        if not fault:
            assert reading.pipeline is not None
            document = step_to_dict(reading.pipeline["s"])
            assert (document["ignore"], document["cache_for"]) == (ignore, "forever")
