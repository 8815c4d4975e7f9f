"""The keys of the user, for the `keys` commands; they need no notebook and no store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jupyter_pipelines.errors import Diagnostic, PlanError, closest_name
from jupyter_pipelines.storage.signing.keyring import (
    OWN_KEY_NAME,
    TEAM,
    PublicKey,
    TeamKey,
    UserKeyring,
    missing_key_error,
    unusable_key,
)
from jupyter_pipelines.storage.signing.signatures import make_key

# Characters. A public key has fewer than 100, but any file may be given.
_LARGEST = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownKey:
    """A key that the user has or trusts.

    Parameters
    ----------
    name : str
        What the user calls it; ``you`` is their own, ``team`` a secret that the user shares with others.
    id : str
        Its id in signatures or traces.
    text : str
        The key itself, to give to others; empty for secrets in lists.
    """

    name: str
    id: str
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Return the key as a document."""
        return {"name": self.name, "id": self.id, "key": self.text}


def folder() -> Path:
    """Return where the keys are."""
    return UserKeyring.of_user().folder


def known() -> tuple[KnownKey, ...]:
    """Return the user's own key, if there is one, the keys that the user trusts, and those of teams without secrets.

    Raises
    ------
    StoreError
        A key cannot be used (JP412).
    """
    keyring = UserKeyring.of_user()
    public = [_known(name, key) for name, key in keyring.verification_keys().items()]
    return (*public, *(replace(_known_team(key), text="") for key in keyring.team()))


def new() -> KnownKey:
    """Make the key that the user signs with.

    Raises
    ------
    StoreError
        The package `cryptography` is missing (JP411), there is a key already or none can be kept there (JP412), or the
        folder cannot be written (JP402).
    """
    keyring = UserKeyring.of_user()
    try:
        keyring.keep(own := make_key())
    # A key is never overwritten: results that it has signed would not be trusted any longer.
    except FileExistsError as error:
        instead = "use it, or move the file away first: results that it has signed are not trusted then"
        raise unusable_key(keyring.folder / "own.key", "there is a key already", instead) from error
    return _known(OWN_KEY_NAME, own.public)


def show() -> KnownKey:
    """Return the public half of the user's own key.

    Raises
    ------
    StoreError
        There is none, or it cannot be used (JP412).
    """
    keyring = UserKeyring.of_user()
    own = keyring.own()
    if own is None:
        raise missing_key_error(keyring)
    return _known(OWN_KEY_NAME, own.public)


def trust(name: str, text: str) -> KnownKey:
    """Add a public key to those whose signatures are accepted.

    Parameters
    ----------
    name : str
        What to call it.
    text : str
        The key, as `keys show` prints it, or a file that holds it.

    Raises
    ------
    PlanError
        It is no key, or cannot have this name (JP604).
    StoreError
        The list of keys cannot be used (JP412) or written (JP402).
    """
    try:
        key = PublicKey.parse(_text(text))
        UserKeyring.of_user().trust(name, key)
    except (ValueError, OSError) as error:
        raise PlanError(_untrusted_key_fault(name, text, error)) from error
    return _known(name, key)


def distrust(name: str) -> None:
    """Remove the key called `name` from those whose signatures are accepted.

    Raises
    ------
    PlanError
        There is no such key (JP604).
    StoreError
        The list of keys cannot be used (JP412).
    """
    keyring = UserKeyring.of_user()
    names = list(keyring.trusted())
    if not keyring.distrust(name):
        near = closest_name(name, names)
        instead = f"write `{near}`" if near else f"use one of: {', '.join(names) or 'none yet'}"
        raise PlanError(Diagnostic(code="JP604", message=f"no key called `{name}` is trusted", suggestion=instead))


def share(*, renew: bool = False) -> KnownKey:
    """Return the secret key of the user's team, and make it if there is none.

    Parameters
    ----------
    renew : bool
        Make another one in any case; the earlier ones are kept to check earlier results.

    Raises
    ------
    StoreError
        It cannot be used or kept (JP412), or the folder cannot be written (JP402).
    """
    keyring = UserKeyring.of_user()
    if renew or not keyring.team():
        keyring.join(TeamKey.new())
    return _known_team(keyring.team()[0])


def join(text: str) -> KnownKey:
    """Take over the secret key of a team.

    Parameters
    ----------
    text : str
        The key, as `keys share` prints it, or a file that holds it.

    Raises
    ------
    PlanError
        It is no key (JP604).
    StoreError
        It cannot be kept there (JP412), or the folder cannot be written (JP402).
    """
    try:
        key = TeamKey.parse(_text(text))
    except (ValueError, OSError) as error:
        raise PlanError(_no_team_key_fault(error)) from error
    UserKeyring.of_user().join(key)
    return _known_team(key)


def _known_team(key: TeamKey) -> KnownKey:
    return KnownKey(name=TEAM, id=key.id, text=key.line)


def _known(name: str, key: PublicKey) -> KnownKey:
    return KnownKey(name=name, id=key.id, text=str(key))


def _text(text: str) -> str:
    if text.startswith(("ed25519:", "team:")):
        return text
    # A binary file is to be refused as no key, not because of its encoding.
    with Path(text).open(encoding="utf-8", errors="replace") as file:
        return file.read(_LARGEST)


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)


def _no_team_key_fault(error: Exception) -> Diagnostic:
    # What was given may be a mistyped secret: it is not repeated.
    return Diagnostic(
        code="JP604",
        message=f"the key of the team cannot be used: {_reason(error)}",
        suggestion="give what `jupyter pipelines keys share` prints for a colleague, or a file with it",
    )


def _untrusted_key_fault(name: str, text: str, error: Exception) -> Diagnostic:
    return Diagnostic(
        code="JP604",
        message=f"the key `{name}` cannot be trusted: {_reason(error)}",
        suggestion="give what `jupyter pipelines keys show` prints for the other user, or a file with it",
        notes=(f"given: {text[:80]}",),
    )
