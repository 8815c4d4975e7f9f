"""Redact secrets in the messages, logs and notebooks of a step: in its kernel before sending, and again in its worker.

Runs inside the kernel, too, so it imports the standard library only. A secret is recognized verbatim, as a Python or
JSON literal, and URL-encoded. Code that transforms a secret otherwise (splits, hashes, encodes it) can still show it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jupyter_pipelines.errors import Diagnostic
from jupyter_pipelines.pipeline.secrets import SecretNotFound, reveal

REDACTED = "•••"
SHORTEST = 4
"""Characters; shorter texts are not redacted: they occur in half of all output, and are no secrets."""
_PIECE = 1 << 20


class SecretRedactor:
    """Replaces secrets in texts, values, notebooks and files.

    Parameters
    ----------
    secrets : iterable of str
        The texts to redact.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms: tuple[str, ...] = ()
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Redact one more text."""
        if len(secret) >= SHORTEST:
            # Longest first: replacing a form inside a longer one would leave the rest of the longer one readable.
            self._forms = tuple(sorted({*self._forms, *_forms(secret)}, key=len, reverse=True))

    def __bool__(self) -> bool:
        return bool(self._forms)

    def text(self, text: str) -> str:
        """Return `text` without the secrets."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, REDACTED)
        return text

    def value(self, value: Any) -> Any:
        """Return a JSON value with the secrets in its strings and keys redacted."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.value(name): self.value(member) for name, member in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(element) for element in value]
        return value

    def fault(self, fault: Diagnostic) -> Diagnostic:
        """Return a diagnostic with the secrets in its texts redacted."""
        if not self:
            return fault
        notes = tuple(map(self.text, fault.notes))
        return replace(fault, message=self.text(fault.message), suggestion=self.text(fault.suggestion), notes=notes)

    def cells(self, notebook: Any) -> None:
        """Redact the outputs of a notebook's cells, in place."""
        if self:
            for cell in notebook.cells:
                cell.get("outputs", [])[:] = [type(output)(self.value(output)) for output in cell.get("outputs", ())]

    def file(self, path: Path) -> None:
        """Redact a text file, in place; a log also holds the output of programs, which no kernel message carries."""
        if not self or not path.is_file() or not self.is_in(path):
            return
        # Programs print bytes of any encoding: what is not UTF-8 has to survive unchanged.
        text = path.read_text("utf-8", errors="surrogateescape")
        part = path.with_name(f".{path.name}.{os.getpid()}")
        part.write_text(self.text(text), "utf-8", errors="surrogateescape")
        part.replace(path)

    def is_in(self, path: Path) -> bool:
        """Tell whether the bytes of a file contain a secret."""
        forms = [form.encode("utf-8", "surrogateescape") for form in self._forms]
        longest = max(map(len, forms), default=1)
        tail = b""
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                window = tail + piece
                if any(form in window for form in forms):
                    return True
                # The overlap finds a secret that lies across two pieces.
                tail = window[-longest:]
        return False


def _forms(secret: str) -> set[str]:
    from urllib.parse import quote, quote_plus

    written = {repr(secret)[1:-1], json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    return {secret, *written, quote(secret, safe=""), quote_plus(secret)}


def redactor_for(references: Mapping[str, str], folder: str, environment: Mapping[str, str]) -> SecretRedactor:
    """Return a redactor for the secrets that `references` name; missing ones are left out, as they cannot be shown."""
    veil = SecretRedactor()
    for reference in references.values():
        try:
            veil.add(reveal(reference, folder, environment))
        except SecretNotFound:
            continue
    return veil


def secret_in_output(step: str, output: str) -> Diagnostic:
    """Return the diagnostic for an output that contains a secret."""
    return Diagnostic(
        code="JP511",
        message=f"the output `{output}` of step `{step}` contains a secret, and what is stored can be read by others",
        suggestion="leave the secret out of what the step makes; a step that needs it takes it as a parameter",
        step=step,
    )


# In a step's kernel

PROCESS_REDACTOR = SecretRedactor()
"""The redactor of this process."""


def redact_secret(secret: str) -> None:
    """Redact a text in all that this kernel sends from now on."""
    if not PROCESS_REDACTOR:
        _watch_messages()
    PROCESS_REDACTOR.add(secret)


def _watch_messages() -> None:
    """Redact every message of the kernel: streams, results, errors and replies."""
    module = sys.modules.get("IPython.core.getipython")
    shell = module.get_ipython() if module else None
    session = getattr(getattr(shell, "kernel", None), "session", None)
    if session is None:
        return
    send = session.send

    def veiled(stream: Any, msg_or_type: Any, content: Any = None, *more: Any, **named: Any) -> Any:
        if isinstance(msg_or_type, dict):
            msg_or_type = {**msg_or_type, "content": PROCESS_REDACTOR.value(msg_or_type.get("content", {}))}
        return send(stream, msg_or_type, PROCESS_REDACTOR.value(content), *more, **named)

    # IPython has no hook that sees all messages; every one of them is sent by this method.
    session.send = veiled
