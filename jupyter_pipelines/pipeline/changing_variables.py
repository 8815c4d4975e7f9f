"""Environment variables that differ from session to session; they count where the user's own code asks for them."""

from __future__ import annotations

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


def changes_by_itself(name: str) -> bool:
    """Tell whether a variable changes from one session to the next though no user sets it."""
    return name in _CHANGING or name.startswith(_PREFIXES)
