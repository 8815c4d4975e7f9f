"""``--foreach`` in headers: what it means, and what is wrong with it before anything is planned."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines.notebook import read_cache
from jupyter_pipelines.notebook.editing.header_text import header_fields, with_header
from jupyter_pipelines.notebook.headers.split import split_cell
from jupyter_pipelines.notebook.reader import read
from tests.e2e.notebook_project import NotebookProject

BODY = "\nmodel = depth"


def axes(text: str) -> list[tuple[Any, ...]]:
    split = split_cell(text)
    assert split.faults == ()
    assert split.header is not None
    return [(axis.name, axis.kind, axis.values or axis.source) for axis in split.header.foreach]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("depth=2,4,8", ("depth", "values", (2, 4, 8))),
        ("depth=2, 4 8", ("depth", "values", (2, 4, 8))),
        ("rate=0.1,1,1e-3", ("rate", "values", (0.1, 1.0, 0.001))),
        ("kind=rf,gbm", ("kind", "values", ("rf", "gbm"))),
        ("kind='rf'", ("kind", "values", ("rf",))),
        ("kind='1','2 b'", ("kind", "values", ("1", "2 b"))),
        ("fast=true,false", ("fast", "values", (True, False))),
        ("depth=2", ("depth", "values", (2,))),
        ("depth=-2", ("depth", "values", (-2,))),
        ("depth=depths", ("depth", "parameter", "depths")),
        ("part=data/", ("part", "files", "data/")),
        ("part='my data/'", ("part", "files", "my data/")),
        ("part=*.csv", ("part", "files", "*.csv")),
    ],
)
def test_what_is_meant(written: str, meant: tuple[Any, ...]) -> None:
    assert axes(f"%%step fit --foreach {written}{BODY}") == [meant]
    assert axes(f"#| step: fit\n#| foreach: {written}{BODY}") == [meant]


def test_several_names_make_a_grid_however_they_are_written() -> None:
    meant = [("a", "values", (1, 2)), ("b", "values", ("x", "y"))]
    assert axes("%%step fit --foreach a=1,2 --foreach b=x,y") == meant
    assert axes("%%step fit --foreach a=1,2 b=x,y") == meant
    assert axes("#| step: fit\n#| foreach: a=1,2 b=x,y\n") == meant


@pytest.mark.parametrize(
    ("header", "code", "words"),
    [
        ("--foreach", "JP101", "lacks its value"),
        ("--foreach 2,4", "JP101", "has no name"),
        ("--foreach depth=", "JP101", "lacks its values"),
        ("--foreach depth=2,b", "JP101", "several types"),
        ("--foreach depth=01,02", "JP101", "`01` may be a number or a text"),
        ("--foreach depth=2 --foreach depth=3", "JP106", "stands twice"),
        ("--foreach depth=2 --at-once 0", "JP604", "at least 1"),
        ("--foreach depth=2 --allow-failed 1.5", "JP604", "percent"),
        ("--foreach depth=2 --allow-failed 100%", "JP604", "percent"),
    ],
)
def test_what_cannot_be_read(header: str, code: str, words: str) -> None:
    (diagnostic,) = split_cell(f"%%step fit {header}{BODY}").faults
    assert diagnostic.code == code
    assert words in diagnostic.message


PARAMS = "%%params\ndepths: list[int] = [2]\ntrees: int = 3\ntoken: Secret = 'env:HOME'"


@pytest.mark.parametrize(
    ("cells", "code", "words"),
    [
        (("%%step fit --at-once 2 -o model\nmodel = 1",), "JP604", "no `--foreach`"),
        (("%%step fit --allow-failed 2 -o model\nmodel = 1",), "JP604", "no `--foreach`"),
        (("%%step fit --foreach depth=nothing -o model" + BODY,), "JP501", "`nothing`"),
        ((PARAMS, "%%step fit --foreach depth=trees -o model" + BODY), "JP219", "holds no list"),
        ((PARAMS, "%%step fit --foreach depth=token -o model" + BODY), "JP219", "holds no list"),
        ((PARAMS, "%%step fit --foreach trees=1,2 -o model\nmodel = trees"), "JP106", "a parameter as well"),
        (("%%step a -o x\nx = 1", "%%step fit -i x --foreach x=1,2 -o model\nmodel = x"), "JP106", "an input as well"),
        (("%%step fit --foreach model=1,2 -o model\nmodel = model + 1",), "JP106", "an output as well"),
        (("%%step fit --foreach depth=1,2 -o model\ndepth = 3\nmodel = depth",), "JP216", "no effect"),
        (
            ("%%step a -o x\nx = [1]", "%%step fit -i x --foreach depth=1,2 -o x\nx = [*x, depth]"),
            "JP206",
            "makes its input `x` again",
        ),
    ],
)
def test_what_is_wrong(tmp_path: Path, cells: tuple[str, ...], code: str, words: str) -> None:
    reading = read(NotebookProject(tmp_path).write(*cells).path)
    errors = [diagnostic for diagnostic in reading.faults if diagnostic.severity == "error"]
    assert [diagnostic.code for diagnostic in errors] == [code]
    assert words in errors[0].message
    assert errors[0].place is not None


def test_a_name_that_is_not_used_is_told(tmp_path: Path) -> None:
    reading = read(NotebookProject(tmp_path).write("%%step fit --foreach depth=1,2 -o model\nmodel = 1").path)
    assert [(diagnostic.code, diagnostic.severity) for diagnostic in reading.faults] == [("JP207", "warning")]


def test_the_name_is_neither_inferred_nor_missed(tmp_path: Path) -> None:
    cells = ("depth = sum([1])", "%%step fit -p depth --foreach depth=1,2" + BODY, "%%step use\ntop = sum(model)")
    reading = read(NotebookProject(tmp_path).write(*cells).path)
    assert reading.faults == ()
    assert reading.pipeline is not None
    fit, use = reading.pipeline
    assert (fit.inputs, fit.parameters, [output.name for output in fit.outputs]) == ((), (), ["model"])
    assert [str(declared.source) for declared in use.inputs] == ["fit.model"]


def test_a_reading_comes_back_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_PIPELINES_CACHE", str(tmp_path / "cache"))
    cells = "%%step fit --foreach depth=1,2 rate=0.5 --at-once 2 --allow-failed 5% -o model\nmodel = depth * rate"
    path = NotebookProject(tmp_path / "book").write(cells).path
    first = read_cache.read(path)
    assert first.pipeline is not None
    kept = read_cache._encoded(first, first.pipeline)
    assert read_cache._decoded(kept, first.document) == first
    assert read_cache.read(path) == first
    assert dataclasses.asdict(first.pipeline["fit"])["foreach"]["allowed"] == "5%"


@pytest.mark.parametrize("form", ["%%step fit --foreach {}", "#| step: fit\n#| foreach: {}"])
@pytest.mark.parametrize("written", ["depth=2,4,8", "kind='1','b c' part='my data/'", "depth=2,4 rate=0.1"])
def test_a_header_that_is_written_again_means_the_same(form: str, written: str) -> None:
    text = form.format(written) + BODY
    again = with_header(text, header_fields(text))
    assert axes(again) == axes(text)
    assert again.endswith(BODY)
