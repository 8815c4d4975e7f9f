"""Digests of code, each computed once per process and cached on disk for later processes.

A digest follows from the text alone, so the digest of the text is the key under which it is cached. What is kept
for later processes is what a pipeline uses, see :mod:`jupyter_pipelines.user_cache`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence

from jupyter_pipelines import user_cache
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import SharedKind
from jupyter_pipelines.planning.keys.docstring_use import SourceReads

KIND = "codes"
Piece = tuple[str, SharedKind, str]
"""Label, kind and source of a piece of shared code."""
_CACHE_SIZE = 1 << 16


class _CodeDigestCache:
    """Digests computed in this process, and those loaded from the user's cache."""

    def __init__(self) -> None:
        self.codes: dict[tuple[str, str, int], str] = {}
        self.orders: dict[tuple[Piece, ...], tuple[str, ...]] = {}
        self.kept: dict[str, str] = {}
        self.kept_orders: dict[str, list[str]] = {}
        self.learnt = False

    def clear_if_full(self) -> None:
        """Empty the cache when it has reached its limit."""
        if len(self.codes) + len(self.orders) + len(self.kept) + len(self.kept_orders) > _CACHE_SIZE:
            self.__init__()  # type: ignore[misc]


_CACHE = _CodeDigestCache()


def cell_digest(text: str, level: SourceReads = SourceReads.NOTHING) -> str:
    """Return the digest of the canonical code of a cell, or of a piece of a cell; IPython's own lines count verbatim.

    Parameters
    ----------
    text : str
        The code.
    level : SourceReads
        Whether docstrings or all characters count, because something reads them.
    """
    return _digest("cell", text, level)


def module_digest(text: str, level: SourceReads = SourceReads.NOTHING) -> str:
    """Return the digest of the canonical code of a module; see :func:`cell_digest`."""
    return _digest("module", text, level)


def cached_order(pieces: Sequence[Piece]) -> tuple[str, ...]:
    """Return which of a step's pieces of shared code must not change places; see :mod:`.code_order`."""
    if len(pieces) < 2:
        return ()
    memo_key = tuple(pieces)
    order = _CACHE.orders.get(memo_key)
    if order is None:
        kept = _CACHE.kept_orders.get(_order_cache_key(memo_key))
        order = _CACHE.orders[memo_key] = _compute_order(memo_key) if kept is None else tuple(kept)
    return order


def load_digests(pipeline: Pipeline) -> None:
    """Load the digests that an earlier process saved for the code of `pipeline`."""
    kept = user_cache.load(KIND, _pipeline_id(pipeline))
    if isinstance(kept, dict) and kept.keys() == {"codes", "orders"}:
        _CACHE.clear_if_full()
        _CACHE.kept.update(kept["codes"])
        _CACHE.kept_orders.update(kept["orders"])


def save_digests(pipeline: Pipeline) -> None:
    """Save the digests for the code of `pipeline`, if any was computed since they were saved last."""
    if not _CACHE.learnt:
        return
    _CACHE.learnt = False
    # Only the code of this pipeline: the process may have planned others, whose digests have files of their own.
    texts = set(_texts(pipeline))
    codes = {_cache_key(*memo_key): digest for memo_key, digest in _CACHE.codes.items() if memo_key[1] in texts}
    orders = {
        _order_cache_key(pieces): order
        for pieces, order in _CACHE.orders.items()
        if all(source in texts for _, _, source in pieces)
    }
    user_cache.save(KIND, _pipeline_id(pipeline), {"codes": codes, "orders": orders})


def _digest(kind: str, text: str, level: SourceReads) -> str:
    memo_key = (kind, text, int(level))
    digest = _CACHE.codes.get(memo_key)
    if digest is None:
        digest = _CACHE.codes[memo_key] = _CACHE.kept.get(_cache_key(*memo_key)) or _compute_digest(kind, text, level)
    return digest


def _compute_digest(kind: str, text: str, level: SourceReads) -> str:
    from jupyter_pipelines.planning.keys.canonical_code import canonical  # with `ast`, of no use where all is known

    _CACHE.learnt = True
    _CACHE.clear_if_full()
    docstrings = level == SourceReads.DOCSTRINGS
    if level == SourceReads.SOURCE:
        # Line ends depend on the platform and the settings of Git, not on what was written.
        return _sha256("verbatim " + text.replace("\r\n", "\n").replace("\r", "\n"))
    if kind == "module":
        return canonical(text, docstrings=docstrings)
    from jupyter_pipelines.notebook.code.cell_code import parse_code

    code = parse_code(text, 0)
    return canonical(text if code.tree is None else code.tree, code.magics, docstrings=docstrings)


def _compute_order(pieces: tuple[Piece, ...]) -> tuple[str, ...]:
    from jupyter_pipelines.planning.keys.code_order import order_constraints

    _CACHE.learnt = True
    return tuple(order_constraints(pieces))


def _pipeline_id(pipeline: Pipeline) -> str:
    return json.dumps([str(pipeline.notebook), str(pipeline.folder), str(pipeline.root)])


def _texts(pipeline: Pipeline) -> Iterator[str]:
    yield ""
    for step in pipeline:
        yield from (cell.body for cell in step.cells)
        yield from (piece.source for piece in step.shared)
        yield from (module.source for module in step.modules)


def _cache_key(kind: str, text: str, level: int) -> str:
    return f"{kind} {level} {_sha256(text)}"


def _order_cache_key(pieces: Iterable[Piece]) -> str:
    return _sha256(json.dumps(list(pieces)))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
