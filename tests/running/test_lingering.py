"""What code has left unfinished: in doubt, it counts."""

from __future__ import annotations

import atexit
import io
import logging
import logging.handlers
import os
import subprocess
import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines.running import lingering
from jupyter_pipelines.running.lingering import Baseline


class Ends:
    def __del__(self) -> None:
        pass


class Holds:
    def __init__(self, value: object) -> None:
        self.value = value


def unfinished(before: Baseline, names: dict[str, Any]) -> list[str]:
    """What is unfinished, but for processes: other tests of this session have some."""
    return [what for what in before.unfinished(names) if what != "processes"]


def generate() -> Iterator[int]:
    yield 1


@pytest.fixture
def before(tmp_path: Path) -> Baseline:
    del tmp_path  # pytest puts it away at its own exit
    return Baseline.now()


def test_nothing_is_unfinished(before: Baseline, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    names: dict[str, Any] = {"x": 1, "text": "x", "many": [{"a": [1]}] * 1000, "function": generate, "kind": Ends}
    names["itself"] = names
    with (tmp_path / "file").open() as file:
        names |= {"descriptor": file.fileno()}
        assert unfinished(before, names) == []


def test_without_a_look_before_everything_may_be() -> None:
    known, lingering._KNOWN[:] = list(lingering._KNOWN), []
    try:
        assert lingering.unfinished({}) == ["no baseline was recorded"]
    finally:
        lingering._KNOWN[:] = known


def test_files_that_may_be_written_count(before: Baseline, tmp_path: Path) -> None:
    with (tmp_path / "file").open("w"):
        assert unfinished(before, {}) == ["open files"]
    assert unfinished(before, {}) == []
    read, write = os.pipe()
    assert unfinished(before, {}) == ["open files"]
    for one in (read, write):
        os.close(one)


def test_threads_count(before: Baseline) -> None:
    event = threading.Event()
    thread = threading.Thread(target=event.wait, daemon=True)
    thread.start()
    assert unfinished(before, {}) == ["threads"]
    event.set()
    thread.join()
    assert unfinished(before, {}) == []


def test_callbacks_at_exit_count(before: Baseline) -> None:
    atexit.register(generate)
    assert unfinished(before, {}) == ["callbacks at exit"]
    atexit.unregister(generate)


def test_finalizers_count(before: Baseline) -> None:
    anchor = Holds(1)
    finalizer = weakref.finalize(anchor, generate)
    assert unfinished(before, {}) == ["callbacks at exit"]
    finalizer.detach()


def test_a_callback_in_place_of_another_one_counts() -> None:
    first, second = Holds(1), Holds(2)
    old = weakref.finalize(first, generate)
    before = Baseline.now()
    old.detach()
    new = weakref.finalize(second, generate)
    assert unfinished(before, {}) == ["callbacks at exit"]
    new.detach()


def test_handlers_of_logs_count(before: Baseline) -> None:
    handler = logging.handlers.MemoryHandler(99)
    assert unfinished(before, {}) == ["logs"]
    handler.close()
    del handler
    assert unfinished(before, {}) == []


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="seen in /proc alone")
def test_processes_count(before: Baseline) -> None:
    with ExitStack() as stack:
        child = stack.enter_context(subprocess.Popen(["sleep", "600"]))
        stack.callback(child.kill)
        assert "processes" in before.unfinished({})


@pytest.mark.parametrize(
    "value",
    [Ends(), [Ends()], {"a": {"b": (Ends(),)}}, Holds(Holds([Ends()])), generate(), [generate()], io.StringIO()],
    ids=["it", "list", "dict", "object", "generator", "generators", "closable"],
)
def test_what_ends_by_itself_counts_wherever_it_is(before: Baseline, value: object) -> None:
    assert unfinished(before, {"value": value}) == ["objects that end by themselves"]


def test_what_cannot_be_looked_through_in_a_moment_counts(before: Baseline) -> None:
    assert unfinished(before, {"value": [[[]] for _ in range(30_000)]}) == ["objects that end by themselves"]
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    assert unfinished(before, {"value": deep}) == ["objects that end by themselves"]
