"""An observer in the kernel of a rehearsal (a run of the original notebook): it records the effects of each cell.

It is called between cells, through an expression that changes neither namespace nor history. It only reads: iterators
are not consumed, nothing is printed, no warning is shown or marked as shown. It imports the standard library only, and
no package that the notebook has not imported.
"""

from __future__ import annotations

import json
import re
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jupyter_pipelines.execution.kernel_side.observing import file_audit, global_state
from jupyter_pipelines.execution.kernel_side.observing.aliases import shared_pairs
from jupyter_pipelines.execution.kernel_side.observing.fingerprints import TimeBudget, ValueFingerprint, fingerprint

SECONDS = 2.0
"""Time limit of fingerprinting all names after a cell; names not reached by then are reported as unknown."""

_HISTORY = re.compile(r"_{1,3}|_i{0,3}\d*|_exit_code|_dh|_oh|_ih")
_STAR = re.compile(r"^[ \t]*from[ \t]+([\w.]+)[ \t]+import[ \t]*\(?[ \t]*\*", re.MULTILINE)
_observer: CellObserver | None = None


def begin(path: str, folder: str) -> None:
    """Start observing the kernel in which this is called.

    Parameters
    ----------
    path : str
        The file to which one JSON document is appended for each cell, one per line.
    folder : str
        The notebook's folder; of files opened elsewhere, code and caches are left out.
    """
    global _observer  # noqa: PLW0603 - a kernel has one observer
    shell = sys.modules["IPython"].get_ipython()
    _observer = CellObserver(shell.user_ns, frozenset(shell.user_ns) | frozenset(shell.user_ns_hidden), Path(path))
    file_audit.install_audit_hook(folder, path)


def after(cell: int) -> None:
    """Record the effects of the cell that just ended; without an observer, do nothing."""
    if _observer is not None:
        _observer.after(cell)


class CellObserver:
    """Compares the namespace and the state of the process before and after each cell.

    Parameters
    ----------
    namespace : Mapping
        The user's namespace.
    hidden : frozenset of str
        Names in it that IPython has put there.
    path : Path
        The file to which documents are appended.
    """

    def __init__(self, namespace: Mapping[str, Any], hidden: frozenset[str], path: Path) -> None:
        self._namespace = namespace
        self._hidden = hidden
        self._path = path
        self._prints: dict[str, ValueFingerprint] = {}
        self._state = global_state.GlobalState.now()

    def after(self, cell: int) -> None:
        """Append a document with the effects of the cell that just ended."""
        started = time.monotonic()
        with _quietly():
            document = self._document(cell)
        document["seconds"] = time.monotonic() - started
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(document) + "\n")

    def _document(self, cell: int) -> dict[str, Any]:
        opened = file_audit.take_opened()
        state, before = global_state.GlobalState.now(), self._state
        values = dict(self._values())
        budget = TimeBudget(SECONDS)
        snapshots = {name: fingerprint(value, budget) for name, value in values.items()}
        old, self._prints, self._state = self._prints, snapshots, state
        return {
            "cell": cell,
            "bound": [name for name, snapshot in snapshots.items() if name not in old or old[name].id != snapshot.id],
            "changed": [name for name, snapshot in snapshots.items() if name in old and _differs(old[name], snapshot)],
            "unknown": [name for name, snapshot in snapshots.items() if snapshot.digest is None and not snapshot.stuck],
            "deleted": [name for name in old if name not in snapshots],
            "digests": {
                name: snapshot.digest
                for name, snapshot in snapshots.items()
                if name not in old or old[name] != snapshot
            },
            "kinds": {name: snapshot.kind for name, snapshot in snapshots.items()},
            "stuck": {name: snapshot.stuck for name, snapshot in snapshots.items() if snapshot.stuck},
            "shared": shared_pairs(
                {name: values[name] for name, snapshot in snapshots.items() if snapshot.kind == "value"}
            ),
            "drew": state.drew(before),
            "states": state.random,
            "settings": state.changes(before),
            "figures": state.figures,
            "read": opened.read,
            "wrote": opened.wrote,
            "programs": opened.programs,
            "stars": dict(self._stars()),
        }

    def _stars(self) -> Iterator[tuple[str, list[str]]]:
        """Yield the modules of star imports in the cell that just ended, each with the names it exports."""
        text = (self._namespace.get("In") or [""])[-1]
        for module in _STAR.findall(text) if isinstance(text, str) else ():
            imported = sys.modules.get(module)
            public = [name for name in vars(imported) if not name.startswith("_")] if imported is not None else []
            yield module, [str(name) for name in getattr(imported, "__all__", public)]

    def _values(self) -> Iterator[tuple[str, Any]]:
        for name, value in list(self._namespace.items()):
            if name not in self._hidden and not _is_history(name):
                yield name, value


def _differs(before: ValueFingerprint, now: ValueFingerprint) -> bool:
    # Another object under the name is a new binding, which is reported as such: only the same object can have changed.
    are_known = before.digest is not None and now.digest is not None
    return are_known and before.id == now.id and before.digest != now.digest


def _is_history(name: str) -> bool:
    return name.startswith("__") or _HISTORY.fullmatch(name) is not None


@contextmanager
def _quietly() -> Iterator[None]:
    """Discard output and warnings of pickling; ``catch_warnings`` would reset which warnings have been shown."""
    kept = sys.stdout, sys.stderr, warnings.warn
    sys.stdout = sys.stderr = _DiscardingStream()
    warnings.warn = lambda *_, **__: None
    try:
        yield
    finally:
        sys.stdout, sys.stderr, warnings.warn = kept


class _DiscardingStream:
    """A stream that drops what is written."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        """Drop `text`."""
        return len(text)

    def flush(self) -> None:
        """Do nothing."""
