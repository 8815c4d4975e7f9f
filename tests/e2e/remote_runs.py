"""Notebooks that run on other machines, and helpers that observe them from this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.notebook_project import NotebookProject
from tests.waiting import PATIENCE

CELLS = (
    "%%params\nfactor: int = 3",
    "from counting.words import count\nimport settings",
    (
        "%%step load -i raw=data/words.txt more=data/parts -o words\n"
        "import os\nwords = raw.read_text().split() + [one.read_text() for one in sorted(more.iterdir())]\n"
        "assert os.path.exists('data/words.txt')"
    ),
    (
        "%%step measure -i words -p factor -o sizes table:file tree:folder\n"
        "sizes = {one: count(one) * factor + settings.OFFSET for one in words}\n"
        "table.write_text(str(sizes))\n(tree / 'a').mkdir()\n(tree / 'a' / 'b').write_text('b')"
    ),
    (
        "%%step where -i sizes table tree --gpus 1 -o seen\n"
        "seen = [sorted(sizes), table.read_text(), (tree / 'a' / 'b').read_text()]"
    ),
    "%%step last -i seen -o n\nprint('counted')\nn = len(seen)",
)
HOLD = (
    (
        "%%step hold -o x\nimport pathlib, time\n"
        "with open({folder!r} + '/started', 'a') as f: f.write('x')\n"
        "while not pathlib.Path({folder!r}, 'go').exists(): time.sleep(0.01)\nx = 1"
    ),
    "%%step after -i x -o y\ny = x + 1",
)


def with_words(book: NotebookProject) -> NotebookProject:
    """Write a notebook with modules and data of its own, below the project's folder."""
    book.folder /= "analysis"
    for path, text in {
        "counting/__init__.py": "",
        "counting/words.py": "from counting.more import plus\n\ndef count(word):\n    return len(word) + plus\n",
        "counting/more.py": "plus = 1\n",
        "settings.py": "OFFSET = 100\n",
        "data/words.txt": "one two three",
        "data/parts/1": "four",
        "data/parts/2": "five",
    }.items():
        (book.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (book.folder / path).write_text(text)
    return book.write(*CELLS)


def held(book: NotebookProject, tmp_path: Path, *more: str) -> Path:
    """Write a notebook whose first step writes ``started`` and waits for ``go``; return the folder of these files."""
    folder = tmp_path / "held"
    folder.mkdir()
    book.write(*(cell.replace("{folder!r}", repr(str(folder))) for cell in HOLD), *more)
    return folder


def wait_for(path: Path, text: str) -> None:
    """Wait until a file has this text."""
    end = time.monotonic() + PATIENCE
    while not (path.exists() and path.read_text() == text):
        assert time.monotonic() < end
        time.sleep(0.02)  # another process writes it


def children(pid: int) -> list[str]:
    """Return what a process has started."""
    import psutil

    return [str(child.pid) for child in psutil.Process(pid).children(recursive=True)]


def commands() -> Iterator[str]:
    """Yield the command lines of all processes."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            yield (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
