"""Environment variables that differ from session to session; they count where the user's own code asks for them."""

from __future__ import annotations

from collections.abc import Mapping

DEFAULTS = {"PYTHONHASHSEED": "0"}
"""Variables that steps get unless they are set. A fixed hash seed gives sets of strings the same order in every run."""
FIXED = {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}
"""Variables that steps get in any case."""
SET_BY_KERNELS = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
"""Variables that ipykernel sets in its own process, and so for its children, unless they are set."""
READ_BY_PYTHON = tuple(
    """
    PYTHONDEVMODE PYTHONHASHSEED PYTHONINTMAXSTRDIGITS PYTHONNOUSERSITE PYTHONOPTIMIZE PYTHONSAFEPATH
    PYTHONTZPATH PYTHONUTF8 PYTHONWARNINGS PYTHON_CPU_COUNT
    """.split()
)
"""Variables that Python reads when it starts, before any code of the step: they count for every step."""
_PREFIXES = (
    "JPY_",
    "JUPYTER",
    "IPYTHON",
    "IPYKERNEL",
    "PYDEVD",
    "SSH_",
    "XDG_",
    "DBUS_",
    "VSCODE_",
    "TERM_",
    "ITERM_",
    "KITTY_",
    "WEZTERM_",
    "GNOME_",
    "KDE_",
    "PYTEST_",
    "PYTHON",
)
"""Beginnings of the names of variables that programs set for themselves and for what they start."""
_CHANGING = frozenset(
    """
    PWD OLDPWD SHLVL _ TERM COLUMNS LINES DISPLAY WAYLAND_DISPLAY WINDOWID COLORTERM CLICOLOR CLICOLOR_FORCE FORCE_COLOR
    NO_COLOR LS_COLORS PS1 EDITOR VISUAL PAGER GIT_PAGER MPLBACKEND DEBUGPY_RUNNING HOSTNAME LANG LANGUAGE LC_CTYPE
    VIRTUAL_ENV VIRTUAL_ENV_PROMPT CONDA_PREFIX CONDA_DEFAULT_ENV CONDA_PROMPT_MODIFIER CONDA_SHLVL
    """.split()
)
"""Variables that change by themselves, or that say how something is shown."""
PERSONAL = frozenset("HOME USER LOGNAME USERNAME PATH SHELL TMPDIR TEMP TMP MAIL NETRC".split())
"""Variables that libraries read to find their own files: they count where the user's own code reads them."""


def set_by_user(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables without those that have the value which steps or kernels get anyway.

    A kernel of Jupyter, in which a run may be planned, has some of them, and a terminal does not.
    """
    given = {**DEFAULTS, **FIXED, **SET_BY_KERNELS}
    return {name: value for name, value in environment.items() if given.get(name) != value}


def changes_by_itself(name: str) -> bool:
    """Tell whether a variable changes from one session to the next though no user sets it."""
    return name in _CHANGING or name.startswith(_PREFIXES)
