"""Step records, their signatures, and the bytes of their files: the outputs of a step under one key."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.storage.blobs.digests import is_digest

SCHEMA = "jupyter-pipelines/record/2"
UNTRACED = "jupyter-pipelines/record/1"
"""Format of records without traces, which can still be read."""
FOLDER = "records"
MAX_TRACES = 16
"""Largest number of traces kept under one key: each costs a lookup when a step is planned."""
_KEY = re.compile(r"[0-9a-f]{64}(?:\.[0-9a-f]{32})?")
_TRACE_DIGITS = 32
_NEVER_HOLDS = ('["unwatched"', '["elsewhere"')


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSignature:
    """The signature of a record.

    Parameters
    ----------
    version : int
        Version of the signature format.
    key : str
        Id of the public key that verifies it.
    value : bytes
        The Ed25519 signature.
    """

    version: int
    key: str
    value: bytes

    def to_dict(self) -> dict[str, Any]:
        """Return the signature as it stands beside a record."""
        return {"version": self.version, "key": self.key, "value": base64.b64encode(self.value).decode()}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> RecordSignature:
        """Return the signature that :meth:`to_dict` described.

        Raises
        ------
        ValueError
            It is none.
        """
        try:
            version, key, value = document["version"], document["key"], document["value"]
            if type(version) is not int or not isinstance(key, str):
                raise ValueError("its version or its key is malformed")
            return cls(version=version, key=key, value=base64.b64decode(value, validate=True))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a signature: {error!r}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """The result of a step under one key.

    Parameters
    ----------
    key : str
        Digest over everything that the result depends on: 64 hexadecimal digits. If a record with another trace took
        its place in a shared store, ``.`` and 32 digits of a digest of its trace follow; see :func:`trace_name`.
    step : str
        Name of the step.
    notebook : str or None
        Name of its notebook.
    parts : Mapping of str to str
        The parts of the key with their digests, so that two records can be compared.
    outputs : Mapping of str to Artifact
        Outputs by name.
    run : str
        Id of the run that computed it.
    created : str
        Time of creation, ISO 8601 in UTC.
    seconds : float
        Duration.
    attempts : int
        Number of attempts.
    warnings : tuple of str
        Warnings of the run.
    trace : Mapping of str to str or None
        Observed queries of the step to files and the environment, with the answers; see
        :mod:`jupyter_pipelines.planning.keys.traces`. None in records that are older than traces.
    asked : tuple of tuple of str
        The queries of earlier results under the same key; those results are stored under keys over their answers.
    changed : tuple of str
        Inputs that the step modified in place, of those that share objects with other inputs.
    appended : tuple of str
        Files that the step only appended to, as traces name them.
    folders : Mapping of str to Mapping of str to str
        Files of its input folders, by input: a short digest for each path. Large folders are left out.
    urls : Mapping of str to Mapping of str to str
        What was under its input URLs, by input: ``url`` without what it hides, ``digest``, ``etag``, ``modified``,
        ``size``, ``location``, a digest of the address to which its server redirects, and ``checked``, the time at
        which its server confirmed it.
    signature : RecordSignature or None
        Signature of the user who computed it; stored beside the document of the record, and ignored in comparisons.
    """

    key: str
    step: str
    notebook: str | None
    parts: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, Artifact] = field(default_factory=dict)
    run: str
    created: str
    seconds: float
    attempts: int = 1
    warnings: tuple[str, ...] = ()
    trace: Mapping[str, str] | None = field(default_factory=dict)
    asked: tuple[tuple[str, ...], ...] = ()
    changed: tuple[str, ...] = ()
    appended: tuple[str, ...] = ()
    folders: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    urls: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    signature: RecordSignature | None = field(default=None, compare=False)

    @property
    def step_key(self) -> str:
        """The key of the step, without the digest of the trace."""
        return self.key.partition(".")[0]

    @property
    def is_complete(self) -> bool:
        """Whether its trace may hold again: everything that the step read was watched."""
        return self.trace is not None and not any(text.startswith(_NEVER_HOLDS) for text in self.trace)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as a document, which is the same under each of its names: its signature stays valid."""
        traced = (
            {}
            if self.trace is None
            else {"trace": dict(self.trace), "asked": [list(questions) for questions in self.asked]}
        )
        return {
            "schema": UNTRACED if self.trace is None else SCHEMA,
            "key": self.step_key,
            "step": self.step,
            "notebook": self.notebook,
            "parts": dict(self.parts),
            "outputs": {name: artifact.to_dict() for name, artifact in self.outputs.items()},
            "run": self.run,
            "created": self.created,
            "seconds": self.seconds,
            "attempts": self.attempts,
            "warnings": list(self.warnings),
            **traced,
            # Optional fields are absent when empty: checksums and signatures of older records, which lack them, stay
            # valid.
            **({"changed": list(self.changed)} if self.changed else {}),
            **({"appended": list(self.appended)} if self.appended else {}),
            **({"folders": {name: dict(files) for name, files in self.folders.items()}} if self.folders else {}),
            **({"urls": {name: dict(content) for name, content in self.urls.items()}} if self.urls else {}),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> StepRecord:
        """Return the record that :meth:`to_dict` described.

        Raises
        ------
        ValueError
            `document` is not a record of this format.
        """
        try:
            return _parse_record(cls, document)
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"not a record: {error!r}") from error


