"""The keys of a user: their own key to sign with, the public keys that they trust, the secret key of their team.

Keys never lie in a project or a store. The folder is private (0700), and so are the files in it (0600). A key that
other users could have read is not used for signing, and a list of trusted keys that they could have changed is refused.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_pipelines.errors import Diagnostic, StoreError, shell_path, shell_word
from jupyter_pipelines.storage.files.local_folder import create, flush_files, make_folder, remove, sync_folder

VARIABLE = "JUPYTER_PIPELINES_KEYS"
SCHEMA = "jupyter-pipelines/key/1"
OWN = "own.key"
TEAM = "team"
"""Begin of the ids of keys that a team shares, and their name in lists."""
_TEAM_FILE = f"{TEAM}.key"
OWN_KEY_NAME = "you"
"""Name of the user's own key in lists; no other key can have it."""
_TRUSTED = "trusted"
_SUFFIX = ".pub"
_KEY_BYTES = 32
_ID_DIGITS = 32
_SECRET_ID_DIGITS = 16
_OTHERS_MAY_ACCESS = 0o077
_MAX_FILE_BYTES = 10_000
_PREFIX = "ed25519:"
_TEAM_PREFIX = f"{TEAM}:"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PROJECTS = (".git", "pyproject.toml")
_STORES = ("format.json", "records")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """The public half of a key, which verifies signatures.

    Parameters
    ----------
    raw : bytes
        The 32 bytes of an Ed25519 key.
    """

    raw: bytes

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Return the key from the text of :meth:`__str__`; further words in its line are a remark.

        Raises
        ------
        ValueError
            `text` is no key.
        """
        return cls(raw=_key_bytes(text, _PREFIX))

    @property
    def id(self) -> str:
        """Identifier of the key: 32 hexadecimal digits of a SHA-256 digest."""
        return hashlib.sha256(b"jupyter-pipelines/key/1\0" + self.raw).hexdigest()[:_ID_DIGITS]

    def __str__(self) -> str:
        return _PREFIX + base64.b64encode(self.raw).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """The key that a user signs with.

    Parameters
    ----------
    public : PublicKey
        The public half, which verifies signatures.
    secret : bytes
        The private half; no other user may read it.
    """

    public: PublicKey
    secret: bytes

    # The generated repr of a dataclass would put the secret into logs and tracebacks.
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.public})"


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamKey:
    """A secret that the users of a shared store have in common: it makes the digests of environment variables.

    Parameters
    ----------
    raw : bytes
        Its 32 bytes; no user outside the team may read them.
    """

    raw: bytes

    @classmethod
    def new(cls) -> TeamKey:
        """Return a random key."""
        return cls(raw=secrets.token_bytes(_KEY_BYTES))

    @classmethod
    def parse(cls, text: str) -> TeamKey:
        """Return the key from its line; further words in the line are a remark.

        Raises
        ------
        ValueError
            `text` is no key.
        """
        return cls(raw=_key_bytes(text, _TEAM_PREFIX))

    @property
    def id(self) -> str:
        """Identifier of the key: ``team-`` and 16 hexadecimal digits of a SHA-256 digest."""
        return f"{TEAM}-{secret_id(self.raw)}"

    @property
    def line(self) -> str:
        """The secret as a line of text, to give to the other members of the team."""
        return _TEAM_PREFIX + base64.b64encode(self.raw).decode()

    # The generated repr of a dataclass would put the secret into logs and tracebacks.
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id})"


class UserKeyring:
    """The keys in a folder.

    Parameters
    ----------
    folder : Path
        The folder; it is created with the first key.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of_user(cls) -> UserKeyring:
        """Return the keys of the user, in ``JUPYTER_PIPELINES_KEYS`` or the user's configuration folder."""
        configured = os.environ.get(VARIABLE)
        return cls(Path(os.path.abspath(os.path.expanduser(configured))) if configured else _settings() / "keys")

    def has_own(self) -> bool:
        """Tell whether there is a key to sign with, even if it cannot be used."""
        return os.path.lexists(self.folder / OWN)

    def own(self) -> SigningKey | None:
        """Return the key to sign with; None if there is none.

        Raises
        ------
        StoreError
            It cannot be used: others could have read it, it lies in a project, or it is damaged (JP412).
        """
        if not self.has_own():
            return None
        self._check_folder()
        path = self.folder / OWN
        try:
            return _parse_signing_key(json.loads(self._read(path)))
        except (ValueError, KeyError, TypeError) as error:
            raise unusable_key(
                path, f"it is damaged: {error}", "make another one: `jupyter pipelines keys new`"
            ) from error

    def trusted(self) -> dict[str, PublicKey]:
        """Return the keys of others, by the names that the user gave them.

        Raises
        ------
        StoreError
            Others could have written to the list, or it is damaged (JP412).
        """
        if not os.path.isdir(self.folder / _TRUSTED):
            return {}
        self._check_folder()
        _check_closed(self.folder / _TRUSTED, "other users can write to the list of trusted keys")
        return {name: self._trusted_key(name) for name in self._names()}

    def verification_keys(self) -> dict[str, PublicKey]:
        """Return all trusted keys, the user's own first.

        Raises
        ------
        StoreError
            A key cannot be used (JP412).
        """
        own = self.own()
        return ({OWN_KEY_NAME: own.public} if own else {}) | self.trusted()

    def team(self) -> tuple[TeamKey, ...]:
        """Return the keys of teams; the first makes digests, the others only check digests of earlier results.

        Raises
        ------
        StoreError
            They cannot be used: other users could have read them, or they are damaged (JP412).
        """
        path = self.folder / _TEAM_FILE
        if not os.path.lexists(path):
            return ()
        self._check_folder()
        try:
            return tuple(TeamKey.parse(line) for line in self._read(path).splitlines())
        except ValueError as error:
            suggestion = f"remove it, and take the key from a colleague: `rm {shell_path(str(path))}`"
            raise unusable_key(path, f"it is damaged: {error}", suggestion) from error

    def join(self, key: TeamKey) -> None:
        """Make the digests of environment variables with `key` from now on; earlier keys are kept to check digests.

        Raises
        ------
        StoreError
            The folder lies in a project or a store, or is open to others (JP412), or cannot be written (JP402).
        """
        keys = dict.fromkeys([key, *self.team()])
        self._write(self.folder / _TEAM_FILE, "".join(f"{each.line}\n" for each in keys))

    def is_own(self, key: str) -> bool:
        """Tell whether `key` is the id of the key that the user signs with.

        Raises
        ------
        StoreError
            The user's key cannot be used (JP412).
        """
        own = self.own()
        return own is not None and own.public.id == key

    def keep(self, key: SigningKey) -> None:
        """Store the user's signing key; an existing key is never replaced.

        Raises
        ------
        FileExistsError
            There is a key already.
        StoreError
            The folder lies in a project or a store, or is open to others (JP412), or cannot be written (JP402).
        """
        document = {"schema": SCHEMA, "public": str(key.public), "private": base64.b64encode(key.secret).decode()}
        self._write(self.folder / OWN, json.dumps(document, indent=1) + "\n", exclusive=True)

    def trust(self, name: str, key: PublicKey) -> None:
        """Add `key` to the trusted keys.

        Raises
        ------
        ValueError
            It cannot have this name.
        StoreError
            The folder lies in a project or a store, or is open to others (JP412), or cannot be written (JP402).
        """
        if not _NAME.fullmatch(name) or name == OWN_KEY_NAME:
            raise ValueError(f"`{name}` cannot be the name of a key")
        self._write(self.folder / _TRUSTED / f"{name}{_SUFFIX}", f"{key} {name}\n")

    def distrust(self, name: str) -> bool:
        """Remove the key called `name` from the trusted keys; return False if there is none.

        Raises
        ------
        OSError
            It cannot be removed.
        """
        if not _NAME.fullmatch(name):
            return False
        try:
            os.unlink(self.folder / _TRUSTED / f"{name}{_SUFFIX}")
        except FileNotFoundError:
            return False
        return True

    def _names(self) -> Iterator[str]:
        names = (name.removesuffix(_SUFFIX) for name in sorted(os.listdir(self.folder / _TRUSTED)) if _is_key(name))
        return (name for name in names if _NAME.fullmatch(name))

    def _trusted_key(self, name: str) -> PublicKey:
        path = self.folder / _TRUSTED / f"{name}{_SUFFIX}"
        try:
            return PublicKey.parse(self._read(path))
        except ValueError as error:
            suggestion = f"take it out and put it in again: `jupyter pipelines keys distrust {shell_word(name)}`"
            raise unusable_key(path, f"it is damaged: {error}", suggestion) from error

    def _read(self, path: Path) -> str:
        """Return the text of a file that no other user can have read or written."""
        try:
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        except OSError as error:
            why = f"it cannot be read: {(error.strerror or str(error)).lower()}"
            raise unusable_key(path, why, f"make it readable for you alone: {_chmod(600, path)}") from error
        with os.fdopen(handle, "rb") as file:
            # On the open handle: a check by path could pass for one file and the reading see another.
            _check_status(path, os.fstat(handle), "other users can read or write it")
            return file.read(_MAX_FILE_BYTES).decode("utf-8", "replace")

    def _check_folder(self) -> None:
        """Refuse a folder that other users can read or write, or that could be shared with a project."""
        project = _project_around(self.folder)
        if project:
            raise unusable_key(
                self.folder,
                f"it lies inside `{project}`, which is a project or a store: it would be shared with it",
                f"keep keys elsewhere: unset {VARIABLE}, or name a folder outside of every project",
            )
        if os.path.lexists(self.folder):
            _check_closed(self.folder, "other users can read or write the folder")

    def _write(self, path: Path, text: str, *, exclusive: bool = False) -> None:
        """Write a file atomically; if `exclusive`, raise FileExistsError if it exists."""
        self._check_folder()
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            make_folder(path.parent)
            _check_closed(path.parent, "other users can read or write the folder")
            with create(temporary) as file:
                file.write(text.encode())
            flush_files([temporary], 0o600)
            if exclusive:
                # link fails if the name exists, where rename would replace the key of a process that was faster.
                path.hardlink_to(temporary)
            else:
                os.replace(temporary, path)
            sync_folder(path.parent)
        except FileExistsError:
            raise
        except OSError as error:
            raise StoreError(_unwritable(path, error)) from error
        finally:
            with contextlib.suppress(OSError):
                remove(temporary)


