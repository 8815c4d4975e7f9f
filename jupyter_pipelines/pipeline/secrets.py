"""Secrets: parameters of which only a reference is ever written down.

The value of such a parameter says where the secret is: ``env:NAME``, an environment variable, or ``file:PATH``, the
text of a file. That text stands in notebooks, plans and records. The secret itself is looked up where the step runs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

KINDS = ("env", "file")
MAX_BYTES = 65_536
"""Bytes; a file that is larger is something else."""

_SECRET_NAME = re.compile(
    r"(?:^|_)(?:token|passw(?:or)?d|passphrase|secret|credentials?|api_?key|(?:private|access|secret)_key)$", re.I
)


def looks_like_secret(name: str) -> bool:
    """Return whether the name of a parameter or variable says that its value is a secret."""
    return bool(_SECRET_NAME.search(name))


class Secret(str):
    """Annotation of a parameter whose value stays hidden: ``token: Secret = "env:API_TOKEN"``."""

    __slots__ = ()


class SecretNotFound(LookupError):
    """The secret that a reference points to does not exist or cannot be read.

    Parameters
    ----------
    why : str
        The cause.
    instead : str
        How to correct it.
    """

    def __init__(self, why: str, instead: str) -> None:
        super().__init__(why, instead)
        self.why = why
        self.instead = instead


def is_reference(text: object) -> bool:
    """Tell whether `text` is a reference to a secret: ``env:NAME`` or ``file:PATH``."""
    if not isinstance(text, str):
        return False
    kind, colon, location = text.partition(":")
    return bool(colon and location.strip() and kind in KINDS and "\0" not in location and "\n" not in location)


def reveal(reference: str, folder: str | Path, environment: Mapping[str, str] | None = None) -> str:
    """Return the secret that `reference` points to, without line ends at the end of a file.

    Parameters
    ----------
    reference : str
        ``env:NAME`` or ``file:PATH``.
    folder : str or Path
        The folder that relative paths are relative to.
    environment : Mapping of str to str or None
        The environment variables; those of this process by default.

    Raises
    ------
    SecretNotFound
        The variable or file does not exist, cannot be read, is too large, or is empty.
    """
    kind, _, location = reference.partition(":")
    secret = _variable(location, environment) if kind == "env" else _text(_file(location, folder))
    if not secret:
        raise SecretNotFound(f"`{reference}` is empty", "put the secret there")
    return secret


def _variable(name: str, environment: Mapping[str, str] | None) -> str:
    variables = os.environ if environment is None else environment
    if name not in variables:
        raise SecretNotFound(
            f"the environment variable `{name}` is not set", f"set `{name}` before Jupyter or the command is started"
        )
    value = variables[name]
    # Python keeps other bytes as halves of surrogate pairs, which no file or message takes.
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise SecretNotFound(f"the environment variable `{name}` is no text", f"set `{name}` to UTF-8 text")
    return value


def _file(location: str, folder: str | Path) -> Path:
    try:
        return Path(folder, Path(location).expanduser())
    except RuntimeError:
        home = Path(location).parts[0]
        raise SecretNotFound(f"the home folder `{home}` is not known", "write the whole path") from None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            # One byte more than allowed, so that a file that is too large is recognised without reading all of it.
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
