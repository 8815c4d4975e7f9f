"""Inputs, outputs, the sources of inputs, and the artifacts that outputs are stored as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from jupyter_pipelines.errors import SourceLocation
from jupyter_pipelines.pipeline.url_inputs import hide_credentials

OutputKind = Literal["value", "file", "folder"]
PATH_FORMATS = ("file", "folder")
"""Formats of outputs that a step writes under a path that it is given; all others are those of serializers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutputRef:
    """The output of an earlier step."""

    step: str
    output: str

    def __str__(self) -> str:
        return f"{self.step}.{self.output}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSource:
    """A file or folder that the user keeps; its content counts.

    Parameters
    ----------
    path : str
        As written in the header: absolute, or relative to the notebook's folder.
    """

    path: str

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlSource:
    """A URL whose content is an input; its server is asked when a plan is made.

    Parameters
    ----------
    url : str
        As written in the header; only :meth:`__str__` is shown, which hides credentials.
    """

    url: str = field(repr=False)

    def __str__(self) -> str:
        return hide_credentials(self.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A named value or file that enters a step.

    Parameters
    ----------
    name : str
        What the step's code calls it.
    source : StepOutputRef or FileSource or UrlSource
        Where it comes from.
    optional : bool
        It may be missing; the name is then bound to ``None``.
    place : SourceLocation or None
        Where it is declared; None when it was inferred.
    """

    name: str
    source: StepOutputRef | FileSource | UrlSource
    optional: bool = False
    place: SourceLocation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A named value or file that leaves a step.

    Parameters
    ----------
    name : str
        What the step's code calls it.
    kind : {"value", "file", "folder"}
        A Python value, or a path that the step is given to write to.
    format : str or None
        Name of the serializer; None lets the type of the value decide.
    place : SourceLocation or None
        Where it is declared; None when it was inferred.
    """

    name: str
    kind: OutputKind = "value"
    format: str | None = None
    place: SourceLocation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """The stored content of an output.

    Parameters
    ----------
    digest : str
        ``<algorithm>:<hex>`` of the stored bytes, for instance ``sha256:9f86…``.
    format : str
        Name of the serializer that wrote it.
    bytes : int
        Size of the stored bytes; for a folder, of all files in it.
    """

    digest: str
    format: str
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return the artifact as documents show it."""
        return {"digest": self.digest, "format": self.format, "bytes": self.bytes}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Artifact:
        """Return the artifact that :meth:`to_dict` described."""
        return cls(digest=str(document["digest"]), format=str(document["format"]), bytes=int(document["bytes"]))
