"""Global state of a process outside of the namespace: random generators, settings, environment, working directory."""

from __future__ import annotations

import hashlib
import locale
import os
import pickle
import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

GENERATORS = ("random", "numpy")
"""Modules whose global random generators are compared."""

_IGNORED = ("backend", "JPY_", "PYDEVD", "PYTEST_", "COLUMNS", "LINES", "KMP_", "interactive")


@dataclass(slots=True)
class GlobalState:
    """The global state of the process at one moment.

    Parameters
    ----------
    random : dict of str to str
        Digest of the state of each generator whose module is imported.
    settings : dict of str to (dict of str to value)
        Settings by library, or by kind of global state (``environment``, ``folder``, ``path``).
    figures : int
        Number of open pyplot figures.
    """

    random: dict[str, str] = field(default_factory=dict)
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    figures: int = 0

    @classmethod
    def now(cls) -> GlobalState:
        """Return the state at this moment."""
        settings = {name: options for name, read in _READERS.items() if (options := _safely(read)) is not None}
        return cls(random=_random(), settings=settings, figures=_figures())

    def drew(self, before: GlobalState) -> list[str]:
        """Return the generators that were used or seeded since `before`."""
        # An import since then is no draw: NumPy seeds its generator from the operating system when it is imported.
        start = {"numpy": None, **before.random}
        return [name for name, state in self.random.items() if start.get(name) not in (None, state)]

    def changes(self, before: GlobalState) -> dict[str, dict[str, Any]]:
        """Return the settings that have changed since; settings that appeared with an import are no change."""
        changed_settings = {}
        for name, now in self.settings.items():
            old = before.settings.get(name)
            changed = (
                {} if old is None else {key: setting for key, setting in now.items() if old.get(key, _NONE) != setting}
            )
            if changed:
                changed_settings[name] = changed
        return changed_settings


_NONE = object()


def _random() -> dict[str, str]:
    digests = {"random": _digest(random.getstate())}
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        digests["numpy"] = _digest(numpy.get_state())
    return digests


def _digest(value: Any) -> str:
    return hashlib.blake2b(pickle.dumps(value, protocol=5), digest_size=8).hexdigest()


def _figures() -> int:
    pyplot = sys.modules.get("matplotlib.pyplot")
    return len(pyplot.get_fignums()) if pyplot is not None and hasattr(pyplot, "get_fignums") else 0


def _safely(read: Callable[[], Mapping[str, Any] | None]) -> dict[str, Any] | None:
    try:
        options = read()
    except Exception:  # noqa: BLE001 - other people's settings; without them there is less to say
        return None
    if options is None:
        return None
    return {str(key): option for key, option in options.items() if not str(key).startswith(_IGNORED)}


def _matplotlib() -> Mapping[str, Any] | None:
    module = sys.modules.get("matplotlib")
    # rcParams' own lookup warns of deprecated names and resolves the backend, which would change the state.
    return None if module is None else {key: repr(parameter) for key, parameter in dict.items(module.rcParams)}


def _pandas() -> Mapping[str, Any] | None:
    module = sys.modules.get("pandas._config.config")
    return None if module is None or "pandas" not in sys.modules else dict(_flat(module._global_config, ""))  # noqa: SLF001 - there is no public way to list them


def _flat(options: Mapping[str, Any], prefix: str) -> list[tuple[str, str]]:
    flattened: list[tuple[str, str]] = []
    for key, option in options.items():
        flattened += (
            _flat(option, f"{prefix}{key}.") if isinstance(option, dict) else [(f"{prefix}{key}", repr(option))]
        )
    return flattened


def _numpy() -> Mapping[str, Any] | None:
    module = sys.modules.get("numpy")
    if module is None or not hasattr(module, "get_printoptions"):
        return None
    return {key: repr(option) for key, option in module.get_printoptions().items()}


def _numpy_errors() -> Mapping[str, Any] | None:
    module = sys.modules.get("numpy")
    return module.geterr() if module is not None and hasattr(module, "geterr") else None


def _decimal() -> Mapping[str, Any] | None:
    module = sys.modules.get("decimal")
    # The flags record what calculations met (Inexact, Rounded); they are no setting.
    return None if module is None else {"context": repr(module.getcontext()).partition(", flags")[0]}


_READERS: Mapping[str, Callable[[], Mapping[str, Any] | None]] = {
    "matplotlib": _matplotlib,
    "pandas": _pandas,
    "numpy": _numpy,
    "numpy-errors": _numpy_errors,
    "decimal": _decimal,
    "locale": lambda: {"all": locale.setlocale(locale.LC_ALL)},
    "environment": lambda: dict(os.environ),
    "folder": lambda: {"cwd": os.getcwd()},  # noqa: PTH109 - a text is wanted
    "path": lambda: {"sys.path": list(sys.path)},
    "recursion": lambda: {"limit": sys.getrecursionlimit()},
}
