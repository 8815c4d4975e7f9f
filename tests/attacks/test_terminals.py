"""S26: what a step prints cannot steer the terminal, forge lines or fill the clipboard."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.notebook_project import NotebookProject

pytestmark = pytest.mark.kernel

STEERING = [
    "\x1b[2J\x1b[H", "\x1b]52;c;ZXZpbA==\x07", "\x1b]0;title\x07", "\x1b[31mred", "\x9b31m", "\r[9/9] done", "\x08\x08",
    "\x1bc", "\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "\u202egnp.exe", "\x1bP+q\x1b\\", "\x00", "\x7f",
]  # fmt: skip


@pytest.fixture
def book(tmp_path: Path) -> NotebookProject:
    (tmp_path / "pyproject.toml").write_text("")
    return NotebookProject(tmp_path)


def test_s26_texts_of_a_step_come_out_harmless(book: NotebookProject) -> None:
    body = f"evil = {STEERING!r}\nfor one in evil:\n    print(one, flush=True)\nraise ValueError(''.join(evil))"
    book.write(f"%%step speak -o nothing\nnothing = 1\n{body}")
    answers = [book.call("run"), book.call("runs"), book.call("show"), book.call("plan"), book.call("why", "speak")]
    for answer in answers:
        shown = answer.out + answer.err
        assert not [
            character
            for character in shown
            if (ord(character) < 32 and character != "\n") or 127 <= ord(character) < 160 or character == "\u202e"
        ]
        assert "Traceback" not in shown


def test_s04_names_and_parameters_come_out_harmless(book: NotebookProject) -> None:
    book.write('%%params\nname: str = "a\\x1b[2Jb\\u202ec"', "%%step speak -p name -o size\nsize = len(name)")
    assert book.run().code == 0
    for look in (("runs",), ("show",), ("diff", "last", "last"), ("show", "--format", "html")):
        shown = book.call(*look).out
        assert "\x1b" not in shown
        assert "\u202e" not in shown
