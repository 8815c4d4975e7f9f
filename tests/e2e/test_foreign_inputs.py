"""Inputs as users of other tools write them work here, and printed advice works when pasted."""

from __future__ import annotations

import os
import re

import pytest

from jupyter_pipelines.execution.kernels import missing_packages
from tests.e2e.notebook_project import NotebookProject


@pytest.mark.kernel
def test_a_relative_search_path_is_that_of_the_shell(book: NotebookProject) -> None:
    """Kernels start in other folders than the command."""
    (book.folder / "lib").mkdir()
    (book.folder / "lib" / "onlyhere.py").write_text("C = 3\n")
    book.environment["PYTHONPATH"] = os.pathsep.join(["lib", ""])
    book.write("%%step a -o x\nimport onlyhere\nx = onlyhere.C")
    assert book.call("check").code == 0
    answer = book.run()
    assert answer.code == 0, answer.err
    assert book.value("a.x") == 3


@pytest.mark.kernel
def test_notebooks_whose_names_differ_in_signs_have_tests_of_their_own(book: NotebookProject) -> None:
    book.folder /= "v[1]"
    names = ("my-nb.ipynb", "my nb.ipynb")
    for number, name in enumerate(names):
        book.name = name
        book.write(f"%%step s{number} -o x\nx = {number}")
        answer = book.call("test", "--json")
        assert answer.code == 0, answer.err
        assert answer.document["recorded"]["steps"] == [f"s{number}"]
    for name in names:
        book.name = name
        assert "has no test yet" not in book.call("test").err
    assert len(list(book.folder.glob("test_*.py"))) == 2


@pytest.mark.parametrize(
    ("header", "code", "words"),
    [
        ("--foreach p=[2,4]", "JP101", "write `p=2,4`"),
        ("--foreach p=(1,2)", "JP101", "write `p=1,2`"),
        ("--foreach p=['a','b']", "JP101", "write `p='a','b'`"),
        ("--foreach p=[2, 4]", "JP101", "write `p=2,4`"),
        ("--foreach p=range(3)", "JP101", "or the name of a parameter that holds a list"),
        ("--foreach p=[]", "JP101", "or the name of a parameter that holds a list"),
        ("--foreach p=1,a", "JP101", "are of several types"),
        ("--foreach p=", "JP101", "lacks its values"),
        ("--foreach p = a,b", "JP101", "without spaces around `=`"),
        ("-i data.csv", "JP103", "write `data_csv=data.csv`"),
        ("-i 'my data.csv'", "JP103", "write `my_data_csv='my data.csv'`"),
    ],
)
def test_one_slip_in_a_header_is_one_error(book: NotebookProject, header: str, code: str, words: str) -> None:
    for name in ("data.csv", "my data.csv"):
        (book.folder / name).write_text("1")
    value = "1" if "data" in header else "p"
    checked = book.write(f"%%step s -o t {header}\nt = [{value}]").call("check", "--json")
    faults = checked.document["faults"]
    assert [fault["code"] for fault in faults if fault["severity"] == "error"] == [code]
    assert words in f"{faults[0]['message']} {faults[0]['suggestion']}"
    # What is proposed works when it is pasted.
    for proposed in re.findall(r"^write `((?:p|\w+_csv)=[^`]+)`", faults[0]["suggestion"]):
        option = header.partition(" ")[0]
        pasted = book.write(f"%%step s -o t {option} {proposed}\nt = [{proposed.partition('=')[0]}]").call("check")
        assert pasted.code == 0, pasted.out


def test_text_with_brackets_is_quoted(book: NotebookProject) -> None:
    book.write("%%step s -o t --foreach p=\"[a]\",'(b)'\nt = p")
    assert len(book.plan().steps("name")) == 3, "two items and the list of them"
    (book.folder / "part1.csv").write_text("")
    book.write("%%step s -o t --foreach p=part[0-9].csv\nt = p.name")
    assert len(book.plan().steps("name")) == 2, "a pattern of files has brackets, too"


@pytest.mark.parametrize(
    "line", ["%% step foo -o u", "%step foo -o u", "# %%step foo -o u", "#%%step foo -o u", "%% params", "# %%setup"]
)
def test_what_is_nearly_a_header_is_told(book: NotebookProject, line: str) -> None:
    checked = book.write("%%step ok -o a\na = 1", f"{line}\nu = 1").call("check", "--json")
    (fault,) = checked.document["faults"]
    assert (fault["code"], fault["severity"]) == ("JP101", "warning")
    assert fault["suggestion"] in ("write `%%step`", "write `%%params`", "write `%%setup`")
    # An older header that is kept as a comment is no header that was forgotten.
    assert book.write("%%step ok -o a\n# %%step ok -o a b\na = 1").call("check", "--json").document["faults"] == []


