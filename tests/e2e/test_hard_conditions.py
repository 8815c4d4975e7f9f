"""Test runs under hard conditions: concurrent runs, edits during a run, interrupts, no home, no network."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from tests.e2e.notebook_project import COMMAND, NotebookProject
from tests.waiting import PATIENCE

KILLING = Path(__file__).parents[1] / "faults" / "killing"
CELLS = (
    "%%step a -o x\nx = list(range(1000))",
    "%%step b -i x -o y\ny = [one * 2 for one in x]",
)
COUNTED = (
    "%%step one -o x\nwith open('ran', 'a') as f: f.write('one ')\nx = 1",
    "%%step two -i x -o y\nwith open('ran', 'a') as f: f.write('two ')\ny = x + 1",
)
THREADS = """
import threading, jupyter_pipelines as jp
runs, start = [], threading.Barrier(2)
def go():
    start.wait()
    runs.append(jp.run(jp.read("book.ipynb")))
threads = [threading.Thread(target=go) for _ in range(2)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert len(runs) == 2
for run in runs:
    assert run.state == "succeeded", run
    assert run["two"].outputs["y"] == 2
print(sorted(run["one"].state for run in runs))
"""


def test_one_pipeline_twice_in_a_process(book: NotebookProject) -> None:
    """R37: the second run waits, and reuses the results."""
    book.write(*COUNTED)
    done = subprocess.run([sys.executable, "-c", THREADS], check=False, cwd=book.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["['reused',", "'succeeded']"]
    assert sorted((book.folder / "ran").read_text().split()) == ["one", "two"]


def test_different_pipelines_in_one_store(book: NotebookProject) -> None:
    """R39: collecting for one of them takes nothing from the other."""
    other = NotebookProject(book.folder, "other.ipynb")
    book.write(*CELLS)
    other.write("%%step a -o x\nx = 'other'", "%%step c -i x -o z\nz = x * 2")
    assert book.run().code == other.run().code == 0
    assert book.call("gc").code == 0
    for pipeline in (book, other):
        assert set(pipeline.run().steps("state").values()) == {"reused"}


def test_a_step_that_comes_to_something_else_each_time(book: NotebookProject) -> None:
    """R25: what follows is made of exactly what is stored, also after it was computed anew."""
    book.write("%%step draw -o x\nimport time\nx = time.time_ns()", "%%step use -i x -o y\ny = x")
    seen = set()
    for options in ((), ("--force", "draw"), ()):
        answer = book.run(*options)
        assert answer.code == 0, answer.err
        assert book.value("draw.x") == book.value("use.y")
        seen.add(book.value("draw.x"))
    assert set(answer.steps("state").values()) == {"reused"}
    assert len(seen) == 2


def test_an_output_of_another_type_than_declared(book: NotebookProject) -> None:
    """R12: what was expected, what came, and nothing is stored."""
    book.write("%%step make -o rows:parquet\nrows = 3", "%%step use -i rows\nprint(rows)")
    answer = book.run()
    assert answer.code == 1
    error = answer.steps("error")["make"]
    assert "parquet" in error["message"]
    assert "int" in error["message"]
    assert answer.steps("state") == {"make": "failed", "use": "blocked"}
    assert answer.steps("outputs")["make"] == {}


def test_names_that_are_no_names_for_files(book: NotebookProject) -> None:
    """R19: values and steps have any name that Python takes; files are called what every disk keeps as it is."""
    longest, decomposed = "x" * 100, unicodedata.normalize("NFD", "größe")
    book.write(
        f"%%step con -o größe\n{decomposed} = 1",
        f"%%step {longest} -i {decomposed} -o 数据\n数据 = größe + 1",
        "%%step aux -i 数据 -o y\ny = 数据 + 1",
        f"%%step {decomposed} -i y\nprint(y)",
    )
    answer = book.run()
    assert answer.code == 0, answer.err
    assert book.value("aux.y") == 3
    stored = [path.name for path in (book.folder / ".pipelines").rglob("*")]
    assert not [name for name in stored if not name.isascii()]
    assert not [path for path in (book.folder / ".pipelines" / "blobs").rglob("*") if "x" in path.name]
    for name in ("größe!", "x" * 101, "../x", "a b", "😀"):
        book.write(f"%%step {name} -o y\ny = 1")
        assert book.call("check").code == 2


def test_without_a_home_and_without_widgets(book: NotebookProject, tmp_path: Path) -> None:
    """R49: nothing is needed of the user's own folder, and a graph is a text where it cannot be a widget."""
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "sitecustomize.py").write_text(
        "import sys\nfor name in ('anywidget', 'ipywidgets'):\n    sys.modules[name] = None\n"
    )
    (tmp_path / "home").write_text("a file where a folder belongs")
    book.environment |= {"HOME": str(tmp_path / "home"), "PYTHONPATH": str(tmp_path / "blocked")}
    book.environment |= {name: str(tmp_path / "home") for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "IPYTHONDIR")}
    book.write(*CELLS)
    answer = book.run()
    assert answer.code == 0, answer.err
    assert "b" in book.call("show", "--format", "text").out


