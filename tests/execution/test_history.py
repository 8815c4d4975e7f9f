from __future__ import annotations

import pytest

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.execution.runs.history import pick

RUNS = [{"run": "20261123-11-abc123"}, {"run": "20261123-10-def456"}, {"run": "20261122-09-abd789"}]


@pytest.mark.parametrize(
    ("name", "index"),
    [("last", 0), ("last~0", 0), ("last~2", 2), ("20261122", 2), ("def456", 1), ("20261123-10-def456", 1)],
)
def test_a_run_is_found_by_every_name_it_has(name: str, index: int) -> None:
    assert pick(RUNS, name) == RUNS[index]


@pytest.mark.parametrize(
    ("name", "words"), [("20261123", "more than one"), ("nope", "no run"), ("last~3", "no run"), ("", "no run")]
)
def test_what_names_no_run_or_several_is_told(name: str, words: str) -> None:
    with pytest.raises(StoreError, match=words) as caught:
        pick(RUNS, name)
    assert caught.value.code == "JP405"