def _parse_record(cls: type[StepRecord], document: Mapping[str, Any]) -> StepRecord:
    if document["schema"] not in (SCHEMA, UNTRACED):
        raise ValueError(f"its format is {document['schema']!r}, not {SCHEMA!r}")
    outputs = {str(name): Artifact.from_dict(output) for name, output in document["outputs"].items()}
    if not is_key(document["key"]) or not all(is_digest(artifact.digest) for artifact in outputs.values()):
        raise ValueError("its key or a digest is malformed")
    return cls(
        key=document["key"],
        step=str(document["step"]),
        notebook=None if document["notebook"] is None else str(document["notebook"]),
        parts=_texts(document["parts"]),
        outputs=outputs,
        run=str(document["run"]),
        created=str(document["created"]),
        seconds=float(document["seconds"]),
        attempts=int(document["attempts"]),
        warnings=tuple(str(warning) for warning in document["warnings"]),
        trace=None if document["schema"] == UNTRACED else _texts(document["trace"]),
        asked=tuple(tuple(map(str, questions)) for questions in document.get("asked", ())),
        changed=tuple(map(str, document.get("changed", ()))),
        appended=tuple(map(str, document.get("appended", ()))),
        folders={str(name): _texts(files) for name, files in document.get("folders", {}).items()},
        urls={str(name): _texts(content) for name, content in document.get("urls", {}).items()},
    )


def _texts(mapping: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(text) for name, text in mapping.items()}


def is_key(text: object) -> bool:
    """Tell whether `text` is the key of a step."""
    return isinstance(text, str) and _KEY.fullmatch(text) is not None


def traced_key(key: str, trace: Mapping[str, str]) -> str:
    """Return the key of a step whose questions have these answers: 64 hexadecimal digits."""
    document = json.dumps({"key": key, "trace": dict(trace)}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(document.encode("ascii")).hexdigest()


def trace_name(record: StepRecord) -> str:
    """Return the key under which a record is kept beside records of the same step key with other traces."""
    return f"{record.step_key}.{traced_key(record.step_key, record.trace or {})[:_TRACE_DIGITS]}"


def is_another_trace(record: StepRecord, newer: StepRecord) -> bool:
    """Tell whether the trace of a record may hold where that of a newer record of its key does not."""
    return record.key == newer.step_key and record.is_complete and record.trace != newer.trace


def stored_as(record: StepRecord, key: str) -> StepRecord:
    """Return the record of a document that is stored under `key`.

    Raises
    ------
    ValueError
        Neither the key in the document nor its trace leads to this place.
    """
    # A record copied to the path of another key would otherwise be reused for the wrong inputs. The name is computed
    # again from the content, as the signature covers the content only.
    if key not in (record.key, trace_name(record)):
        raise ValueError("it is the record of another key")
    return replace(record, key=key)


def trace_names(key: str, names: Iterable[str]) -> list[str]:
    """Return those keys of records in the names of files that differ from `key` by their trace only."""
    candidates = (name.rpartition("/")[2].removesuffix(".json") for name in names if name.endswith(".json"))
    return [candidate for candidate in candidates if candidate.startswith(f"{key}.") and is_key(candidate)]


def path_of(key: str) -> str:
    """Return where the record of `key` is, relative to the store."""
    if not is_key(key):
        raise ValueError(f"not a key: {key!r}")
    return f"{FOLDER}/{key[:2]}/{key}.json"


def encode(record: StepRecord) -> bytes:
    """Return the bytes of a record's file: its checksum, then the record, then the signature if it has one."""
    document = record.to_dict()
    envelope: dict[str, Any] = {"sha256": checksum_of(document), "record": document}
    if record.signature is not None:
        envelope["signature"] = record.signature.to_dict()
    return json.dumps(envelope, indent=1).encode()


def decode(content: bytes, key: str) -> StepRecord:
    """Return the record in `content`.

    Raises
    ------
    ValueError
        It is damaged, of another format, or the record of another key.
    """
    document = json.loads(content)
    if not isinstance(document, dict) or not isinstance(document.get("record"), dict):
        raise ValueError("it is not a record")
    if document.get("sha256") != checksum_of(document["record"]):
        raise ValueError("its checksum does not fit")
    record = stored_as(StepRecord.from_dict(document["record"]), key)
    signature = document.get("signature")
    return record if signature is None else replace(record, signature=RecordSignature.from_dict(signature))


def checksum_of(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 checksum of a record's document, by which damage to its file is detected."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
