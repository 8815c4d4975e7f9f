"""Standard streams that packages keep when they are imported: a step has others, and they are put in their place."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import FunctionType
from typing import Any, TextIO

_BOUND: list[tuple[Callable[[TextIO, TextIO], None], int, TextIO]] = []
"""What keeps a stream: how to give it another one for the one it has; which of the two it is; the one it has."""


@contextlib.contextmanager
def replaced(descriptor: int, heard: list[str]) -> Iterator[None]:
    """Have everything that is printed go to a file, and note what is left of these streams afterwards.

    Parameters
    ----------
    descriptor : int
        Of the file.
    heard : list of str
        Gets what would be different in a step.
    """
    kept, streams = [os.dup(1), os.dup(2)], (sys.stdout, sys.stderr)
    for number in (1, 2):
        os.dup2(descriptor, number)
    mine = (_stream(1), _stream(2))
    sys.stdout, sys.stderr = mine
    held = _references(mine)
    try:
        yield
    finally:
        if (sys.stdout, sys.stderr) == mine:
            sys.stdout, sys.stderr = streams
            held = [count - 1 for count in held]
        for stream in (*mine, *streams):
            stream.flush()
        if os.fstat(descriptor).st_size > 0:
            heard.append("it prints")
        if _references(mine) != held:
            _note(mine, streams)
            heard += [] if _references(mine) == held else ["it keeps a standard stream"]
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)


def bind() -> None:
    """Give the streams of this process to what keeps one of those before."""
    for change, which, old in _BOUND:
        change(old, (sys.stdout, sys.stderr)[which])
    _BOUND.clear()


def _stream(number: int) -> TextIO:
    return io.TextIOWrapper(io.BufferedWriter(io.FileIO(number, "wb", closefd=False)), "utf-8")


def _references(streams: tuple[TextIO, TextIO]) -> list[int]:
    return [sys.getrefcount(one) for one in streams]


def _note(mine: tuple[TextIO, TextIO], streams: tuple[TextIO, TextIO]) -> None:
    """Give back the usual streams to handlers of logs and defaults of functions, and remember who has them."""
    for change, old in [*_handlers(), *_functions()]:
        for which, stream in enumerate(mine):
            if old is stream:
                change(stream, streams[which])
                _BOUND.append((change, which, streams[which]))


def _handlers() -> Iterator[tuple[Callable[[TextIO, TextIO], None], Any]]:
    for reference in tuple(logging._handlerList):  # type: ignore[attr-defined] # noqa: SLF001 - no public way
        handler = reference()
        if isinstance(handler, logging.StreamHandler):
            yield partial(_change_handler, handler), handler.stream


def _change_handler(handler: logging.StreamHandler[TextIO], _: TextIO, new: TextIO) -> None:
    handler.stream = new


def _functions() -> Iterator[tuple[Callable[[TextIO, TextIO], None], Any]]:
    for one in gc.get_objects():
        if type(one) is FunctionType:
            values = (*(one.__defaults__ or ()), *(one.__kwdefaults__ or {}).values())
            for value in values:
                yield partial(_change_defaults, one), value


def _change_defaults(function: FunctionType, old: TextIO, new: TextIO) -> None:
    if function.__defaults__:
        function.__defaults__ = tuple(new if one is old else one for one in function.__defaults__)
    if function.__kwdefaults__:
        values = function.__kwdefaults__.items()
        function.__kwdefaults__ = {name: new if one is old else one for name, one in values}
