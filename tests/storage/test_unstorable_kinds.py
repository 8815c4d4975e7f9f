"""What cannot be stored is called what it is, and the advice says what to hand on instead."""

from __future__ import annotations

import asyncio
import concurrent.futures
import hashlib
import logging
import queue
import socket
import sqlite3
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines.errors import NotStorable
from jupyter_pipelines.storage import serializers


class _Holder:
    def __init__(self, part: Any) -> None:
        self._private = part


def _lambda_with_a_lock() -> Callable[[], object]:
    lock = threading.Lock()
    return lambda: lock


async def _call() -> None:
    """Do nothing."""


def _closed(made: Any) -> Any:
    made.close()
    return made


def _ended() -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process


def _cursor() -> sqlite3.Cursor:
    connection = sqlite3.connect(":memory:")
    cursor = connection.cursor()
    connection.close()
    return cursor


VALUES: dict[str, tuple[Callable[[], Any], str]] = {
    "a generator": (lambda: (number for number in [1]), "list("),
    "a lock": (threading.Lock, "where it is used"),
    "a lock again": (threading.RLock, "where it is used"),
    "a lock of threads": (threading.Event, "where it is used"),
    "a thread": (lambda: threading.Thread(target=print), "results"),
    "a connection": (lambda: _closed(sqlite3.connect(":memory:")), "open its own"),
    "a connection again": (_cursor, "open its own"),
    "a socket": (lambda: _closed(socket.socket()), "open its own"),
    "an open file": (lambda: _closed(Path(__file__).open()), "-o NAME:file"),  # noqa: SIM115 - it cannot be stored either way
    "a running program": (_ended, "results"),
    "a pool of workers": (concurrent.futures.ThreadPoolExecutor, "close it"),
    "a queue": (queue.Queue, "list"),
    "a future": (concurrent.futures.Future, ".result()"),
    "an asynchronous call": (lambda: _closed(_call()), "await"),
    "an event loop": (lambda: _closed(asyncio.new_event_loop()), "results"),
    "a weak reference": (lambda: weakref.ref(_Holder), "the object itself"),
    "a hash": (lambda: hashlib.new("sha256"), ".hexdigest()"),
    "a state of running code": (sys._getframe, "traceback.format_exc()"),
    "a handler of a log": (logging.StreamHandler, "%%setup"),
    "a lambda": (_lambda_with_a_lock, "`def`"),
}


def _refusals(value: Any, folder: Path) -> Iterator[str]:
    for number, output in enumerate((value, _Holder(value), [_Holder([value])])):
        try:
            serializers.save(output, folder / str(number), name="model")
        except NotStorable as error:
            (diagnostic,) = error.faults
            yield diagnostic.suggestion


@pytest.mark.parametrize("kind", VALUES)
def test_the_kind_is_named_and_no_private_attribute_is_to_be_set(kind: str, tmp_path: Path) -> None:
    make, instead = VALUES[kind]
    value = make()
    suggestions = list(_refusals(value, tmp_path))
    assert suggestions
    for suggestion in suggestions:
        assert kind.removesuffix(" again").removesuffix(" of threads") in suggestion
        assert instead in suggestion
        assert "None" not in suggestion
        assert "`model" in suggestion


def test_an_object_of_no_known_kind_is_to_become_plain_values(tmp_path: Path) -> None:
    class Stubborn:
        def __reduce__(self) -> Any:
            raise TypeError("no")

    (suggestion,) = {*_refusals(Stubborn(), tmp_path)}
    assert suggestion == "let the step put what is needed of `model` into plain values, arrays or data frames"