def secret_id(key: bytes) -> str:
    """Return an identifier of a secret key, from which the key cannot be guessed: it is random."""
    return hashlib.sha256(b"jupyter-pipelines/secret-key/1\0" + key).hexdigest()[:_SECRET_ID_DIGITS]


def _key_bytes(text: str, prefix: str) -> bytes:
    word = text.split(maxsplit=1)[0] if text.strip() else ""
    if not word.startswith(prefix):
        raise ValueError(f"it does not begin with `{prefix}`")
    raw = base64.b64decode(word.removeprefix(prefix), validate=True)
    if len(raw) != _KEY_BYTES:
        raise ValueError(f"it has {len(raw)} bytes, not {_KEY_BYTES}")
    return raw


def _parse_signing_key(document: Mapping[str, Any]) -> SigningKey:
    secret = base64.b64decode(document["private"], validate=True)
    if document["schema"] != SCHEMA or len(secret) != _KEY_BYTES:
        raise ValueError("it is of another format")
    return SigningKey(public=PublicKey.parse(document["public"]), secret=secret)


def unusable_key(path: Path, why: str, suggestion: str) -> StoreError:
    """Return the error to raise for a key that must not be used."""
    return StoreError(
        Diagnostic(code="JP412", message=f"the key `{path}` cannot be used: {why}", suggestion=suggestion)
    )