def test_a_notebook_that_is_edited_while_it_runs(book: NotebookProject) -> None:
    """R65: a run is of the cells that it began with; the edit counts from the next plan on."""
    wait = (
        "import pathlib, time\npathlib.Path('begun').touch()\nwhile not pathlib.Path('go').exists(): time.sleep(0.01)"
    )
    book.write(f"%%step a -o x\n{wait}\nx = 'old'", "%%step b -i x -o y\ny = x + ' b'")
    running = book.start("run", "--json")
    while not (book.folder / "begun").exists():
        assert running.poll() is None
    book.edit("y = x + ' b'", "y = x + ' new'")
    (book.folder / "go").touch()
    out, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, err
    assert '"state": "succeeded"' in out or '"state":"succeeded"' in out
    plan = book.call("plan", "--json")
    assert plan.steps("decision") == {"a": "reuse", "b": "run"}
    assert plan.reasons["b"] == "code"
    assert book.run().code == 0
    assert book.value("b.y") == "old new"


@pytest.mark.parametrize(
    "point",
    [
        "storage.records.record_store:RecordStore.put:before",
        "storage.records.record_store:RecordStore.put:after",
        "storage.records.run_store:RunStore.append:after",
        "storage.store:Store.flush:before",
        "execution.scheduler.state_machine:StepScheduler.handle:after",
    ],
)
def test_an_interrupt_at_a_named_point(book: NotebookProject, tmp_path: Path, point: str) -> None:
    """R71: told as an interrupt, nothing half done, and a plain re-run completes."""
    interrupted = tmp_path / "interrupted"
    book.environment |= {
        "PYTHONPATH": str(KILLING),
        "JP_TEST_KILL_AT": f"jupyter_pipelines.{point}",
        "JP_TEST_KILLED": str(interrupted),
        "JP_TEST_SIGNAL": str(int(signal.SIGINT)),
    }
    book.write(*CELLS)
    first = book.run()
    assert interrupted.exists(), first.err
    assert first.code in (0, 130), first.err
    assert "Traceback" not in first.err
    book.environment.clear()
    again = book.run()
    assert again.code == 0, again.err
    assert book.call("output", "b.y", "--json").code == 0
    assert {run["state"] for run in book.call("runs", "--json").document["runs"]} <= {"succeeded", "cancelled"}
    assert [path for path in (book.folder / ".pipelines" / "tmp").rglob("*") if path.is_file()] == []
    assert book.call("fsck").code == 0


ALONE = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c"]
_MAY = shutil.which("unshare") and subprocess.run([*ALONE, "true"], check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not _MAY, reason="this machine gives no network of one's own: unshare is refused")
def test_without_any_network(book: NotebookProject) -> None:
    """S29: no interface is up, not even the machine's own."""
    book.write(*CELLS)
    for command in ("run", "show", "check"):
        line = f'exec "{COMMAND}" {command} {book.name}'
        done = subprocess.run(
            [*ALONE, line], check=False, cwd=book.folder, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_names_and_values_from_outside_are_no_code(book: NotebookProject, tmp_path: Path) -> None:
    """S13."""
    canary = tmp_path / "canary"
    evil = f"__import__('pathlib').Path({str(canary)!r}).touch()"
    book.write("%%params\nn: int = 1\ntext: str = 'a'", "%%step a -p n text -o x\nx = [n, text]")
    for name in (f"n=1\n{evil}\ny", f"n;{evil}", "n.__class__", "__import__('os')"):
        answer = book.run("-p", f"{name}=5")
        assert answer.code == 2, answer.err
    for value in (evil, f"'''\n{evil}\n'''", f"'\n{evil}\n#", "\\"):
        answer = book.run("-p", f"text={value}")
        assert answer.code == 0, answer.err
        assert book.value("a.x") == [1, value]
    assert book.run("-p", f"n={evil}").code == 2
    assert not canary.exists()


def test_names_do_not_end_up_as_code_in_what_is_generated(book: NotebookProject) -> None:
    """S14: they are refused before anything is generated from them."""
    names = ("x;import_os", "x)", "x\u2028y", "x#y", "'x'", "lambda", "{x}", "$x", "x\\ny")
    book.write(*(f"%%step a{number} -o {name}\npass" for number, name in enumerate(names)))
    answer = book.run()
    assert answer.code == 2
    assert {fault["cell"] for fault in answer.document["faults"]} == set(range(1, len(names) + 1))
    assert not (book.folder / ".pipelines" / "runs").exists()
