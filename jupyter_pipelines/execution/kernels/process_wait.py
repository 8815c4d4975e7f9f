"""Process exits as events: a pidfd becomes readable when the process ends, so that no polling is needed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_LOOK = 0.05


@contextmanager
def exit_descriptor(process: Any) -> Iterator[int | None]:
    """Open a descriptor that becomes readable when `process` ends; None where the system has none (no Linux).

    Parameters
    ----------
    process : subprocess.Popen or ForkedProcess
        A child of this process, or a process that the zygote has forked for it.
    """
    descriptor = None
    with contextlib.suppress(OSError, AttributeError):
        # Another thread may hear of the end and close its descriptor: nothing would ever be read from that one.
        descriptor = os.dup(process.fileno()) if hasattr(process, "fileno") else os.pidfd_open(process.pid)
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


async def until_ended(process: Any) -> None:
    """Return when `process` has ended."""
    with exit_descriptor(process) as descriptor:
        while process.poll() is None:
            await _wait_until_readable(descriptor)


async def _wait_until_readable(descriptor: int | None) -> None:
    """Return when a descriptor can be read; without one, after 0.05 s, so that the caller polls."""
    if descriptor is None or descriptor < 0:
        await asyncio.sleep(_LOOK)
        return
    loop = asyncio.get_running_loop()
    heard = asyncio.Event()
    loop.add_reader(descriptor, heard.set)
    try:
        await heard.wait()
    finally:
        loop.remove_reader(descriptor)


def wait(process: Any, seconds: float) -> None:
    """Wait until `process` has ended, for at most `seconds`."""
    if process.poll() is None:
        with exit_descriptor(process) as descriptor:
            if descriptor is not None and descriptor >= 0:
                ended = select.poll()  # `select` knows no descriptor beyond 1023
                ended.register(descriptor, select.POLLIN)
                ended.poll(seconds * 1000)
                # Only to collect the exit status: the time is used up, or the process has ended.
                seconds = _LOOK
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