def test_a_module_that_is_not_imported_is_named(book: NotebookProject) -> None:
    checked = book.write("%%step a -o x\nx = copy.deepcopy([1])").call("check", "--json")
    assert checked.document["faults"][0]["suggestion"].startswith("write `import copy` if the module is meant")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("pandsa", "write `pandas`"),
        ("nunpy", "write `numpy`"),
        ("sklearnn", "write `sklearn`"),
        ("nowhere", "install it"),
    ],
)
def test_a_package_that_is_not_installed_is_named(book: NotebookProject, name: str, advice: str) -> None:
    (fault,) = book.write(f"%%step f\nimport {name}").call("check", "--json").document["faults"]
    assert (fault["code"], fault["suggestion"].startswith(advice)) == ("JP223", True), fault["suggestion"]


@pytest.mark.parametrize(
    "name", ["lxml", "httpx", "orjson", "geopandas", "xarray", "typer", "psutil", "pydot", "mpmath"]
)
def test_another_package_is_no_slip(name: str) -> None:
    installed = ("xml", "http", "json", "pandas", "array", "types", "shutil", "pydoc", "math", "pyarrow", "struct")
    assert not any(missing_packages._is_slip(name, other) for other in installed)


def test_reading_versions_installs_nothing(book: NotebookProject) -> None:
    cells = (
        "%%step c\nimport importlib.metadata\nprint(importlib.metadata.version('numpy'))",
        "%%step f\nimport pandsa",
    )
    (fault,) = book.write(*cells).call("check", "--json").document["faults"]
    assert (fault["code"], fault["suggestion"]) == ("JP223", "write `pandas`")


def test_merge_keys_are_an_error(book: NotebookProject) -> None:
    (book.folder / "p.yaml").write_text("limits:\n  <<: {low: 1}\n  high: 2\n")
    book.write("%%params\nlimits: dict = {}", "%%step a -o x\nx = limits")
    answer = book.call("plan", "--params-file", "p.yaml", "--json")
    assert answer.code == 2
    assert "merge keys" in answer.document["faults"][0]["message"]


@pytest.mark.parametrize(
    ("option", "advice"), [("--params", "write `-p`"), ("-r", "write `-p`"), ("-f", "write `--params-file`")]
)
def test_options_of_papermill_lead_to_ours(book: NotebookProject, option: str, advice: str) -> None:
    answer = book.write("%%step a -o x\nx = 1").call("run", option, "n=4")
    assert advice in answer.err


def test_a_pipeline_is_refused_once_by_convert(book: NotebookProject) -> None:
    answer = book.write(*(f"%%step s{number} -o x{number}\nx{number} = 1" for number in range(3))).call("convert")
    assert answer.err.count("the notebook has steps already") == 1


def test_no_other_item_is_proposed_for_one_that_is_not_there(book: NotebookProject) -> None:
    (book.folder / "parts").mkdir()
    for name in ("a b.csv", "a,b.csv", "z.csv"):
        (book.folder / "parts" / name).write_text("")
    book.write("%%step part -o n --foreach p=parts/*.csv\nn = p.name")
    items = [name for name in book.plan().steps("name") if "[" in name]
    known = book.plan("--only", "part[p=a b.csv]").document["faults"][0]["suggestion"]
    assert any(known == f"write `--only '{item}'`" for item in items if item.startswith("part[p=a_b.csv~")), known
    unknown = book.plan("--only", "part[p=y.csv]").document["faults"][0]["suggestion"]
    assert unknown == f"use one of: {', '.join(items)}"


@pytest.mark.kernel
def test_a_secret_is_needed_only_by_what_is_asked_for(book: NotebookProject) -> None:
    book.write(
        '%%params\ntok: Secret = "env:NO_SUCH_SECRET"\nn = 1',
        "%%step a -o x\nx = n",
        "%%step b -i x -p tok\nprint(len(tok))",
    )
    for options in (("--to", "a"), ("--only", "a")):
        answer = book.run(*options)
        assert answer.code == 0, answer.err
    for options in ((), ("--to", "b"), ("--from", "a"), ("--only", "b")):
        answer = book.plan(*options)
        assert [fault["code"] for fault in answer.document["faults"]] == ["JP510"], options


@pytest.mark.kernel
def test_an_object_with_a_lock_of_its_own_is_told_as_what_it_is(book: NotebookProject) -> None:
    shared = "import threading\n\n\nclass Model:\n    def __init__(self):\n        self._lock = threading.Lock()"
    answer = book.write(shared, "%%step a -o m\nm = Model()").call("run")
    assert answer.code == 1
    assert "error[JP205]" in answer.err
    assert "Model" in answer.err
    assert "None" not in answer.err, "a private attribute is not to be set"
