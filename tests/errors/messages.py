"""Provoke the message of each error code, with the parts that vary from run to run replaced."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from jupyter_pipelines.reporting.error_docs import sections
from tests.e2e.notebook_project import NotebookProject
from tests.errors.error_scenarios import SCENARIOS

PAGE = Path(__file__).parents[2] / "jupyter_pipelines" / "errors.md"
_VARYING = {
    r"\b\d{8}-\d{6}-\d{6}-[0-9a-f]{6}\b": "RUN",
    r"sha256:[0-9a-f]{64}": "sha256:…",
    r"\d+\.\d+ MB are free": "3.1 MB are free",
    r"after \d+(\.\d+)? s": "after 4.2 s",
    r"line \d+ of (\w+)\.py": r"line 7 of \1.py",
    r"installed: .*": "installed: python3",
}


def message_of(code: str, folder: Path) -> str:
    """Provoke `code` in `folder`, and return its message."""
    (folder / "pyproject.toml").write_text("")
    text = SCENARIOS[code](NotebookProject(folder))
    paragraph = re.search(rf"(?:error|warning)\[{code}\]: .*(?:\n .*)*", text, re.M)
    assert paragraph, f"nothing says {code}:\n{text}"
    return _steady(paragraph[0].replace(str(folder), "/home/ada/churn"))


def _steady(text: str) -> str:
    for pattern, steady in _VARYING.items():
        text = re.sub(pattern, steady, text)
    return "\n".join(line.rstrip() for line in text.splitlines())


def write_page(codes: list[str]) -> None:
    """Write what is said now into the page of error codes, as the example of each code."""
    for code in codes:
        page, old = PAGE.read_text(encoding="utf-8"), sections()[code]
        with TemporaryDirectory() as folder:
            example = message_of(code, Path(folder).resolve())
        text = old.partition("\n```text\n")[0].rstrip()
        new = f"{text}\n\n```text\n{example}\n```\n"
        tail = old[len(old.rstrip()) :] or "\n"
        PAGE.write_text(page.replace(f"({code})={old.rstrip()}", f"({code})={new.rstrip()}", 1), encoding="utf-8")
        sys.stderr.write(f"{code} {'kept' if new.strip() == old.strip() else 'written'}{tail and ''}\n")
