"""Steps that die, hang or leave, runners that are killed: no false success, nothing left, a plain re-run completes."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.e2e.notebook_project import CommandResult, NotebookProject
from tests.waiting import PATIENCE

STEP = """%%step bad -i first -o out OPTIONS
import ctypes, os, pathlib, signal, subprocess, sys
faulty = pathlib.Path("faulty")
if faulty.exists():
    faulty.unlink()
    child = subprocess.Popen(["sleep", "600"])
    pathlib.Path("child").write_text(str(child.pid))
    FAULT
out = first + 1"""

FAULTS = {
    "os._exit(0)": ("JP302", "status 0"),
    "os._exit(3)": ("JP302", "status 3"),
    "sys.exit(0)": ("JP303", "sys.exit"),
    "quit()": ("JP303", "quit"),
    "ctypes.string_at(0)": ("JP301", "SIGSEGV"),
    "os.kill(os.getpid(), signal.SIGKILL)": ("JP301", "SIGKILL"),
    "while True: pass": ("JP304", "15 s"),
    "1 / 0": ("JP300", "ZeroDivisionError"),
}


def faulty_book(book: NotebookProject, fault: str, options: str = "") -> NotebookProject:
    book.write("%%step first -o first\nfirst = 1", STEP.replace("FAULT", fault).replace("OPTIONS", options))
    (book.folder / "faulty").touch()
    return book


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def step_of(answer: CommandResult, name: str) -> dict:
    return next(step for step in answer.document["steps"] if step["name"] == name)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_step_that_dies_never_succeeds_and_a_plain_rerun_completes(book: NotebookProject, fault: str) -> None:
    code, words = FAULTS[fault]
    faulty_book(book, fault, "--timeout 15" if "while" in fault else "")
    answer = book.run()
    assert answer.code == 1
    assert answer.steps("state") == {"first": "succeeded", "bad": "failed"}
    error = step_of(answer, "bad")["error"]
    assert error["code"] == code
    assert words in error["message"] + " ".join(error.get("notes", ()))
    assert step_of(answer, "bad")["outputs"] == {}
    assert gone(int((book.folder / "child").read_text()))
    assert code in answer.err
    assert "site-packages" not in answer.err
    again = book.run()
    assert again.code == 0
    assert again.steps("state") == {"first": "reused", "bad": "succeeded"}
    assert book.value("bad.out") == 2


def wait_for(path: Path, process: object) -> None:
    """Wait until a step has written `path`; the test's own time limit ends a hang."""
    while not (path.exists() and path.read_text()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.mark.parametrize("loop", ["while True: pass", "import time; time.sleep(600)"])
def test_ctrl_c_cancels_cleanly(book: NotebookProject, loop: str) -> None:
    process = faulty_book(book, loop).start("run", "--json")
    wait_for(book.folder / "child", process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    document = json.loads(out)
    assert document["state"] == "cancelled"
    assert {step["name"]: step["state"] for step in document["steps"]} == {"first": "succeeded", "bad": "cancelled"}
    assert "Traceback" not in err
    assert gone(int((book.folder / "child").read_text()))
    assert book.run().steps("state") == {"first": "reused", "bad": "succeeded"}


SIX = (
    "%%step a -o x\nx = list(range(1000))",
    "%%step b -i x -o y\ny = [one * 2 for one in x]",
    "%%step c -i x -o z\nz = [one * 3 for one in x]",
    "%%step d -i y z -o w\nw = [one + two for one, two in zip(y, z)]",
    "%%step e -i w -o v\nv = sum(w)",
    "%%step f -i v -o u notes:file\nu = v % 97\nnotes.write_text(str(u) * 10000)",
)


@pytest.mark.parametrize("moments", [3, 20])
def test_a_killed_runner_loses_nothing(book: NotebookProject, moments: int) -> None:
    book.write(*SIX[:4])
    started = time.monotonic()
    clean = book.run("--store", str(book.folder / "clean"))
    length = time.monotonic() - started
    assert clean.code == 0, clean.err
    chance = random.Random(moments)
    for number in range(moments):
        store = book.folder / f"store{number}"
        process = book.start("run", "--json", "--store", str(store), start_new_session=True)
        time.sleep(chance.uniform(0.05, 1.0) * length)  # the moment is what is under test
        process.kill()
        process.communicate()
        again = book.run("--store", str(store))
        assert again.code == 0, again.err
        assert again.steps("outputs") == clean.steps("outputs")
        states = [run["state"] for run in book.call("runs", "--json", "--store", str(store)).document["runs"]]
        assert "running" not in states
        assert set(states) <= {"succeeded", "lost", "cancelled"}
        assert [path for path in (store / "tmp").rglob("*") if path.is_file()] == []


def test_two_runs_at_once_compute_every_step_once(book: NotebookProject) -> None:
    count = "\nopen('count', 'a').write('{}\\n')"
    book.write(*(cell + count.format(cell.split()[1]) for cell in SIX))
    both = [book.start("run", "--json") for _ in range(2)]
    answers = [CommandResult(0, *process.communicate(timeout=PATIENCE)) for process in both]
    assert [process.returncode for process in both] == [0, 0], [answer.err for answer in answers]
    assert sorted((book.folder / "count").read_text().split()) == list("abcdef")
    for name in "abcdef":
        assert sorted(answer.steps("state")[name] for answer in answers) == ["reused", "succeeded"]


def peak(book: NotebookProject, text: str, store: str) -> int:
    """Run one step and return the largest resident size, in bytes, of the runner and all it started."""
    book.write(f"%%step talk -o done\n{text}\ndone = True")
    with (book.folder / "out.json").open("w") as out:
        process = book.start("run", "--json", "--store", store, stdout=out, stderr=out)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, (book.folder / "out.json").read_text()
    return usage.ru_maxrss * 1024


def talk(book: NotebookProject, store: str) -> tuple[Path, Path]:
    """Return executed notebook and log of the step."""
    notebook = next((book.folder / store / "runs").rglob("talk.ipynb"))
    return notebook, notebook.with_suffix(".log")


def test_every_flushed_line_is_in_the_log(book: NotebookProject) -> None:
    book.write("%%step talk -o done\nfor number in range(20_000):\n    print(number, flush=True)\ndone = True")
    assert book.run("--store", "s").code == 0
    notebook, log = talk(book, "s")
    assert log.read_text().split() == [str(number) for number in range(20_000)]
    assert "19999" in notebook.read_text()


def test_a_hundred_megabytes_printed_stay_out_of_memory_and_notebook(book: NotebookProject) -> None:
    quiet = peak(book, "print('little')", "quiet")
    loud = peak(book, "for _ in range(100):\n    print('x' * 1_000_000)", "loud")
    assert loud - quiet <= 64 * 2**20
    notebook, log = talk(book, "loud")
    assert log.stat().st_size >= 100_000_000
    assert notebook.stat().st_size < 1_000_000


def test_the_users_notebook_is_never_written_to(book: NotebookProject) -> None:
    book.write(*SIX, "%%step broken -i u\n1 / 0")
    before = book.path.read_bytes(), book.path.stat().st_mtime_ns
    assert book.run().code == 1
    assert (book.path.read_bytes(), book.path.stat().st_mtime_ns) == before
