"""Steps that clock or chance may decide: which are suspected, and of which a result is never reused anyway."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jupyter_pipelines.planning.result_lifetime import asked_elsewhere
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.verification.wavering_outputs import suspicion
from tests.storage.users import record


@pytest.mark.parametrize(
    ("code", "is_suspected"),
    [
        ("random.seed(7)", False),
        ("np.random.seed(seed)", False),
        ("random.seed()", True),
        ("np.random.seed(None)", True),
        ("np.random.seed(seed = None)", True),
        ("random.seed()\nnp.random.seed(7)", False),
        ("x = 1", True),
    ],
)
def test_a_seed_without_a_number_is_none(code: str, is_suspected: bool) -> None:
    step: Any = SimpleNamespace(cells=[SimpleNamespace(body=code)], shared=(), modules=(), inputs=(), packages={})
    converted: Any = SimpleNamespace(cells=(1,))
    seen: Any = {1: SimpleNamespace(drew=("random",))}
    assert bool(suspicion(step, converted, seen)) == is_suspected


@pytest.mark.parametrize(
    ("question", "is_elsewhere"),
    [('["network","example.org"]', True), ('["program","/usr/bin/x"]', True), ('["file","a"]', False)],
)
def test_what_asks_a_network_or_a_program_is_never_reused(tmp_path: Path, question: str, is_elsewhere: bool) -> None:
    assert asked_elsewhere(replace(record(open_store(tmp_path / "store")), trace={question: "x"})) == is_elsewhere
