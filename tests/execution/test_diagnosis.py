"""Diagnosis of failed attempts without a kernel: evidence in, a diagnostic out."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from jupyter_pipelines.execution.ticket import StepTicket
from jupyter_pipelines.execution.worker.diagnosis import FailureEvidence, died, last_lines, not_started, raised
from jupyter_pipelines.interfaces.jupyter.widget_actions import end_of
from jupyter_pipelines.interfaces.jupyter.widget_feed import last_line


@pytest.fixture
def evidence(tmp_path: Path) -> FailureEvidence:
    ticket = StepTicket(
        id="1",
        run="r",
        step="fit",
        notebook={},
        path=str(tmp_path / "t.json"),
        cwd=str(tmp_path),
        store=str(tmp_path),
        publish={"notebook": str(tmp_path / "n.ipynb"), "log": str(tmp_path / "n.log")},
    )
    about = {"role": "step", "cell": 7, "offset": 2}
    cell = {"source": "a\nb\nc", "metadata": {"jupyter_pipelines": about}}
    return FailureEvidence(ticket=ticket, folder=tmp_path, cells=[cell], reached=1, exit_code=-9, age=3.21)


def test_memory_is_blamed_only_with_evidence(evidence: FailureEvidence) -> None:
    blamed = died(replace(evidence, out_of_memory=True, memory=298_000_000)).fault
    assert "less memory" in blamed.suggestion
    assert "the system ran out of memory while it ran, and killed a process for it" in blamed.notes
    assert "it held 298 MB of memory when it was last looked at" in blamed.notes
    plain = died(evidence).fault
    assert "memory" not in plain.message + plain.suggestion
    assert "less memory" not in died(replace(evidence, out_of_memory=True, exit_code=-15)).fault.suggestion


def test_without_a_stack_the_cell_is_named(evidence: FailureEvidence) -> None:
    place = died(evidence).fault.place
    assert place is not None
    assert (place.cell, place.line) == (7, 3)


def test_without_anything_written_down_the_reply_counts(evidence: FailureEvidence) -> None:
    verdict = raised(evidence, {"ename": "KeyError", "evalue": "'a'\nmore\n\nand more\nand still more"})
    assert (verdict.fault.message, verdict.error_type) == ("step `fit` raised KeyError: 'a'", "KeyError")
    assert verdict.fault.notes == ("more", "and more")


def test_a_damaged_report_is_none(evidence: FailureEvidence) -> None:
    (evidence.folder / "error.json").write_text('{"type": "Ke')
    assert raised(evidence, {"ename": "ValueError", "evalue": ""}).fault.message == "step `fit` raised ValueError"


def test_errors_in_shared_code_are_placed_where_that_is_known(evidence: FailureEvidence) -> None:
    origins = [{"name": "f", "cell": 2, "line": 1, "start": 11}, {"name": "g", "cell": 3, "line": 3, "start": 21}]
    shared = {"source": "f\nf2\ng\ng2", "metadata": {"jupyter_pipelines": {"cell": None, "origins": origins}}}
    (evidence.folder / "error.json").write_text(
        '{"type": "E", "message": "", "frames": [{"cell": 1, "line": 4, "function": "g"}]}'
    )
    place = raised(replace(evidence, cells=[shared]), {}).fault.place
    assert place is not None
    assert (place.cell, place.line, place.text) == (3, 22, "g2")


@pytest.mark.parametrize(
    ("asked", "words"), [("pyton3", "write `--kernel python3`"), ("julia", "use one of: ir, python3")]
)
def test_a_kernel_that_is_not_installed(evidence: FailureEvidence, asked: str, words: str) -> None:
    evidence = replace(evidence, ticket=replace(evidence.ticket, kernel=asked))
    diagnostic = not_started(evidence, f"there is no kernel called `{asked}`", ("ir", "python3")).fault
    assert words in diagnostic.suggestion
    assert diagnostic.notes == ("installed: ir, python3",)


def test_last_lines_are_those_a_terminal_shows(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 20_000 + b"\n\x1b[31mred\x1b[0m\r\n10%\r50%\r100%\n\n  \xff last  \n\n")
    assert last_lines(log, 3) == ["red", "100%", "\ufffd last"]
    assert last_lines(tmp_path / "none", 3) == []


class GrowingLog(io.BytesIO):
    """A log to which a step adds much between a look at its length and the next one."""

    most = 0

    def seek(self, offset: int, whence: int = 0) -> int:
        position = super().seek(offset, whence)
        if whence == io.SEEK_END:
            self.write(b"x" * 10_000_000)
        return position

    def read(self, size: int | None = -1) -> bytes:
        content = super().read(size)
        GrowingLog.most = max(GrowingLog.most, len(content))
        return content


@pytest.mark.parametrize(
    "ask", [lambda log: last_lines(log, 1), lambda log: [last_line(str(log))], lambda log: end_of(str(log))]
)
def test_of_a_log_that_grows_meanwhile_only_a_little_is_read(
    ask: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "open", lambda *_: GrowingLog(b"begun\n"))
    monkeypatch.setattr(GrowingLog, "most", 0)
    assert ask(Path("log"))
    assert GrowingLog.most < 1_000_000
