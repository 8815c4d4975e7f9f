"""Digests of code are worked out once, and are what they would be if they were worked out each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines.notebook import keeping
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.planning import canonical, codes, sequence
from jupyter_pipelines.planning.fingerprint import code_parts
from jupyter_pipelines.planning.introspection import Reads
from tests.planning.stand_ins import module, pipeline, shared, step

ORDERED = ("table = {}", "def put(x):\n    table[x] = x", "put(1)")


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is known yet, and nothing is kept."""
    monkeypatch.setenv(keeping.VARIABLE, str(tmp_path / "kept"))
    forget()
    yield
    forget()


def forget() -> None:
    """Be as another process is that has just started."""
    codes._MEMORY.__init__()  # type: ignore[misc]


class Counter:
    """Counts how often something has to be worked out."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.count = 0
        for room, name in ((canonical, "canonical"), (sequence, "order_that_counts")):
            patch.setattr(room, name, self._counted(getattr(room, name)))

    def _counted(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*about: Any, **more: Any) -> Any:
            self.count += 1
            return work(*about, **more)

        return call


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Counter:
    return Counter(monkeypatch)


def book(*own: str) -> Pipeline:
    """Return a pipeline that has everything that is digested."""
    pieces = tuple(shared(f"piece{number}", text, kind="setup") for number, text in enumerate(ORDERED))
    tool = module("tool", '"""Tools."""\n\n\ndef rows():\n    """Return rows."""\n    return 1')
    return pipeline(*(step(f"s{at}", "", "", text, shared=pieces, modules=(tool,)) for at, text in enumerate(own)))


def parts(one: Pipeline) -> list[dict[str, str]]:
    return [code_parts(step) for step in one]


def test_the_next_process_works_nothing_out(counter: Counter) -> None:
    one = book("x = 1", "%time y = 2", "# nothing", "print(rows.__doc__)", "inspect.getsource(rows)")
    first = parts(one)
    codes.keep(one)
    assert counter.count > 10
    forget()
    counter.count = 0
    codes.recall(one)
    assert parts(one) == first
    assert counter.count == 0


def test_what_was_edited_meanwhile_is_worked_out(counter: Counter) -> None:
    codes.keep(book("x = 1", "y = 2"))
    parts(book("x = 1", "y = 2"))
    codes.keep(book("x = 1", "y = 2"))
    forget()
    edited = book("x = 1", "y = 3")
    codes.recall(edited)
    counter.count = 0
    recalled = parts(edited)
    assert counter.count == 1
    forget()
    assert parts(edited) == recalled


@pytest.mark.parametrize("text", ['def f():\n    """Doc."""\n    return 1', "%time x = 1", "!ls", "x = (", ""])
def test_kinds_and_levels_are_kept_apart(text: str) -> None:
    def digests() -> list[str]:
        return [digest(text, level) for digest in (codes.code_of, codes.module_code) for level in Reads]

    one = pipeline(step("a", "", "", text, modules=(module("m", text),)))
    first = digests()
    codes.keep(one)
    forget()
    codes.recall(one)
    assert digests() == first
    forget()
    assert digests() == first
    assert codes.code_of(text, Reads.SOURCE) not in {codes.code_of(text), codes.module_code(text)}


def test_the_order_of_shared_code_is_that_of_its_own_pieces(counter: Counter) -> None:
    pieces = [(f"piece{number}", "setup", text) for number, text in enumerate(ORDERED)]
    one = book("x = 1")
    first = codes.order_of(pieces)  # type: ignore[arg-type]
    assert first
    codes.keep(one)
    forget()
    codes.recall(one)
    counter.count = 0
    assert codes.order_of(pieces) == first  # type: ignore[arg-type]
    assert counter.count == 0
    assert codes.order_of(pieces[::-1]) != first  # type: ignore[arg-type]
    assert counter.count == 1


def test_a_process_that_lives_long_does_not_keep_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codes, "_REMEMBERED", 10)
    digests = [codes.code_of(f"x = {number}") for number in range(50)]
    assert len(codes._MEMORY.codes) <= 12
    assert [codes.code_of(f"x = {number}") for number in range(50)] == digests


def test_what_was_kept_of_another_notebook_is_not_taken_up(tmp_path: Path, counter: Counter) -> None:
    one = pipeline(step("a", "", "", "x = 1"), notebook=tmp_path / "one.ipynb")
    other = pipeline(step("a", "", "", "x = 1"), notebook=tmp_path / "other.ipynb")
    parts(one)
    codes.keep(one)
    forget()
    codes.recall(other)
    counter.count = 0
    parts(other)
    assert counter.count > 0
