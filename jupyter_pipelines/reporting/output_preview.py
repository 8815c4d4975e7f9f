"""Preview of a stored output: type, size and beginning.

Both what is read and what is returned is bounded, and nothing raises: the preview of an output that cannot be shown has
the reason. Nothing is unpickled unless the caller allows it, because that executes code.
"""

from __future__ import annotations

import base64
import io
import reprlib
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.reporting.sanitize import clean, clip
from jupyter_pipelines.storage import serializers
from jupyter_pipelines.storage.blobs import manifests
from jupyter_pipelines.storage.serializers.protocol import ValueHead

if TYPE_CHECKING:
    from jupyter_pipelines.pipeline.artifacts import Artifact
    from jupyter_pipelines.storage.store import Store

ROWS, COLUMNS, CELL, TEXT = 10, 50, 80, 4000
"""The most that is shown: rows, columns, characters of a cell, characters of a text."""
LARGEST_VALUE = 20_000_000
"""Size in bytes above which a value is not loaded for a preview."""
LARGEST_IMAGE = 1_000_000
"""Bytes of a picture above which it is not shown."""
_PIXELS = 480
_MAGIC = {b"\x89PNG\r\n": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif", b"RIFF": "webp"}
_DAMAGED = {
    "missing": "it is no longer in the store: run the step again",
    "corrupt": "the stored bytes are damaged: run the step again",
    "unknown": "it cannot be checked here, because a package is missing",
}


def preview(
    store: Store, artifact: Artifact, name: str, *, outdated: str = "", unpickle: bool = False
) -> dict[str, Any]:
    """Return the preview of a stored output.

    Parameters
    ----------
    store : Store
        Where it is.
    artifact : Artifact
        The output.
    name : str
        What it is called.
    outdated : str
        Why it would be computed again; empty if it would not.
    unpickle : bool
        Load pickles, if they are not large. That executes code that the pickle contains.

    Returns
    -------
    dict
        ``name``, ``type``, ``format``, ``bytes``, ``digest`` and ``outdated``; ``shape``, ``columns`` (each with
        ``name`` and ``dtype``), ``head`` (rows of texts), ``text`` and ``image`` (a data URI), or None for each.
    """
    known = {"name": name, **artifact.to_dict(), "outdated": outdated}
    nothing = dict.fromkeys(("type", "shape", "columns", "head", "text", "image"))
    try:
        # Verified first: parsers of damaged bytes fail in ways that say nothing to the user.
        state = store.intact(artifact)
        contents = {"text": _DAMAGED[state]} if state in _DAMAGED else _preview_fields(store, artifact, unpickle)
    except Exception as error:  # noqa: BLE001 - values of every kind, of any library
        contents = {"text": clean(f"it cannot be shown: {type(error).__name__}: {error}", TEXT)}
    return {**nothing, **contents, **known}


def _preview_fields(store: Store, artifact: Artifact, unpickle: bool) -> dict[str, Any]:
    if artifact.format == "folder":
        with store.blobs.open(artifact.digest) as file:
            return _folder(manifests.decode(file.read()))
    path = store.blobs.path(artifact.digest)
    if artifact.format == "file":
        return _file(path)
    plain = not serializers.holds_code(artifact.format)
    head = getattr(serializers.get(artifact.format), "head", None) if plain else None
    if head is not None:
        return _head_fields(head(path, ROWS, COLUMNS))
    if artifact.bytes > LARGEST_VALUE:
        return {"text": "it is too large to be loaded for a look"}
    # Jupyter's server calls this: loading a pickle there would run code of the notebook in the server process.
    if not plain and not unpickle:
        return {"text": "it is a pickled object, which is shown in a kernel only: loading it executes code"}
    return describe_value(serializers.load(path, artifact.format))


# Values


def describe_value(value: Any) -> dict[str, Any]:
    """Return type, shape, columns, head, text and picture of a value, as far as it has them; may raise anything."""
    description = {"type": _type(value)}
    for is_kind, look in _KINDS:
        if is_kind(value):
            return description | look(value)
    return description | {"text": clip(_SHORT.repr(value), TEXT)}


def _type(value: Any) -> str:
    value_type = type(value)
    package = value_type.__module__.partition(".")[0]
    return value_type.__qualname__ if package == "builtins" else f"{package}.{value_type.__qualname__}"


def _frame(value: Any) -> dict[str, Any]:
    head = value.head(ROWS)
    names = list(head.columns)[:COLUMNS]
    dtypes = list(head.dtypes)[:COLUMNS]
    rows = [row[1 : COLUMNS + 1] for row in head.itertuples()] if hasattr(head, "itertuples") else head.rows()
    return {
        "shape": [int(length) for length in value.shape],
        "columns": [_column(name, dtype) for name, dtype in zip(names, dtypes, strict=True)],
        "head": [[_cell(cell) for cell in row] for row in rows],
    }


def _array(value: Any) -> dict[str, Any]:
    description: dict[str, Any] = {
        "shape": [int(length) for length in value.shape],
        "text": f"dtype {_cell(str(value.dtype))}",
    }
    if value.ndim in (1, 2):
        rows = value[:ROWS] if value.ndim == 2 else value[:ROWS].reshape(-1, 1)
        description["head"] = [[_cell(cell) for cell in row[:COLUMNS].tolist()] for row in rows]
    return description | {"image": _picture_of(value)}


def _items(value: Any) -> dict[str, Any]:
    return {"shape": [len(value)], "text": clip(_SHORT.repr(value), TEXT)}


def _figure(value: Any) -> dict[str, Any]:
    target = io.BytesIO()
    width, height = (float(inches) for inches in value.get_size_inches())
    value.savefig(target, format="png", dpi=max(10.0, min(100.0, 2 * _PIXELS / max(width, height, 0.1))))
    return {"image": _uri(target.getvalue(), "png")}


def _picture(value: Any) -> dict[str, Any]:
    # A copy, because thumbnail() changes the image in place.
    small, target = value.copy(), io.BytesIO()
    small.thumbnail((_PIXELS, _PIXELS))
    small.save(target, format="png")
    return {"shape": [int(value.height), int(value.width)], "image": _uri(target.getvalue(), "png")}


# repr of a large container would build a text of its size before it could be cut.
_SHORT = reprlib.Repr()
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxset = _SHORT.maxfrozenset = _SHORT.maxdict = 30
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 1000
_Kind = tuple[Callable[[Any], bool], Callable[[Any], dict[str, Any]]]
_KINDS: Sequence[_Kind] = (
    (lambda value: isinstance(value, str), lambda value: {"shape": [len(value)], "text": clip(value, TEXT)}),
    (lambda value: isinstance(value, list | tuple | dict | set | frozenset), _items),
    (lambda value: _has(value, "pandas polars", "columns head dtypes"), _frame),
    (lambda value: _has(value, "pandas polars", "to_frame"), lambda value: _frame(value.to_frame())),
    (lambda value: _has(value, "numpy", "shape ndim reshape"), _array),
    (lambda value: _has(value, "matplotlib", "savefig get_size_inches"), _figure),
    (lambda value: _has(value, "PIL", "thumbnail width height"), _picture),
)


def _has(value: Any, libraries: str, names: str) -> bool:
    # By name: a preview must not import pandas or matplotlib for a value that is not of them.
    return _type(value).partition(".")[0] in libraries.split() and all(hasattr(value, name) for name in names.split())


# Files


def _head_fields(head: ValueHead) -> dict[str, Any]:
    if head.value is not None:
        return describe_value(head.value) | {"type": head.type}
    return {
        "type": head.type,
        "shape": None if head.shape is None else list(head.shape),
        "columns": [_column(name, dtype) for name, dtype in head.columns] or None,
        "head": [[_cell(cell) for cell in row] for row in head.rows] if head.columns else None,
        "text": clip(head.text, TEXT) if head.text or not head.columns else None,
    }


def _file(path: Path) -> dict[str, Any]:
    """Return a picture, if it has a format that every browser shows, else the text it begins with."""
    begin = _beginning(path)
    kind = next((kind for magic, kind in _MAGIC.items() if begin.startswith(magic)), None)
    if kind is not None:
        too_large = path.stat().st_size > LARGEST_IMAGE
        return {"type": f"{kind} image", "image": None if too_large else _uri(path.read_bytes(), kind)}
    # A zero byte is the usual sign of a binary file; as text it would be unreadable.
    if b"\0" in begin:
        return {"type": "file", "text": begin[:256].hex(" ")}
    return {"type": "file", "text": clip(begin.decode("utf-8", "replace"), TEXT)}


def _folder(entries: Sequence[manifests.ManifestEntry]) -> dict[str, Any]:
    return {
        "type": "folder",
        "shape": [len(entries)],
        "columns": [{"name": "path", "dtype": "text"}, {"name": "bytes", "dtype": "int"}],
        "head": [[_cell(entry.path), str(entry.size)] for entry in entries[:ROWS]],
    }


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4 * TEXT)


