"""References to standard streams that packages keep at import (log handlers, defaults): forked kernels replace them."""

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

_HOLDERS: list[tuple[Callable[[TextIO, TextIO], None], int, TextIO]] = []
"""Holders of a stream: the function that replaces it; 0 for stdout, 1 for stderr; the stream it holds now."""


@contextlib.contextmanager
def replaced(descriptor: int, heard: list[str]) -> Iterator[None]:
    """Redirect stdout and stderr to a file, and find references to these streams that outlive the block.

    Parameters
    ----------
    descriptor : int
        Descriptor of the file.
    heard : list of str
        Reasons why the import must not be shared are appended: printed text, a stream that is kept.
    """
    kept, streams = [os.dup(1), os.dup(2)], (sys.stdout, sys.stderr)
    for number in (1, 2):
        os.dup2(descriptor, number)
    mine = (_stream(1), _stream(2))
    sys.stdout, sys.stderr = mine
    # By reference counts: there is no other way to learn that some object anywhere keeps a stream.
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
            _restore_and_record(mine, streams)
            heard += [] if _references(mine) == held else ["it keeps a standard stream"]
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)


def rebind_holders() -> None:
    """Replace the recorded references to streams by the present streams of this process."""
    for change, which, old in _HOLDERS:
        change(old, (sys.stdout, sys.stderr)[which])
    _HOLDERS.clear()


def _stream(number: int) -> TextIO:
    return io.TextIOWrapper(io.BufferedWriter(io.FileIO(number, "wb", closefd=False)), "utf-8")


def _references(streams: tuple[TextIO, TextIO]) -> list[int]:
    return [sys.getrefcount(stream) for stream in streams]


def _restore_and_record(mine: tuple[TextIO, TextIO], streams: tuple[TextIO, TextIO]) -> None:
    """Restore the usual streams in log handlers and defaults of functions, and record these for a child to rebind."""
    for change, old in [*_handlers(), *_functions()]:
        for which, stream in enumerate(mine):
            if old is stream:
                change(stream, streams[which])
                _HOLDERS.append((change, which, streams[which]))


def _handlers() -> Iterator[tuple[Callable[[TextIO, TextIO], None], Any]]:
    for reference in tuple(logging._handlerList):  # type: ignore[attr-defined] # noqa: SLF001 - no public way
        handler = reference()
        if isinstance(handler, logging.StreamHandler):
            yield partial(_change_handler, handler), handler.stream


def _change_handler(handler: logging.StreamHandler[TextIO], _: TextIO, new: TextIO) -> None:
    handler.stream = new


def _functions() -> Iterator[tuple[Callable[[TextIO, TextIO], None], Any]]:
    for function in gc.get_objects():
        if type(function) is FunctionType:
            values = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
            for value in values:
                yield partial(_change_defaults, function), value


def _change_defaults(function: FunctionType, old: TextIO, new: TextIO) -> None:
    if function.__defaults__:
        function.__defaults__ = tuple(new if default is old else default for default in function.__defaults__)
    if function.__kwdefaults__:
        values = function.__kwdefaults__.items()
        function.__kwdefaults__ = {name: new if default is old else default for name, default in values}