def missing_key_error(keyring: UserKeyring) -> StoreError:
    """Return the error to raise when something is to be signed or shared, and there is no key."""
    return StoreError(
        Diagnostic(
            code="JP412",
            message=f"there is no key of yours to sign with in `{keyring.folder}`",
            suggestion="make one: `jupyter pipelines keys new`",
        )
    )


def _check_closed(path: Path, why: str) -> None:
    try:
        status = path.stat()
    except OSError as error:
        reason = f"it cannot be read: {(error.strerror or str(error)).lower()}"
        raise unusable_key(path, reason, f"make it readable for you alone: {_chmod(700, path)}") from error
    _check_status(path, status, why)


def _check_status(path: Path, status: os.stat_result, why: str) -> None:
    if not hasattr(os, "geteuid"):
        return
    if status.st_uid != os.geteuid():
        owner = f"its owner has the uid {status.st_uid}, you have {os.geteuid()}"
        raise unusable_key(path, owner, f"use keys of your own: set {VARIABLE} to a folder of yours")
    if status.st_mode & _OTHERS_MAY_ACCESS:
        mode = 700 if stat.S_ISDIR(status.st_mode) else 600
        advice = "" if stat.S_ISDIR(status.st_mode) else ", and make a new key if another user may have read it"
        raise unusable_key(path, f"{why} (mode {stat.S_IMODE(status.st_mode):o})", f"{_chmod(mode, path)}{advice}")


def _chmod(mode: int, path: Path) -> str:
    return f"`chmod {mode} {shell_path(str(path))}`"


def _project_around(folder: Path) -> Path | None:
    """Return the project or store that a folder lies in."""
    real = Path(os.path.realpath(folder))
    return next((directory for directory in (real, *real.parents) if _is_project(directory)), None)


def _is_project(folder: Path) -> bool:
    is_store = all(os.path.lexists(folder / name) for name in _STORES)
    return is_store or any(os.path.lexists(folder / name) for name in _PROJECTS)


def _is_key(name: str) -> bool:
    return name.endswith(_SUFFIX) and not name.startswith(".")


def _settings() -> Path:
    configured = os.environ.get("APPDATA") if os.name == "nt" else os.environ.get("XDG_CONFIG_HOME")
    if configured and os.path.isabs(configured):
        return Path(configured, "jupyter-pipelines")
    return Path(os.path.expanduser("~"), ".config", "jupyter-pipelines")


def _unwritable(path: Path, error: OSError) -> Diagnostic:
    return Diagnostic(
        code="JP402",
        message=f"the key `{path}` cannot be written: {(error.strerror or str(error)).lower()}",
        suggestion=f"make the folder writable for you, or name another one in {VARIABLE}",
    )