def _column(name: object, dtype: object) -> dict[str, str]:
    return {"name": _cell(name), "dtype": clean(dtype, CELL)}


def _cell(value: object) -> str:
    return "" if value is None else clean(value if isinstance(value, str) else _SHORT.repr(value), CELL)


# Pictures


def _uri(content: bytes, kind: str) -> str | None:
    if len(content) > LARGEST_IMAGE:
        return None
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _picture_of(array: Any) -> str | None:
    """Return an array of bytes as a picture, if it has the shape of one."""
    channels = array.shape[2] if array.ndim == 3 else 1
    if str(array.dtype) != "uint8" or array.ndim not in (2, 3) or channels not in (1, 3, 4) or min(array.shape[:2]) < 8:
        return None
    # Every n-th pixel, rounded up: a preview needs no interpolation.
    step = -(-max(array.shape[:2]) // _PIXELS)
    small = array[::step, ::step]
    rows = (b"\0" + row.tobytes() for row in small)
    colour = {1: 0, 3: 2, 4: 6}[channels]
    return _uri(_png(small.shape[1], small.shape[0], colour, rows), "png")


# A PNG by hand: the server need not have Pillow.
def _png(width: int, height: int, colour: int, rows: Iterable[bytes]) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(b"".join(rows), 6)), (b"IEND", b""))
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
