"""Wrap the functions of `os` that examine files without an audit event, or whose events say too little.

Runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any, NamedTuple

from jupyter_pipelines.execution.kernel_side.tracing import asking_frames
from jupyter_pipelines.execution.kernel_side.tracing.asking_frames import caller
from jupyter_pipelines.execution.kernel_side.tracing.traced_entries import TracedEntries, traced_fstat


class LookHooks(NamedTuple):
    """What the wrappers call; each hook finds the asking code by its distance on the stack, so none may be wrapped.

    Parameters
    ----------
    is_noting : callable
        Tells whether looks of this thread count at the moment.
    unnoted : callable
        Returns a context in which nothing counts.
    absolute : callable
        Takes a path and the descriptor of its folder, and returns the absolute path.
    on_open, on_access, on_look, on_entry : callable
        Take what was opened or examined, and how.
    on_look_at_open_file : callable
        Takes the descriptor of an open file and its status, and returns the status.
    """

    is_noting: Callable[[], bool]
    unnoted: Callable[[], contextlib.AbstractContextManager[None]]
    absolute: Callable[..., str | None]
    on_open: Callable[[tuple[Any, ...]], None]
    on_access: Callable[[Any, tuple[Any, ...], dict[str, Any]], None]
    on_look: Callable[..., None]
    on_entry: Callable[[str, Any, bool], None]
    on_look_at_open_file: Callable[[int, Any], Any]


class LookWrappers:
    """Wrappers of functions that examine files.

    Parameters
    ----------
    hooks : LookHooks
        What the wrappers call.
    """

    def __init__(self, hooks: LookHooks) -> None:
        self._hooks = hooks

    def attach(self) -> None:
        """Put the wrappers in place of the functions, for the rest of the process."""
        for name in ("stat", "lstat", "access", "readlink", "open"):
            original = getattr(os, name)
            wrapped = self._opener(original) if name == "open" else self._wrapped(original)
            wrapped.__name__ = wrapped.__qualname__ = name
            wrapped.__module__, wrapped.__doc__ = "os", original.__doc__
            setattr(os, name, wrapped)
            self._supports(original, wrapped)
        os.fstat = traced_fstat(self._hooks.on_look_at_open_file)
        setattr(os, "scandir", self._scanner(os.scandir))  # noqa: B010 - type checkers know another signature

    @staticmethod
    def _supports(original: Any, wrapped: Any) -> None:
        # shutil and os.fwalk look the functions up in these sets, and without the wrapper would take less safe ways.
        for support in (os.supports_dir_fd, os.supports_follow_symlinks, os.supports_effective_ids, os.supports_fd):
            if original in support:
                support.add(wrapped)

    def _wrapped(self, original: Callable[..., Any]) -> Any:
        follows = original.__name__ == "stat"
        is_access = original.__name__ == "access"
        is_noting, on_access, on_look = self._hooks.is_noting, self._hooks.on_access, self._hooks.on_look
        on_look_at_open_file = self._hooks.on_look_at_open_file

        def note(path: Any, arguments: tuple[Any, ...], options: dict[str, Any], answer: Any) -> None:
            with contextlib.suppress(Exception):
                if is_access:
                    on_access(path, arguments, options)
                else:
                    on_look(path, options, answer, follows=follows)

        def look(path: Any, *arguments: Any, **options: Any) -> Any:
            __tracebackhide__ = True
            if not is_noting():
                return original(path, *arguments, **options)
            if isinstance(path, int):
                return on_look_at_open_file(path, original(path, *arguments, **options))
            try:
                answer = original(path, *arguments, **options)
            except OSError:
                note(path, arguments, options, None)
                raise
            note(path, arguments, options, answer)
            return answer

        return look

    def _opener(self, original: Callable[..., int]) -> Any:
        """Wrap `os.open`: its audit event lacks `dir_fd`, the folder of a relative path."""
        hooks = self._hooks

        def open_file(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            __tracebackhide__ = True
            if dir_fd is None or not hooks.is_noting():
                return original(path, flags, mode, dir_fd=dir_fd)
            with contextlib.suppress(Exception):
                hooks.on_open((hooks.absolute(path, dir_fd), None, flags))
            with hooks.unnoted():
                return original(path, flags, mode, dir_fd=dir_fd)

        return open_file

    def _scanner(self, original: Callable[..., Any]) -> Any:
        """Wrap `os.scandir`: its entries answer questions about kind, size and times without any event."""
        hooks = self._hooks

        def scandir(path: Any = None) -> Any:
            __tracebackhide__ = True
            entries = original(path)
            if isinstance(path, int) or not hooks.is_noting() or asking_frames.is_by_library(caller(1)):
                return entries
            return TracedEntries(entries, hooks.on_entry)

        scandir.__module__, scandir.__doc__ = "os", original.__doc__
        self._supports(original, scandir)
        return scandir
