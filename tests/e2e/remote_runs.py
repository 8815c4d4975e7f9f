"""Notebooks that run on other machines, and helpers that observe them from this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.notebook_project import CommandResult, NotebookProject
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


READS = (
    "%%step table -o total\nimport pandas as pd\ntotal = int(pd.read_csv(''.join(['data/', 'x', '.csv']))['b'].sum())",
    "%%step names -o names\nimport os\nnames = sorted(os.listdir(''.join(['par', 'ts'])))",
    "%%step module -o number\nimport importlib\nnumber = importlib.import_module('hel' + 'per').NUMBER",
    (
        "%%step look -o seen\nimport os\npath = ''.join(['data/', 'x.csv'])\n"
        "seen = [os.path.getsize(path), os.stat(path).st_mtime_ns]"
    ),
    "%%step chain -o text\ntext = open(open(''.join(['data/', 'name'])).read()).read()",
    "%%step write -o size\nsize = open('data/' + 'made.txt', 'w').write('made')",
    "%%step variable -o value\nimport os\nvalue = os.environ.get('CITY')",
    (
        "%%step pattern -o found\nimport glob, os\n"
        "found = sorted(map(os.path.basename, glob.glob(os.path.join(os.getcwd(), 'par' + 'ts', '*'))))"
    ),
    "%%step absent -o there\nimport os\nthere = os.path.exists(''.join(['data/', 'no.csv']))",
)
"""Steps that read what their code does not show."""
EDITS: dict[str, tuple[str, str | None]] = {
    "table": ("data/x.csv", "a,b\n1,30\n"),
    "names": ("parts/3", "new"),
    "pattern": ("parts/3", "new"),
    "module": ("helper.py", "NUMBER = 70\n"),
    "chain": ("data/other", "changed"),
    "write": ("data/made.txt", "changed"),
    "absent": ("data/no.csv", "now"),
}


def with_reads(book: NotebookProject) -> NotebookProject:
    """Write a notebook whose steps read files that their code does not show."""
    for path, text in {
        "pyproject.toml": "",
        "helper.py": "NUMBER = 7\n",
        "data/x.csv": "a,b\n1,2\n",
        "data/name": "data/other",
        "data/other": "the other",
        "parts/1": "one",
        "parts/2": "two",
    }.items():
        (book.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (book.folder / path).write_text(text)
    return book.write(*READS)


def traces_of(book: NotebookProject, store: Path) -> dict[str, list[list[str]]]:
    """Return what each step of a notebook read, wrote, imported and asked for, with digests, as a store holds it."""
    names = [cell.split()[1] for cell in READS]
    documents = [book.call("why", name, "--json", "--dependencies", "--store", str(store)).document for name in names]
    kinds = ("files", "written", "modules", "environment")
    # A kernel that is not forked looks for the folder that it starts in.
    return {
        name: [sorted(str(entry) for entry in document["trace"][kind] if "'.'" not in str(entry)) for kind in kinds]
        for name, document in zip(names, documents, strict=True)
    }


def started_again(answer: CommandResult) -> set[str]:
    """Return the steps that were started again because they asked for files that had not been sent."""
    warnings = answer.steps("warnings").items()
    return {name for name, faults in warnings if "JP609" in {fault["code"] for fault in faults}}


def check_traces(book: NotebookProject, where: str, tmp_path: Path) -> None:
    """Run a notebook here and on a cluster: values and traces are the same, and each edit runs its step again."""
    with_reads(book)
    book.environment["CITY"] = "Oslo"
    here, there = tmp_path / "here", tmp_path / "there"
    first = book.run("--store", str(here))
    assert first.code == 0, first.err
    (book.folder / "data/made.txt").unlink()
    second = book.run("--store", str(there), where)
    assert second.code == 0, second.err
    different = {name for name, digest in second.steps("outputs").items() if digest != first.steps("outputs")[name]}
    assert different == {"variable"}, "the worker has no variable CITY"
    assert (book.folder / "data/made.txt").read_text() == "made"
    assert started_again(second) == {"table", "names", "pattern", "module", "look", "chain", "write"}
    traces = [traces_of(book, store) for store in (here, there)]
    for name in EDITS:
        assert traces[0][name] == traces[1][name], name
    # What has been asked for once is sent at once; a variable of the worker cannot be checked here.
    again = book.run("--store", str(there), where)
    assert {name for name, state in again.steps("state").items() if state != "reused"} == {"variable"}
    assert again.steps("reason")["variable"]["code"] == "unwatched"
    assert "`CITY`" in again.steps("reason")["variable"]["text"]
    for path, text in EDITS.values():
        (book.folder / path).write_text(text)
    edited = book.run("--store", str(there), where)
    assert edited.code == 0, edited.err
    assert not started_again(edited), edited.err
    ran = {name for name, state in edited.steps("state").items() if state == "succeeded"}
    assert ran == {*EDITS, "look", "variable"}, edited.out
    values = {
        name.partition(".")[0]: book.value(name, "--store", str(there))
        for name in ("table.total", "names.names", "pattern.found", "module.number", "chain.text", "absent.there")
    }
    names = ["1", "2", "3"]
    assert values == {
        "table": 30,
        "names": names,
        "pattern": names,
        "module": 70,
        "chain": "changed",
        "absent": True,
    }
