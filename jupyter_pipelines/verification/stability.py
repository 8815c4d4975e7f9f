"""Comparison of a cell's outputs in the pipeline with its outputs in several plain runs of the original.

A cell that differs between plain runs is still compared: what these runs have in common must occur in the pipeline.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from jupyter_pipelines.verification.normalize_outputs import Shown, shown

Judgement = Literal["identical", "unstable", "doubtful", "differs"]
"""``doubtful``: what plain runs have in common is missing, possibly by chance; more runs are needed."""

Doubt = Literal["none", "chance", "depends"]

MAX_ORIGINALS, MAX_TRIALS = 3, 2
"""Numbers of runs of original and pipeline after which common outputs are not taken for chance."""

_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?(e[-+]?\d+)?%?|[-+]?\b(nan|inf)\b", re.IGNORECASE)
_NAME = re.compile(r"[^\W\d]\w*")
_SPACE = re.compile(r"[\s\[\](),]+")
_TEXTS = ("stdout", "stderr", "error", "text/plain", "text/html", "text/latex", "text/markdown")
Outputs = Sequence[Mapping[str, Any]]


def judge(
    originals: Sequence[Outputs], trials: Sequence[Outputs], folders: Mapping[str, str], *, doubt: Doubt = "none"
) -> Judgement:
    """Return whether a cell shows the same in the pipeline.

    Parameters
    ----------
    originals, trials : sequence of sequence of Mapping
        Its outputs in each plain run of the original, and in each run of the pipeline.
    folders : Mapping of str to str
        Folders that go by another name.
    doubt : str
        Whether runs of the original may agree by ``chance``, as other cells differ by themselves, or the cell even
        ``depends`` on what differs.
    """
    exact, results = [[shown(outputs, folders=folders) for outputs in runs] for runs in (originals, trials)]
    # One equal run suffices: the pipeline shows what the original can show.
    if results[0] in exact:
        return "identical"
    if len(set(exact)) == 1:
        if doubt != "none" and not _enough_runs(originals, trials):
            return "doubtful"
        return "unstable" if doubt == "depends" and len(set(results)) > 1 else "differs"
    loose, loose_results = [
        [shown(outputs, folders=folders, loose=True) for outputs in runs] for runs in (originals, trials)
    ]
    if len(set(loose)) == 1 and loose_results[0] in loose:
        return "identical"
    if all(_agree(*aspect) for aspect in _aspects(loose, loose_results)):
        return "unstable"
    return "differs" if _enough_runs(originals, trials) else "doubtful"


def _enough_runs(originals: Sequence[Outputs], trials: Sequence[Outputs]) -> bool:
    return len(originals) >= MAX_ORIGINALS and len(trials) >= MAX_TRIALS


def uses_unstable_values(source: str, cell: int, observations: Sequence[Sequence[Mapping[str, Any]]]) -> bool:
    """Return whether a cell uses values that differ between two observed runs of the original.

    Parameters
    ----------
    source : str
        Its code.
    cell : int
        Its number.
    observations : sequence of sequence of Mapping
        The documents of the observer, for each run.
    """
    if len(observations) < 2:
        return False
    first, second = (_observed_values(cell, documents) for documents in observations[-2:])
    # Words of the source instead of names of its syntax tree: magics and shell lines use names, too.
    words = {*_NAME.findall(source), *first["drew"]}
    return any(first["values"].get(word) != second["values"].get(word) for word in words)


def _observed_values(cell: int, documents: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the digests of values and of the states of random generators, and what the cell drew from."""
    values: dict[str, Any] = {}
    drew: dict[str, Any] = {}
    for document in documents:
        if document["cell"] < cell:
            values |= document["digests"] | document["states"]
        elif document["cell"] == cell:
            drew = dict.fromkeys(document["drew"])
            values |= document["digests"]
    return {"values": values, "drew": drew}


def _agree(before: Sequence[Any], after: Sequence[Any]) -> bool:
    """Return whether something may be the same: it varies from run to run, or some run of each shows the same."""
    return len(set(before)) > 1 or len(set(after)) > 1 or before[0] == after[0]


def _aspects(originals: Sequence[Shown], trials: Sequence[Shown]) -> Iterator[tuple[list[Any], list[Any]]]:
    """Yield what may be the same in all runs though they differ: kinds of pieces, words, whole lines."""
    yield [_kinds(pieces) for pieces in originals], [_kinds(pieces) for pieces in trials]
    # Pieces of different kinds cannot be compared by position.
    if len({_kinds(pieces) for pieces in (*originals, *trials)}) > 1:
        return
    for position, kind in enumerate(_kinds(trials[0])):
        if kind in _TEXTS:
            before, after = [[pieces[position][1] for pieces in runs] for runs in (originals, trials)]
            yield [_without_numbers(text) for text in before], [_without_numbers(text) for text in after]
            yield from _lines(before, after)


def _kinds(pieces: Shown) -> tuple[str, ...]:
    return tuple(kind for kind, _ in pieces)


def _without_numbers(text: str) -> str:
    """Return a text without its numbers, and without how it is laid out, which numbers change."""
    return _SPACE.sub(" ", _NUMBER.sub("#", text))


def _lines(before: Sequence[str], after: Sequence[str]) -> Iterator[tuple[list[str], list[str]]]:
    """Yield what stands in each line, where all runs have as many."""
    lines = [text.split("\n") for text in (*before, *after)]
    if len({len(split_lines) for split_lines in lines}) == 1:
        for versions in zip(*lines, strict=True):
            yield list(versions[: len(before)]), list(versions[len(before) :])
