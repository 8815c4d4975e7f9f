"""Cells that differ by themselves: what their plain runs have in common has to be there in the pipeline, too."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_pipelines.verification.stability import Doubt, judge, uses_unstable_values


def outputs(*texts: str) -> list[list[dict[str, Any]]]:
    return [[{"output_type": "stream", "name": "stdout", "text": text}] for text in texts]


def judged(originals: list[Any], trials: list[Any], doubt: Doubt = "none") -> str:
    return judge(originals, trials, {}, doubt=doubt)


@pytest.mark.parametrize(
    ("originals", "trials", "judgement"),
    [
        (outputs("1"), outputs("1"), "identical"),
        (outputs("1"), outputs("2"), "differs"),
        (outputs("0.1", "0.2"), outputs("0.2"), "identical"),
        (outputs("took 1 s\nsum 7", "took 2 s\nsum 7"), outputs("took 3 s\nsum 7"), "identical"),
        (outputs("0.1", "0.2"), outputs("0.3"), "unstable"),
        (outputs("a 0.1", "a 0.2"), outputs("b 0.3"), "doubtful"),
        (outputs("0.1\nsum 7", "0.2\nsum 7"), outputs("0.3\nsum 8"), "doubtful"),
        (outputs("0.1\nsum 7", "0.2\nsum 7", "0.4\nsum 7"), outputs("0.3\nsum 8", "0.5\nsum 8"), "differs"),
        (outputs("0.1\nsum 7", "0.2\nsum 7", "0.4\nsum 8"), outputs("0.3\nsum 9", "0.5\nsum 9"), "unstable"),
        (outputs("0.1\nsum 7", "0.2\nsum 7", "0.4\nsum 7"), outputs("0.3\nsum 8", "0.5\nsum 7"), "unstable"),
    ],
)
def test_what_runs_have_in_common_has_to_be_there(originals: list[Any], trials: list[Any], judgement: str) -> None:
    assert judged(originals, trials) == judgement


def test_a_cell_that_shows_nothing_in_the_pipeline_is_not_unstable() -> None:
    assert judged(outputs("0.1", "0.2", "0.3"), [[], []]) == "differs"


def test_where_others_differ_by_themselves_two_runs_may_agree_by_chance() -> None:
    assert judged(outputs("a", "a"), outputs("b"), "chance") == "doubtful"
    assert judged(outputs("a", "a", "a"), outputs("b", "c"), "chance") == "differs"
    assert judged(outputs("a", "a", "a"), outputs("b", "c"), "depends") == "unstable"
    assert judged(outputs("a", "a", "a"), outputs("b", "b"), "depends") == "differs"


def observation(digest: str, state: str = "s", drew: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    first = {"cell": 1, "digests": {"rows": digest, "names": "n"}, "states": {"numpy": state}, "drew": []}
    return [first, {"cell": 2, "digests": {}, "states": {"numpy": state}, "drew": list(drew)}]


def test_a_cell_depends_on_values_that_are_others_in_every_run_of_the_original() -> None:
    assert uses_unstable_values("rows.head()", 2, [observation("a"), observation("b")])
    assert not uses_unstable_values("names", 2, [observation("a"), observation("b")])
    assert not uses_unstable_values("rows.head()", 2, [observation("a")])
    assert uses_unstable_values("draw()", 2, [observation("a", "s", ("numpy",)), observation("a", "t", ("numpy",))])
