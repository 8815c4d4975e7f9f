"""Two steps run at the same time, and an editor beside them opens and saves files of the project."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.e2e.notebook_project import NotebookProject
from tests.waiting import PATIENCE

EDITOR = """
import os, sys, time
from pathlib import Path
gate, *names = map(Path, sys.argv[1:])
last = False
while not last:
    last = (gate / "read-one").exists() and (gate / "read-two").exists()
    for path in [*Path().glob("*.*"), *Path().glob("[!.]*/*")]:
        try:
            path.read_bytes()
        except (FileNotFoundError, IsADirectoryError):
            pass
    for path in names:
        swap, backup, fresh = map(path.with_name, (f".{path.name}.swp", f"{path.name}~", "4913"))
        swap.write_text("swap")
        with path.open("r+") as file:
            file.truncate()
            file.write(f"in place {time.time_ns()}")
        backup.write_bytes(path.read_bytes())
        fresh.write_text(f"renamed {time.time_ns()}")
        os.replace(fresh, path)
        swap.unlink()
    (gate / "edited").touch()
"""
READER = """
import time
from pathlib import Path
def meet(made, awaited):
    Path("gate", made).touch()
    while not Path("gate", awaited).exists():
        time.sleep(0.01)
def texts(folder):
    return {path.name: path.read_text() for path in sorted(Path(folder).glob("*.csv"))}
"""

STEP = """%%step {name} -o {name}_texts --ignore gate
meet('{name}', 'open')
{name}_texts = texts('{hidden}'[::-1])
meet('read-{name}', 'closed')"""
LAST_STEP = "%%step three -o three_texts\nthree_texts = texts('eerht'[::-1])"


def test_an_editor_beside_two_steps(book: NotebookProject) -> None:
    """What it saves runs the step again that has read it, and no other; what it only opens runs none."""
    lay_out(book)
    assert book.run("--jobs", "1").code == 0  # so that none of them sees what another opens
    assert rerun_after(book, ["notes.txt", "unread/x.csv"]) == set()
    assert rerun_after(book, ["one/3.csv"]) == {"one"}
    assert rerun_after(book, ["one/3.csv", "two/3.csv", "notes.txt"]) == {"one", "two"}
    assert rerun_after(book, ["three/0.csv", "two/5.csv"]) == {"two", "three"}


def test_an_editor_beside_two_steps_where_the_process_is_not_reported(book: NotebookProject) -> None:
    """What it opens may belong to each of the running steps, but not to one that has ended."""
    book.environment["JUPYTER_PIPELINES_WATCH"] = "inotify"
    lay_out(book)
    assert book.run("--jobs", "1").code == 0  # so that none of them sees what another opens
    assert rerun_after(book, ["notes.txt", "unread/x.csv"]) <= {"one", "two"}
    assert rerun_after(book, ["one/3.csv"]) in ({"one"}, {"one", "two"})


def lay_out(book: NotebookProject) -> None:
    """Write a project with three steps, each with a folder of its own that it reads; two of them wait for the gate."""
    book.write(READER, *(STEP.format(name=name, hidden=name[::-1]) for name in ("one", "two")), LAST_STEP)
    for folder in ("gate", "one", "two", "three", "unread"):
        (book.folder / folder).mkdir()
    for folder in ("one", "two", "three"):
        for number in range(10):
            (book.folder / folder / f"{number}.csv").write_text(f"{folder} {number}")
    (book.folder / "unread" / "x.csv").write_text("x")
    (book.folder / "notes.txt").write_text("notes")
    for name in ("open", "closed"):
        (book.folder / "gate" / name).touch()


def rerun_after(book: NotebookProject, saved: Sequence[str]) -> set[str]:
    """Run two steps beside an editor that saves files; return what runs afterwards, when it has computed the same.

    The editor opens all files, and saves from before the steps read until after they have read, but not any more when
    they end: what they note then is all there is to notice.
    """
    gate = book.folder / "gate"
    for path in gate.iterdir():
        path.unlink()
    running = book.start("run", "--json", "--force", "one", "--force", "two", "--jobs", "2")
    wait_until(lambda: {"one", "two"} <= names_in(gate), running)
    editor = subprocess.Popen([sys.executable, "-c", EDITOR, "gate", *saved], cwd=book.folder)
    wait_until(lambda: "edited" in names_in(gate), editor)
    (gate / "open").touch()
    wait_until(lambda: editor.poll() is not None, running)
    assert editor.returncode == 0
    (gate / "closed").touch()
    out, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, out + err
    afterwards = book.run()
    fresh = book.run("--store", str(book.folder.parent / f"fresh-{len(names_in(book.folder.parent))}"))
    assert (afterwards.code, fresh.code) == (0, 0), afterwards.err + fresh.err
    assert digests(afterwards.steps("outputs")) == digests(fresh.steps("outputs"))
    assert set(book.run().steps("decision").values()) == {"reuse"}
    return {name for name, decision in afterwards.steps("decision").items() if decision != "reuse"}


def wait_until(comes: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for something that a process does."""
    while not comes():
        assert process.poll() is None
        time.sleep(0.01)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def digests(outputs: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    return {name: about["digest"] for step in outputs.values() for name, about in step.items()}
