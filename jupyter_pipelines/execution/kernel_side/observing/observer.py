"""An observer in the kernel of a rehearsal: after each cell, it writes down what the cell did.

It is called between cells, through an expression that leaves no trace. It reads and never changes: nothing is consumed,
nothing is printed, no warning is shown or forgotten. Standard library only; what the notebook has not imported is not
imported here.
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
"""How long looking at all names may take after one cell; the names that are left are reported as unknown."""

_HISTORY = re.compile(r"_{1,3}|_i{0,3}\d*|_exit_code|_dh|_oh|_ih")
_STAR = re.compile(r"^[ \t]*from[ \t]+([\w.]+)[ \t]+import[ \t]*\(?[ \t]*\*", re.MULTILINE)
_observer: CellObserver | None = None


def begin(path: str, folder: str) -> None:
    """Start to observe the kernel that this is called in.

    Parameters
    ----------
    path : str
        The file that gets a JSON document for each cell, a line each.
    folder : str
        The notebook's folder: files opened elsewhere hardly matter.
    """
    global _observer  # noqa: PLW0603 - a kernel has one observer
    shell = sys.modules["IPython"].get_ipython()
    _observer = CellObserver(shell.user_ns, frozenset(shell.user_ns) | frozenset(shell.user_ns_hidden), Path(path))
    file_audit.install_audit_hook(folder, path)


def after(cell: int) -> None:
    """Write down what the cell that just ended did."""
    if _observer is not None:
        _observer.after(cell)


class CellObserver:
    """Compares the namespace and the state of the process before and after each cell.

    Parameters
    ----------
    namespace : Mapping
        The user's.
    hidden : frozenset of str
        Names that are not the user's.
    path : Path
        Gets the documents.
    """

    def __init__(self, namespace: Mapping[str, Any], hidden: frozenset[str], path: Path) -> None:
        self._namespace = namespace
        self._hidden = hidden
        self._path = path
        self._prints: dict[str, ValueFingerprint] = {}
        self._state = global_state.GlobalState.now()

    def after(self, cell: int) -> None:
        """Write down what the cell that just ended did."""
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
        """Yield the modules of which the cell that just ended imports all, with the names that they give."""
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
    are_known = before.digest is not None and now.digest is not None
    return are_known and before.id == now.id and before.digest != now.digest


def _is_history(name: str) -> bool:
    return name.startswith("__") or _HISTORY.fullmatch(name) is not None


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep what pickling may say to itself; ``catch_warnings`` would make Python forget which ones it has shown."""
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
