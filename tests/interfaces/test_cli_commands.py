"""Test every command on a notebook that has been run."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines.interfaces.cli import main
from tests.e2e.notebook_project import NotebookProject
from tests.waiting import PATIENCE

pytestmark = pytest.mark.kernel

CELLS = (
    "%%params\nsize: int = 3    # how many\nword: str = 'a'",
    "%%step make -p size word\nnumbers = [word] * size",
    """%%step pages -i numbers -o folder:folder text:file
folder.mkdir(exist_ok=True)
(folder / 'a.txt').write_text('A')
text.write_text(str(numbers))""",
    "%%step count -i numbers -o total\ntotal = {'numbers': len(numbers)}",
)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> NotebookProject:
    """A notebook, run twice: the second time with another parameter."""
    folder = tmp_path_factory.mktemp("ran")
    (folder / "pyproject.toml").write_text("")
    book = NotebookProject(folder).write(*CELLS)
    first = book.call("run")
    assert first.code == 0, first.err
    assert first.out.splitlines()[-1].startswith("✓ succeeded  run ")
    assert "3 steps ran in " in first.out
    assert "[3/3] ✓ " in first.err
    second = book.run("-p", "size=4", "--only", "make")
    assert second.code == 0, second.err
    return book


CliCall = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(ran: NotebookProject, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> CliCall:
    """Call a command on the notebook."""
    monkeypatch.chdir(ran.folder)

    def call(command: str, *options: str) -> tuple[int, str, str]:
        code = main.call([command, ran.name, *options])
        return code, *capfd.readouterr()

    return call


def document(answer: tuple[int, str, str]) -> Any:
    assert answer[0] == 0, answer[2]
    return json.loads(answer[1])


def test_a_plan_says_what_and_why(cli: CliCall) -> None:
    code, out, err = cli("plan")
    assert (code, err) == (0, "")
    assert [line.count("↻ reuse  run ") for line in out.splitlines()[:3]] == [1, 1, 1]
    plan = document(cli("plan", "-p", "size=5", "--json"))
    assert plan["schema"] == "jupyter-pipelines/plan/1"
    assert {step["name"]: step["decision"] for step in plan["steps"]} == {
        "make": "run",
        "pages": "maybe",
        "count": "maybe",
    }


def test_the_cause_is_told_with_old_and_new(cli: CliCall) -> None:
    code, out, _ = cli("why", "make", "-p", "size=5")
    assert code == 0
    assert out.startswith("make: run\n")
    assert "-> 5" in out
    plan = document(cli("why", "make", "-p", "size=5", "--json"))
    assert [step["name"] for step in plan["steps"]] == ["make"]
    assert plan["steps"][0]["reason"]["code"] == "parameter"


def test_steps_that_do_not_exist_are_refused(cli: CliCall) -> None:
    for arguments in (("why", "mak"), ("plan", "--to", "mak"), ("run", "--force", "mak"), ("output", "mak.numbers")):
        code, out, err = cli(*arguments)
        assert (code, out) == (2, "")
        assert "JP603" in err
        assert "make" in err


def test_a_target_that_does_not_exist_is_refused(cli: CliCall) -> None:
    code, _, err = cli("run", "--on", "dsk")
    assert code == 2
    assert "JP602" in err


def test_a_right_notebook_has_no_faults(cli: CliCall) -> None:
    assert cli("check") == (0, "no faults\n", "")
    assert document(cli("check", "--json")) == {"schema": "jupyter-pipelines/check/1", "faults": []}


def test_values_are_checked_too(cli: CliCall) -> None:
    code, out, _ = cli("check", "-p", "size=many", "-p", "wrd=b")
    assert code == 2
    assert "JP502" in out
    assert "JP501" in out
    assert out.endswith("2 errors\n")


def test_the_graph_is_shown_in_every_form(cli: CliCall) -> None:
    assert "numbers → folder, text" in cli("show", "--store", "elsewhere")[1]
    assert "reuse" in cli("show")[1]
    assert cli("show", "--format", "mermaid")[1].startswith("flowchart LR\n")
    assert ET.fromstring(cli("show", "--format", "svg")[1]).tag.endswith("svg")
    assert cli("show", "--format", "html")[1].startswith("<!doctype html>")
    pipeline = document(cli("show", "--json"))
    assert pipeline["schema"] == "jupyter-pipelines/pipeline/1"
    assert pipeline == document(cli("show", "--format", "json"))
    assert not Path("elsewhere").exists()


@pytest.mark.parametrize(
    "name", ["g.svg", "g.html", "g.json", "g.mmd", "g.mermaid", "g.md", "g.txt", "g.graphml", "g.dot", "g.SVG", "g"]
)
def test_the_graph_is_written_to_a_file_in_the_form_its_name_says(cli: CliCall, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert cli("show", "-o", str(path)) == (0, "", f"{path} written\n")
    starts = {
        "svg": "<svg",
        "html": "<!doctype",
        "json": "{",
        "mmd": "flowchart",
        "mermaid": "flowchart",
        "md": "```mermaid\nflowchart",
        "txt": "●",
        "": "●",
        "graphml": "<?xml",
        "dot": "digraph",
    }
    assert path.read_text().startswith(starts[name[2:].lower()])


@pytest.mark.parametrize("arguments", ["-o g.png", "-o g.xyz", "-o g.svg.gz", "-o g.png --format svg"])
def test_a_file_whose_ending_no_format_has_is_refused(cli: CliCall, tmp_path: Path, arguments: str) -> None:
    before = set(tmp_path.iterdir())
    code, out, err = cli("show", *arguments.split())
    assert code == 2
    assert out == ""
    assert "JP604" in err
    assert ".svg, .html, .json, .graphml, .dot, .mmd, .md or .txt" in err
    assert set(tmp_path.iterdir()) == before


def test_graphviz_makes_the_picture_that_is_asked_for(cli: CliCall, ran: NotebookProject) -> None:
    err = cli("show", "-o", "my graph.png")[2]
    assert f"jupyter pipelines show {ran.name} --format dot | dot -Tpng -o 'my graph.png'" in err


def test_the_format_and_the_ending_of_the_file_must_not_contradict_each_other(cli: CliCall) -> None:
    code, _, err = cli("show", "--format", "json", "-o", "g.svg")
    assert code == 2
    assert "`g.svg` is to be written as json, and `.svg` is the ending of svg" in err
    assert "help: give a file that ends in .json, or `--format svg`" in err
    assert not Path("g.svg").exists()
    for name in ("g.dot", "g.txt", "g.data", "g"):
        assert cli("show", "--format", "dot", "-o", name)[0] == 0
        assert Path(name).read_text().startswith("digraph")


def test_a_notebook_is_never_written_to(cli: CliCall, ran: NotebookProject) -> None:
    before = ran.path.read_bytes()
    assert cli("show", "--format", "svg", "-o", ran.name)[0] == 2
    assert cli("show", "--format", "svg", "-o", "lib.py")[0] == 2
    Path("link.svg").symlink_to(ran.path)
    assert cli("show", "-o", "link.svg")[0] == 2
    assert cli("show", "-o", "no/such/folder.svg")[0] == 2
    assert ran.path.read_bytes() == before


def test_earlier_runs_are_listed(cli: CliCall) -> None:
    lines = cli("runs")[1].splitlines()
    assert lines[0].split()[:3] == ["run", "when", "state"]
    assert len(lines) == 3
    assert "size=4" in lines[1]
    listing = document(cli("runs", "--json"))
    assert [run["parameters"]["size"] for run in listing["runs"]] == [4, 3]


def test_two_runs_are_compared(cli: CliCall) -> None:
    code, out, _ = cli("diff", "last~1")
    assert code == 0
    assert "parameter size" in out
    difference = document(cli("diff", "last~1", "last", "--json"))
    assert difference["schema"] == "jupyter-pipelines/diff/1"
    make = next(step for step in difference["steps"] if step["name"] == "make")
    assert [(change["kind"], change["name"]) for change in make["changes"]] == [
        ("parameter", "size"),
        ("output", "numbers"),
    ]
    assert cli("diff", "nonsense")[0] == 2


def test_an_output_is_shown(cli: CliCall) -> None:
    assert cli("output", "count.total") == (0, "{'numbers': 3}\n", "")
    output = document(cli("output", "count.total", "--json"))
    assert output["format"] == "json"
    assert json.loads(Path(output["path"]).read_text()) == {"numbers": 3}
    assert Path(document(cli("output", "pages.folder", "--json"))["path"], "a.txt").read_text() == "A"


def test_an_output_is_written_to_a_file(cli: CliCall, tmp_path: Path) -> None:
    for _ in range(2):  # a file that is there is replaced
        assert cli("output", "pages.text", "-o", str(tmp_path / "t.txt"))[0] == 0
    assert (tmp_path / "t.txt").read_text() == "['a', 'a', 'a']"
    assert document(cli("output", "pages.folder", "-o", str(tmp_path / "f"), "--json"))["path"] == str(tmp_path / "f")
    assert (tmp_path / "f" / "a.txt").read_text() == "A"
    for wrong in (tmp_path / "f", tmp_path / "no" / "x"):
        code, _, err = cli("output", "pages.text", "-o", str(wrong))
        assert code == 2
        assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []


def test_outputs_that_are_not_there_are_refused(cli: CliCall) -> None:
    for name in ("count.totl", "count", "count.", ".total"):
        code, _, err = cli("output", name)
        assert code == 2, name
        assert "error[JP" in err


def test_what_gc_would_remove_is_told(cli: CliCall) -> None:
    assert cli("gc", "--older-than", "1d", "--dry-run") == (0, "nothing to remove\n", "")
    removable = document(cli("gc", "--older-than", "0", "--dry-run", "--json"))
    assert len(removable["runs"]) == 2
    assert len(document(cli("runs", "--json"))["runs"]) == 2
    assert cli("gc", "--older-than", "soon")[0] == 2


def test_headers_are_frozen(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    book = NotebookProject(tmp_path).write(
        "%%step make\nnumbers = [1]", "%%step count\ntotal = len(numbers)", "%%step show\ntotal"
    )
    assert main.call(["freeze", str(book.path)]) == 0
    assert capfd.readouterr().out == "headers written in cells 1, 2, 3\n"
    assert "-o numbers" in book.path.read_text()
    assert main.call(["freeze", str(book.path)]) == 0
    assert "nothing to write" in capfd.readouterr().out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_cancel_the_run_and_it_is_told(book: NotebookProject, number: signal.Signals, code: int) -> None:
    book.write("%%step wait -o x\nimport time\nprint('now', flush=True)\ntime.sleep(600)\nx = 1")
    # The process that runs the tests may ignore hang-ups, and children inherit that.
    process = book.start("run", "--json", preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
    assert process.stderr is not None
    while "running" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, err
    run = json.loads(out)
    assert run["state"] == "cancelled"
    assert "Traceback" not in err


def test_a_failure_is_told_with_where_to_look(book: NotebookProject) -> None:
    book.write("%%step bad -o x\nx = {}['colum']", "%%step after -i x\nprint(x)")
    answer = book.call("run")
    assert answer.code == 1
    assert "✗ failed" in answer.out
    assert "⊘ blocked" in answer.out
    error_lines = next(block for block in answer.err.split("\n\n") if "error[JP300]" in block).splitlines()
    assert any("= executed notebook: .pipelines/runs/" in line for line in error_lines)
    assert any("= log: .pipelines/runs/" in line for line in error_lines)
    assert error_lines[-1].startswith("   = help: ")


def test_a_plan_and_a_run_that_has_nothing_to_do_import_nothing_heavy(ran: NotebookProject) -> None:
    heavy = {"papermill", "nbformat", "pandas", "numpy", "pyarrow", "IPython", "rich", "nbclient", "jupyter_client"}
    for command in (["plan"], ["run", "--to", "count"], ["check"], ["show"], ["runs"]):
        arguments = [command[0], ran.name, *command[1:]]
        script = f"import sys; from jupyter_pipelines.interfaces.cli import main; code = main.call({arguments!r})\n"
        script += "print(' '.join(sys.modules), file=sys.stderr); sys.exit(code)"
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=ran.folder, capture_output=True, text=True, check=True
        )
        assert not heavy & set(done.stderr.splitlines()[-1].split()), command


def test_what_cannot_run_is_refused_before_anything_runs(book: NotebookProject) -> None:
    book.write("%%step load -i rows=none.csv -o n\nn = len(rows.read_text())")
    answer = book.run()
    assert answer.code == 2, answer.err
    assert answer.document["faults"][0]["code"] == "JP210"
    book.write("%%step make -o n\nn = 1", "%%step use -i n -o m\nm = n + 1")
    answer = book.run("--only", "use")
    assert answer.code == 2, answer.err
    assert answer.document["faults"][0]["code"] == "JP405"
    assert "--only use" in answer.err
