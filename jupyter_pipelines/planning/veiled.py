"""Secrets in keys: another secret makes another key, and no key reveals the secret."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jupyter_pipelines.errors import Fault
from jupyter_pipelines.notebook.keeping import folder as cache_folder
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.parameters import Parameter
from jupyter_pipelines.pipeline.secrets import NoSecret, is_reference, reveal

FILE = "secrets.key"
_BYTES = 32


def marked(pipeline: Pipeline, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` with a mark in place of each secret's reference: equal for equal secrets of this user.

    The mark is an HMAC under a key that lies in the user's own cache folder and nowhere near a project or a store, so
    that a mark in a record cannot be tried out by readers of the record.
    """
    return {**values, **dict(_marks(pipeline, values))}


def faults_of_secrets(pipeline: Pipeline, values: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield a fault for every secret that is not where its reference says."""
    for parameter in pipeline.parameters:
        reference = values.get(parameter.name)
        if parameter.kind == "secret" and is_reference(reference):
            try:
                reveal(str(reference), pipeline.folder)
            except NoSecret as error:
                yield _missing(parameter, error)


def _marks(pipeline: Pipeline, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for parameter in pipeline.parameters:
        reference = values.get(parameter.name)
        if parameter.kind == "secret" and reference is not None:
            yield parameter.name, _mark(reference, pipeline.folder)


def _mark(reference: str, folder: Path) -> str:
    try:
        secret = reveal(reference, folder)
    except NoSecret:  # it has gone since it was checked: equal to nothing
        return f"secret {secrets.token_hex(8)}"
    return f"secret {hmac.new(_key(), secret.encode(), hashlib.sha256).hexdigest()[:16]}"


@cache
def _key() -> bytes:
    """Return the user's key; where it cannot be kept, a key for this process: no other process reuses its results."""
    with contextlib.suppress(OSError, RuntimeError):
        return _kept(cache_folder() / FILE)
    return secrets.token_bytes(_BYTES)


def _kept(path: Path) -> bytes:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.urandom(8).hex()}")
    if not path.exists():
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(secrets.token_bytes(_BYTES))
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(temporary)  # the first of several processes wins
        temporary.unlink()
    status = path.lstat()
    mine = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    if not stat.S_ISREG(status.st_mode) or not mine or (os.name == "posix" and status.st_mode & 0o077):
        raise PermissionError(f"{path} can be read by others")
    secret_key = path.read_bytes()
    if len(secret_key) != _BYTES:
        raise OSError(f"{path} is damaged")
    return secret_key


def _missing(parameter: Parameter, error: NoSecret) -> Fault:
    return Fault(
        code="JP510",
        message=f"the secret `{parameter.name}` cannot be had: {error.why}",
        suggestion=f"{error.instead}, or say where it is: `-p {parameter.name}=env:NAME` or `=file:PATH`",
        place=parameter.place,
        label="declared here",
    )
