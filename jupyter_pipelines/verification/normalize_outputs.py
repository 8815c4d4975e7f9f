"""Outputs of cells, normalised for comparison: without addresses, times, temporary names and progress bars."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jupyter_pipelines.execution.kernel_side.cell_log import HEAD

Shown = tuple[tuple[str, str], ...]
"""What a cell shows: kind and content of each piece."""

_TAIL = 8_000
_LEFT_OUT = "\n… "
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# These vary in every run and mean nothing: addresses, temporary names, timings, progress bars, generated ids.
_EXACT: Sequence[tuple[re.Pattern[str], str]] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"0x[0-9a-fA-F]{4,}", "0x…"),
        (r"(?<!\S)\S*/ipykernel_\d+/\d+\.py(:\d+)?", "<cell>"),
        (r"<(ipython|timed|magic)[\w -]*-\S*>(:\d+)?", "<cell>"),
        (r"(Cell |Input )?In ?\[\d+\](, line \d+|, in \S*)?", "<cell>"),
        (r"\(\d{6,}\.py, line \d+\)", "(<cell>)"),
        (r"(/tmp|/var/folders)/[\w./-]+", "<temporary>"),
        (r"\b\d+(\.\d+)? ?([nµumμ]?s|min|h) ± [^\n]*", "<timed>"),
        (r"(?<!\d)\d+ loops?, best of \d+: [^\n]*", "<timed>"),
        (r"(?<![\d.])\d+(\.\d+)? [nµuμm]?s, [^\n]*loops?[^\n]*", "<timed>"),
        (r"The slowest run took [^\n]*\n[^\n]*", "<timed>"),
        (r"(CPU times|Wall time|Compiler *):[^\n]*", "<timed>"),
        (r"(?<![\s\d])\s*(?<!\d)\d+%\|[^\n]*", "<progress>"),
        (r"(?<![\s\d])\s*(?<!\d)\d+it \[[^\n]*", "<progress>"),
        (r"sk-(container|estimator)-id-[\w-]+", "sk-id"),
        (r"\bT_[0-9a-f]{5}_?", "T_"),
        (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<uuid>"),
        (r'(id|href|xlink:href|clip-path)="[^"]*[0-9a-f]{8,}[^"]*"', "id"),
        (r"url\(#\w+\)", "url"),
        (r"<dc:date>[^<]*</dc:date>", ""),
    )
)
# Only if plain runs differ without it: a time or duration may also be a result.
_LOOSE: Sequence[tuple[re.Pattern[str], str]] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\b\d{1,2}:\d\d(:\d\d(\.\d+)?)?\b", "<time>"),
        (r"\b\d+(\.\d+)?(e[-+]?\d+)? ?(seconds?|secs?|s|ms|µs|us|ns|minutes?|min)\b", "<seconds>"),
    )
)


def shown(outputs: Iterable[Mapping[str, Any]], *, folders: Mapping[str, str], loose: bool = False) -> Shown:
    """Return what outputs of a notebook show, in a form that can be compared.

    Parameters
    ----------
    outputs : iterable of Mapping
        As nbformat has them.
    folders : Mapping of str to str
        Folders that go by another name.
    loose : bool
        Leave out times of day and durations, too.
    """
    streams: dict[str, str] = {}
    pieces: list[tuple[str, str]] = []
    for output in outputs:
        kind = output.get("output_type")
        # Joined by stream: how prints are split into messages depends on the timing of the kernel.
        if kind == "stream":
            streams[output["name"]] = streams.get(output["name"], "") + _joined_text(output["text"])
        elif kind == "error":
            pieces.append(("error", f"{output['ename']}: {_plain(output['evalue'], folders, loose=loose)}"))
        else:
            data = output.get("data", {})
            pieces += [(form, _content(form, data[form], folders, loose=loose)) for form in sorted(data)]
    texts = [
        (name, _plain(_lines(_head_and_tail(text)), folders, loose=loose)) for name, text in sorted(streams.items())
    ]
    return (*((name, text) for name, text in texts if text.strip()), *pieces)


def is_cut(outputs: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether outputs print more than a step's notebook keeps."""
    lengths: dict[str, int] = {}
    for output in outputs:
        if output.get("output_type") == "stream":
            lengths[output["name"]] = lengths.get(output["name"], 0) + len(_joined_text(output["text"]))
    return any(length > HEAD for length in lengths.values())


def _joined_text(text: Any) -> str:
    return "".join(text) if isinstance(text, list) else str(text)


def _content(form: str, value: Any, folders: Mapping[str, str], *, loose: bool) -> str:
    # Figures of matplotlib are compared by what is seen.
    if form == "image/png":
        return _pixels(_joined_text(value))
    if form.startswith("application/vnd.jupyter.widget"):
        return "<widget>"
    text = json.dumps(value, sort_keys=True) if isinstance(value, dict) else _joined_text(value)
    return _plain(text, folders, loose=loose)


def _head_and_tail(text: str) -> str:
    """Return the beginning and the end of a long text: of what a cell prints, a step's notebook keeps no more."""
    if len(text) <= HEAD:
        return text
    head, mark, tail = text.partition(_LEFT_OUT)
    if mark:
        return head[:HEAD].rstrip("\n") + "\n" + tail.partition("…\n")[2][-_TAIL:]
    return text[:HEAD].rstrip("\n") + "\n" + text[HEAD:][-_TAIL:]


def _lines(text: str) -> str:
    """Return what a terminal would have left of a text: a carriage return begins its line again."""
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))


def _plain(text: str, folders: Mapping[str, str], *, loose: bool) -> str:
    text = _ESCAPES.sub("", text)
    for folder, name in folders.items():
        text = text.replace(folder, name)
    for pattern, replacement in (*_EXACT, *(_LOOSE if loose else ())):
        text = pattern.sub(replacement, text)
    return "\n".join(line.rstrip() for line in text.strip().split("\n"))


def _pixels(text: str) -> str:
    """Return a digest of a picture's pixels: of what its file says beside them, nothing counts."""
    try:
        content = base64.b64decode(text)
        parts = [chunk for kind, chunk in _png_chunks(content) if kind in (b"IHDR", b"PLTE", b"tRNS")]
        # The compressed bytes depend on the version of zlib, and metadata chunks hold software and date.
        parts.append(zlib.decompress(b"".join(chunk for kind, chunk in _png_chunks(content) if kind == b"IDAT")))
    except (ValueError, binascii.Error, zlib.error, IndexError):
        return hashlib.sha256(text.encode()).hexdigest()
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _png_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Return the chunks of a PNG file."""
    chunks, position = [], 8
    while position + 8 <= len(content):
        size = int.from_bytes(content[position : position + 4], "big")
        chunks.append((content[position + 4 : position + 8], content[position + 8 : position + 8 + size]))
        position += size + 12
    return chunks
