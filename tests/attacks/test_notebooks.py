"""Test that no command that only reads a foreign notebook executes any of its code."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.e2e.notebook_project import NotebookProject

EVIL = "open('CANARY', 'a').write('x')"
SOUND = (
    f"%load_ext evil\n%run evil.py\n!touch CANARY\n{EVIL}",
    f"import evil\nfrom evil import *\n@evil.decorate\ndef helper(x={EVIL}):\n    return evil.f(x)",
    f"class Thing(evil.Meta):\n    y = {EVIL}",
    "%%params\nn: int = 3",
    f"%%step load -p n -o rows\nrows = [helper(n), f'{{{EVIL}}}']",
    f"%%step use -i rows -o total\n!touch CANARY\ntotal = len(rows)\n{EVIL}",
)  # fmt: skip
FAULTY = (
    f"%%params\nn: int = {EVIL}\nm: ({EVIL}) = 1\nk: Annotated[int, {EVIL}] = 2",
    f"%%step {{{EVIL}}} -o a\na = 1",
    "%%step load -i raw=$(touch CANARY) other=`touch CANARY` -o rows\nrows = 1",
    f"%%step ${{{{{EVIL}}}}} -o rows\nrows = 2",
    "%%step x.__class__.__mro__ -o {x.__class__.__mro__}\nx = 1",
    "%%step fine -o rows --kernel ../../evil --on evil.module:Name\nrows = 3",
)
LOOKS = (
    ("check",), ("plan",), ("plan", "--json"), ("why", "load"), ("show",), ("show", "--format", "svg"),
    ("show", "--format", "html"), ("show", "--format", "mermaid"), ("show", "--format", "dot"),
    ("show", "--format", "graphml"), ("show", "--json"), ("runs",),
    ("output", "load.rows"), ("convert", "--static", "--dry-run"), ("gc", "--dry-run"), ("diff", "last~1", "last"),
    ("freeze",),
)  # fmt: skip


@pytest.fixture
def book(tmp_path: Path) -> NotebookProject:
    (tmp_path / "pyproject.toml").write_text("")
    for name in ("evil", "sitecustomize", "nbformat", "click", "yaml", "ipython_config", "jupyter_config", "random"):
        (tmp_path / f"{name}.py").write_text(f"{EVIL}\n")
    kernel = tmp_path / "share" / "jupyter" / "kernels" / "evil"
    kernel.mkdir(parents=True)
    program = {"argv": ["touch", str(tmp_path / "CANARY")], "display_name": "evil", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(program))
    return NotebookProject(tmp_path)


@pytest.mark.parametrize("cells", [SOUND, FAULTY], ids=["sound", "faulty"])
@pytest.mark.parametrize("look", LOOKS, ids=" ".join)
def test_s01_s15_s16_s23_looking_executes_nothing(
    book: NotebookProject, cells: tuple[str, ...], look: tuple[str, ...]
) -> None:
    answer = book.write(*cells).call(*look)
    assert "Traceback" not in answer.err
    assert answer.code in (0, 1, 2)
    assert not (book.folder / "CANARY").exists()


def test_s01_the_canary_can_sing(book: NotebookProject) -> None:
    """What is not executed above is executed by a run: the test would notice."""
    book.write("import evil", "%%step load -o rows\nrows = [evil.__name__]").run()
    assert (book.folder / "CANARY").exists()


@pytest.fixture
def trap() -> Iterator[tuple[str, list[str]]]:
    """A web server that must receive no requests."""
    asked: list[str] = []

    class RequestRecorder(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        do_PUT = do_POST = do_HEAD = do_GET  # noqa: N815 - the names are http.server's

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), RequestRecorder)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_s17_addresses_are_no_files_and_no_server_is_asked(book: NotebookProject, trap: tuple[str, list[str]]) -> None:
    address, asked = trap
    # Plans and runs ask the server of an input; to look at a notebook asks none.
    book.write(f"%%step load -i raw={address}/rows.csv -o rows\nrows = raw.read_text()")
    assert [book.call(command).code for command in ("check", "show")] == [0, 0]
    refused = [
        book.write("%%step load -o rows\nrows = 1").call("run", "--store", f"{address}/store"),
        book.call("run", "--params-file", f"{address}/values.json"),
        book.call("convert", "-o", f"{address}/book.ipynb"),
        NotebookProject(book.folder, f"{address}/book.ipynb").call("check"),
    ]
    assert [answer.code for answer in refused] == [2] * len(refused)
    assert asked == []


DOUBLED = "\n".join(f"{b}: &{b} [*{a},*{a},*{a}]" for a, b in pairwise("abcdefghi"))
BOMBS = {
    "references.yaml": f"a: &a [x,x]\n{DOUBLED}",
    "deep.yaml": "rows: " + "[" * 5000 + "]" * 5000,
    "deep.json": '{"rows": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "python.yaml": "rows: !!python/object/apply:os.system ['touch CANARY']",
    "large.json": '{"rows": "' + "x" * 1_100_000 + '"}',
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_s18_files_of_parameters_that_explode(book: NotebookProject, name: str) -> None:
    (book.folder / name).write_text(BOMBS[name])
    book.write("%%params\nrows: list = []", "%%step load -p rows -o n\nn = len(rows)")
    answer = book.call("plan", "--params-file", name)
    assert (answer.code, "error[JP508]" in answer.err) == (2, True), answer.err
    assert len(answer.err) < 1000
    assert not (book.folder / "CANARY").exists()


def with_cell(source: object) -> str:
    cells = [{"cell_type": "code", "source": source, "metadata": {}, "outputs": [], "execution_count": None}]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 4})


END = ', "nbformat": 4, "nbformat_minor": 5}'
EXPLODING = {
    "open": '{"cells": ' + "[" * 200_000,
    "nested cells": '{"metadata": {}, "cells": ' + "[" * 50_000 + "]" * 50_000 + END,
    "nested metadata": '{"cells": [], "metadata": ' + '{"a":' * 50_000 + "1" + "}" * 50_000 + END,
    "number of cells": '{"cells": 7' + END,
    "number as text": with_cell(7),
    "parentheses": with_cell("(" * 100_000),
    "signs": with_cell("%%step a -o b\nb = " + "-" * 60_000 + "1"),
    "long name": with_cell("%%step " + "a" * 500_000),
}


@pytest.mark.parametrize("text", EXPLODING.values(), ids=EXPLODING)
def test_s19_s27_notebooks_that_explode(book: NotebookProject, text: str) -> None:
    book.path.write_text(text)
    for command in ("check", "plan", "show"):
        answer = book.call(command)
        assert answer.code == 2
        assert "Traceback" not in answer.err
        assert "JP901" not in answer.err + answer.out
        assert len(answer.err + answer.out) < 4000
