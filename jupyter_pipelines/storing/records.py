"""Step records: the outputs of a step under one key. One small file each; the files are the source of truth."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.pipeline.data import Artifact
from jupyter_pipelines.storing import disks
from jupyter_pipelines.storing.digests import Mark, is_digest
from jupyter_pipelines.storing.faults import is_passing, unreadable
from jupyter_pipelines.storing.signing import Signature, signed

if TYPE_CHECKING:
    from jupyter_pipelines.storing.door import Folder
    from jupyter_pipelines.storing.index import Index

SCHEMA = "jupyter-pipelines/record/1"
FOLDER = "records"
_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """The result of a step under one key.

    Parameters
    ----------
    key : str
        Digest over everything that the result depends on: 64 hexadecimal digits.
    step : str
        Name of the step.
    notebook : str or None
        The notebook it stood in.
    parts : Mapping of str to str
        What the key was made of, kept apart, so that two records can be compared.
    outputs : Mapping of str to Artifact
        What it made.
    run : str
        The run that computed it.
    created : str
        When, ISO 8601 in UTC.
    seconds : float
        How long it took.
    attempts : int
        How many attempts it needed.
    warnings : tuple of str
        Warnings of the run.
    signature : Signature or None
        Signature of the user who computed it; stands beside the document of the record, and does not count when records
        are compared.
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
    signature: Signature | None = field(default=None, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as a document."""
        return {
            "schema": SCHEMA,
            "key": self.key,
            "step": self.step,
            "notebook": self.notebook,
            "parts": dict(self.parts),
            "outputs": {name: artifact.to_dict() for name, artifact in self.outputs.items()},
            "run": self.run,
            "created": self.created,
            "seconds": self.seconds,
            "attempts": self.attempts,
            "warnings": list(self.warnings),
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
            return _read(cls, document)
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"not a record: {error!r}") from error


def _read(cls: type[StepRecord], document: Mapping[str, Any]) -> StepRecord:
    if document["schema"] != SCHEMA:
        raise ValueError(f"its format is {document['schema']!r}, not {SCHEMA!r}")
    outputs = {str(name): Artifact.from_dict(output) for name, output in document["outputs"].items()}
    if not is_key(document["key"]) or not all(is_digest(artifact.digest) for artifact in outputs.values()):
        raise ValueError("its key or a digest is malformed")
    return cls(
        key=document["key"],
        step=str(document["step"]),
        notebook=None if document["notebook"] is None else str(document["notebook"]),
        parts={str(name): str(part) for name, part in document["parts"].items()},
        outputs=outputs,
        run=str(document["run"]),
        created=str(document["created"]),
        seconds=float(document["seconds"]),
        attempts=int(document["attempts"]),
        warnings=tuple(str(warning) for warning in document["warnings"]),
    )


def is_key(text: object) -> bool:
    """Tell whether `text` is the key of a step."""
    return isinstance(text, str) and _KEY.fullmatch(text) is not None


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
    record = StepRecord.from_dict(document["record"])
    if record.key != key:
        raise ValueError("it is the record of another key")
    signature = document.get("signature")
    return record if signature is None else replace(record, signature=Signature.from_dict(signature))


def checksum_of(document: Mapping[str, Any]) -> str:
    """Return what stands before a record in its file, so that damage is seen."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class Records:
    """The records of a store.

    Parameters
    ----------
    door : Folder
        Where the store lives.
    index : Index
        Finds records by step; what it says is checked against the files.
    """

    def __init__(self, door: Folder, index: Index) -> None:
        self._door = door
        self._index = index
        self._spoilt: set[str] = set()

    def get(self, key: str) -> StepRecord | None:
        """Return the record of `key`; a damaged or foreign file is quarantined and counts as a miss."""
        try:
            return self.read(key)
        except StoreError:
            return None

    def read(self, key: str) -> StepRecord | None:
        """Return the record of `key`; a file that cannot be read at the moment is an error, not a miss.

        Raises
        ------
        StoreError
            There is a file, and it cannot be read at the moment (JP401).
        """
        path = path_of(key)
        try:
            return decode(self._door.read(path), key)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            if isinstance(error, OSError) and (is_passing(error) or error.errno == errno.EIO):
                raise unreadable(error, self._door.root, f"`{path}`") from error
            self._door.set_aside(path, str(error))
            self._spoilt.add(key)
            return None

    def was_damaged(self, key: str) -> bool:
        """Tell whether a damaged record of `key` was quarantined here, and none was stored since."""
        return key in self._spoilt

    def refusal(self, key: str) -> str:  # noqa: ARG002
        """Return why a record of `key` that is there is not used; empty if there is none, or it is used."""
        return ""

    def get_many(self, keys: Iterable[str]) -> dict[str, StepRecord]:
        """Return the records of those of `keys` that have one; unchanged files are not read twice."""
        places = {key: f"{self._door.root}/{path_of(key)}" for key in keys}
        seen = self._door.marks(places.values())
        marks = {key: seen[place] for key, place in places.items() if place in seen}
        records = {}
        for key, text in self._index.kept_records(marks).items():
            with contextlib.suppress(ValueError):
                records[key] = StepRecord.from_dict(json.loads(text))
        records |= self._read_all({key: mark for key, mark in marks.items() if key not in records})
        return {key: records[key] for key in places if key in records}

    def _read_all(self, marks: Mapping[str, Mark]) -> dict[str, StepRecord]:
        """Read the files of records, and cache in the index those whose marks are settled."""
        if not marks:
            return {}
        cutoff = disks.horizon(self._door.device())
        records = {key: record for key in marks if (record := self.get(key)) is not None}
        self._index.keep_records((record, marks[key]) for key, record in records.items() if marks[key].settled(cutoff))
        return records

    def put(self, record: StepRecord, *, settled: bool = True) -> None:
        """Store a record, signed if the user has a key; every blob it names must have been put before.

        Parameters
        ----------
        record : StepRecord
            What to store.
        settled : bool
            Wait until it outlasts a power cut; otherwise :meth:`Store.settle` does. A record whose name survives a
            power cut while that of a blob does not is a miss, never a wrong result: the bytes of both are on the disk
            before they have names.

        Raises
        ------
        StoreError
            The store is full (JP403) or cannot be written (JP402), or the user's key cannot be used (JP412).
        """
        record = signed(record)
        self._door.write(path_of(record.key), encode(record), named=settled)
        self._spoilt.discard(record.key)
        mark = self._door.mark(f"{self._door.root}/{path_of(record.key)}")
        if mark is not None and mark.settled(disks.horizon(self._door.device())):
            self._index.keep_records([(record, mark)])
        else:
            self._index.add_record(record)

    def forget(self, key: str) -> None:
        """Remove the record of `key`, if there is one."""
        self._door.rm(path_of(key))
        self._index.drop_record(key)

    def latest(self, step: str, notebook: str | None = None) -> StepRecord | None:
        """Return the newest record of `step`, of any notebook when none is given."""
        return next(iter(self._found(step, notebook)), None)

    def latest_many(self, steps: Iterable[str], notebook: str | None = None) -> dict[str, StepRecord]:
        """Return, by its name, the newest record of each step that has one; see :meth:`latest`."""
        self._index.catch_up(self._door, self.get)
        keys = self._index.latest_keys(list(dict.fromkeys(steps)), notebook)
        records = self.get_many(keys.values())
        newest = {step: records[key] for step, key in keys.items() if key in records and records[key].step == step}
        # The index is only a hint: where it was wrong, the long way is taken.
        newest |= {
            step: record for step in keys if step not in newest and (record := self.latest(step, notebook)) is not None
        }
        return newest

    def for_step(self, step: str, notebook: str | None = None) -> tuple[StepRecord, ...]:
        """Return the records of `step`, newest first."""
        return tuple(self._found(step, notebook))

    def all_keys(self) -> tuple[str, ...]:
        """Return the key of every record there is."""
        return self._keys(self._door.ls)

    def every_key(self) -> tuple[str, ...]:
        """Return the key of every record, for callers that remove what no record names.

        Raises
        ------
        StoreError
            A folder cannot be read (JP401).
        """
        return self._keys(self._door.names)

    def _keys(self, names_in: Callable[[str], list[str]]) -> tuple[str, ...]:
        names = [name for shelf in names_in(FOLDER) for name in names_in(f"{FOLDER}/{shelf}")]
        return tuple(name[:-5] for name in names if name.endswith(".json") and is_key(name[:-5]))

    def _found(self, step: str, notebook: str | None) -> Any:
        self._index.catch_up(self._door, self.get)
        for key in self._index.keys_of(step, notebook):
            record = self.get(key)
            if record is None:
                self._index.drop_record(key)
            elif record.step != step:
                self._index.add_record(record)
            else:
                yield record
