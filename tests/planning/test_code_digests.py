"""Digests of code are computed once, and equal those that are computed afresh."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines import user_cache
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.planning.keys import canonical_code, code_digests, code_order, inert_code
from jupyter_pipelines.planning.keys.docstring_use import SourceReads
from jupyter_pipelines.planning.keys.fingerprint import code_parts
from tests.planning.planning_fakes import module, pipeline, shared, step

ORDERED = ("table = {}", "def put(x):\n    table[x] = x", "put(1)")


@pytest.fixture(autouse=True)
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start with an empty memory and an empty cache on disk."""
    monkeypatch.setenv(user_cache.VARIABLE, str(tmp_path / "kept"))
    forget()
    yield
    forget()


def forget() -> None:
    """Clear the memory, as in a process that has just started."""
    code_digests._CACHE.__init__()  # type: ignore[misc]


class WorkCounter:
    """Count how often a digest or an order has to be computed."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.count = 0
        for owner, name in (
            (canonical_code, "canonical"),
            (code_order, "order_constraints"),
            (inert_code, "inert_names"),
        ):
            patch.setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*about: Any, **more: Any) -> Any:
            self.count += 1
            return work(*about, **more)

        return call


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> WorkCounter:
    return WorkCounter(monkeypatch)


def book(*own: str) -> Pipeline:
    """Return a pipeline with every kind of code that is digested."""
    pieces = tuple(shared(f"piece{number}", text, kind="setup") for number, text in enumerate(ORDERED))
    tool = module("tool", '"""Tools."""\n\n\ndef rows():\n    """Return rows."""\n    return 1')
    return pipeline(*(step(f"s{at}", "", "", text, shared=pieces, modules=(tool,)) for at, text in enumerate(own)))


def parts(pipeline: Pipeline) -> list[dict[str, str]]:
    return [code_parts(step) for step in pipeline]


def test_the_next_process_works_nothing_out(counter: WorkCounter) -> None:
    mixed_kinds = book(
        "x = 1", "import re\nx = 1", "%time y = 2", "# nothing", "print(rows.__doc__)", "inspect.getsource(rows)"
    )
    first = parts(mixed_kinds)
    code_digests.save_digests(mixed_kinds)
    assert counter.count > 10
    forget()
    counter.count = 0
    code_digests.load_digests(mixed_kinds)
    assert parts(mixed_kinds) == first
    assert counter.count == 0


def test_what_was_edited_meanwhile_is_worked_out(counter: WorkCounter) -> None:
    code_digests.save_digests(book("x = 1", "y = 2"))
    parts(book("x = 1", "y = 2"))
    code_digests.save_digests(book("x = 1", "y = 2"))
    forget()
    edited = book("x = 1", "y = 3")
    code_digests.load_digests(edited)
    counter.count = 0
    recalled = parts(edited)
    assert counter.count == 2  # its digest, and what in it has no effect
    forget()
    assert parts(edited) == recalled


@pytest.mark.parametrize("text", ['def f():\n    """Doc."""\n    return 1', "%time x = 1", "!ls", "x = (", ""])
def test_kinds_and_levels_are_kept_apart(text: str) -> None:
    def digests() -> list[str]:
        return [
            digest(text, level)
            for digest in (code_digests.cell_digest, code_digests.module_digest)
            for level in SourceReads
        ]

    single_step = pipeline(step("a", "", "", text, modules=(module("m", text),)))
    first = digests()
    code_digests.save_digests(single_step)
    forget()
    code_digests.load_digests(single_step)
    assert digests() == first
    forget()
    assert digests() == first
    assert code_digests.cell_digest(text, SourceReads.SOURCE) not in {
        code_digests.cell_digest(text),
        code_digests.module_digest(text),
    }


def test_the_order_of_shared_code_is_that_of_its_own_pieces(counter: WorkCounter) -> None:
    pieces = [(f"piece{number}", "setup", text) for number, text in enumerate(ORDERED)]
    ordered = book("x = 1")
    first = code_digests.cached_order(pieces)  # type: ignore[arg-type]
    assert first
    code_digests.save_digests(ordered)
    forget()
    code_digests.load_digests(ordered)
    counter.count = 0
    assert code_digests.cached_order(pieces) == first  # type: ignore[arg-type]
    assert counter.count == 0
    assert code_digests.cached_order(pieces[::-1]) != first  # type: ignore[arg-type]
    assert counter.count == 1


def test_a_process_that_lives_long_does_not_keep_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_digests, "_CACHE_SIZE", 10)
    digests = [code_digests.cell_digest(f"x = {number}") for number in range(50)]
    assert len(code_digests._CACHE.codes) <= 12
    assert [code_digests.cell_digest(f"x = {number}") for number in range(50)] == digests


def test_what_was_kept_of_another_notebook_is_not_taken_up(tmp_path: Path, counter: WorkCounter) -> None:
    first = pipeline(step("a", "", "", "x = 1"), notebook=tmp_path / "one.ipynb")
    second = pipeline(step("a", "", "", "x = 1"), notebook=tmp_path / "other.ipynb")
    parts(first)
    code_digests.save_digests(first)
    forget()
    code_digests.load_digests(second)
    counter.count = 0
    parts(second)
    assert counter.count > 0
