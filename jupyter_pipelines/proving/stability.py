"""What a cell shows in the pipeline, judged by what it shows in several plain runs of the original.

A cell that differs by itself is still compared: all that its plain runs have in common has to be there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from jupyter_pipelines.proving.outputs import Shown, shown

Judgement = Literal["identical", "unstable", "doubtful", "differs"]
"""``doubtful``: what plain runs have in common is not there, and chance may be the reason."""

MOST_ORIGINALS, MOST_TRIALS = 3, 2
"""Runs of the original and of the pipeline after which what each has in common is no chance."""

_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?(e[-+]?\d+)?%?|[-+]?\b(nan|inf)\b", re.IGNORECASE)
_SPACE = re.compile(r"[\s\[\](),]+")
_TEXTS = ("stdout", "stderr", "error", "text/plain", "text/html", "text/latex", "text/markdown")
Outputs = Sequence[Mapping[str, Any]]


def judge(
    originals: Sequence[Outputs], trials: Sequence[Outputs], folders: Mapping[str, str], *, wavers: bool = False
) -> Judgement:
    """Return whether a cell shows the same in the pipeline.

    Parameters
    ----------
    originals, trials : sequence of sequence of Mapping
        Its outputs in each plain run of the original, and in each run of the pipeline.
    folders : Mapping of str to str
        Folders that go by another name.
    wavers : bool
        Cells of this notebook differ by themselves, so that two runs may agree by chance.
    """
    exact, results = [[shown(one, folders=folders) for one in runs] for runs in (originals, trials)]
    if results[0] in exact:
        return "identical"
    if len(set(exact)) == 1:
        return "doubtful" if wavers and 1 < len(originals) < MOST_ORIGINALS else "differs"
    loose, late = [[shown(one, folders=folders, loose=True) for one in runs] for runs in (originals, trials)]
    if len(set(loose)) == 1 and late[0] in loose:
        return "identical"
    if all(_agree(*aspect) for aspect in _aspects(loose, late)):
        return "unstable"
    return "differs" if (len(originals), len(trials)) >= (MOST_ORIGINALS, MOST_TRIALS) else "doubtful"


def _agree(before: Sequence[Any], after: Sequence[Any]) -> bool:
    """Return whether something may be the same: it varies from run to run, or some run of each shows the same."""
    return len(set(before)) > 1 or len(set(after)) > 1 or before[0] == after[0]


def _aspects(originals: Sequence[Shown], trials: Sequence[Shown]) -> Iterator[tuple[list[Any], list[Any]]]:
    """Yield what may be the same in all runs though they differ: kinds of pieces, words, whole lines."""
    yield [_kinds(one) for one in originals], [_kinds(one) for one in trials]
    if len({_kinds(one) for one in (*originals, *trials)}) > 1:
        return
    for at, kind in enumerate(_kinds(trials[0])):
        if kind in _TEXTS:
            before, after = [[one[at][1] for one in runs] for runs in (originals, trials)]
            yield [_worded(text) for text in before], [_worded(text) for text in after]
            yield from _lines(before, after)


def _kinds(pieces: Shown) -> tuple[str, ...]:
    return tuple(kind for kind, _ in pieces)


def _worded(text: str) -> str:
    """Return a text without its numbers, and without how it is laid out, which numbers change."""
    return _SPACE.sub(" ", _NUMBER.sub("#", text))


def _lines(before: Sequence[str], after: Sequence[str]) -> Iterator[tuple[list[str], list[str]]]:
    """Yield what stands in each line, where all runs have as many."""
    lines = [text.split("\n") for text in (*before, *after)]
    if len({len(one) for one in lines}) == 1:
        for one in zip(*lines, strict=True):
            yield list(one[: len(before)]), list(one[len(before) :])
