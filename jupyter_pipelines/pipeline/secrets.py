"""Secrets: parameters of which only a reference is ever written down.

The value of such a parameter says where the secret is: ``env:NAME``, an environment variable, or ``file:PATH``, the
text of a file. That text stands in notebooks, plans and records. The secret itself is looked up where the step runs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

KINDS = ("env", "file")
MAX_BYTES = 65_536
"""Bytes; a file that is larger is something else."""


class Secret(str):
    """Annotation of a parameter whose value stays hidden: ``token: Secret = "env:API_TOKEN"``."""

    __slots__ = ()


class SecretNotFound(LookupError):
    """There is no secret where a reference says.

    Parameters
    ----------
    why : str
        What is missing there.
    instead : str
        What to do.
    """

    def __init__(self, why: str, instead: str) -> None:
        super().__init__(why, instead)
        self.why = why
        self.instead = instead


def is_reference(text: object) -> bool:
    """Tell whether `text` says where a secret is."""
    if not isinstance(text, str):
        return False
    kind, colon, location = text.partition(":")
    return bool(colon and location.strip() and kind in KINDS and "\0" not in location and "\n" not in location)


def reveal(reference: str, folder: str | Path, environment: Mapping[str, str] | None = None) -> str:
    """Return the secret that `reference` leads to; line ends at the end of a file do not belong to it.

    Parameters
    ----------
    reference : str
        ``env:NAME`` or ``file:PATH``.
    folder : str or Path
        Where relative paths begin.
    environment : Mapping of str to str or None
        The environment variables; those of this process by default.

    Raises
    ------
    SecretNotFound
        There is nothing, or it is empty.
    """
    kind, _, location = reference.partition(":")
    secret = _variable(location, environment) if kind == "env" else _text(Path(folder, Path(location).expanduser()))
    if not secret:
        raise SecretNotFound(f"`{reference}` is empty", "put the secret there")
    return secret


def _variable(name: str, environment: Mapping[str, str] | None) -> str:
    variables = os.environ if environment is None else environment
    if name not in variables:
        raise SecretNotFound(
            f"the environment variable `{name}` is not set", f"set `{name}` before Jupyter or the command is started"
        )
    return variables[name]


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise SecretNotFound(
                f"the file `{path}` is too large to be a secret", "give the file that holds the secret alone"
            )
        return content.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise SecretNotFound(f"the file `{path}` is no text", "give a file of UTF-8 text") from None
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        raise SecretNotFound(f"the file `{path}` cannot be read: {why}", "put it there, or correct the path") from None
