"""Digests of code, each computed once per process and cached on disk for later processes.

A digest follows from the text alone, so the digest of the text is the key under which it is cached. What is kept
for later processes is what a pipeline uses, see :mod:`jupyter_pipelines.user_cache`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence, Sized
from functools import lru_cache

from jupyter_pipelines import user_cache
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import SharedKind
from jupyter_pipelines.planning.keys.docstring_use import SourceReads

KIND = "codes"
Piece = tuple[str, SharedKind, str]
"""Label, kind and source of a piece of shared code."""
StepTexts = tuple[tuple[str, ...], tuple[tuple[str, str], ...], tuple[str, ...], tuple[str, ...]]
"""Shared code and cells of a step, its modules with their names, its packages, and the names of its interface."""
_CACHE_SIZE = 1 << 16


class _CodeDigestCache:
    """Digests computed in this process, and those loaded from the user's cache."""

    def __init__(self) -> None:
        self.codes: dict[tuple[str, str, int, tuple[str, ...]], str] = {}
        self.orders: dict[tuple[tuple[Piece, ...], tuple[str, ...]], tuple[str, ...]] = {}
        self.inert: dict[StepTexts, tuple[str, ...]] = {}
        self.kept: dict[str, str] = {}
        self.kept_orders: dict[str, list[str]] = {}
        self.kept_inert: dict[str, list[str]] = {}
        self.learnt = False

    def clear_if_full(self) -> None:
        """Empty the cache when it has reached its limit."""
        caches: tuple[Sized, ...] = (self.codes, self.orders, self.inert, self.kept, self.kept_orders, self.kept_inert)
        if sum(len(cache) for cache in caches) > _CACHE_SIZE:
            self.__init__()  # type: ignore[misc]


_CACHE = _CodeDigestCache()


def cell_digest(text: str, level: SourceReads = SourceReads.NOTHING, inert: tuple[str, ...] = ()) -> str:
    """Return the digest of the canonical code of a cell, or of a piece of a cell; IPython's own lines count verbatim.

    Parameters
    ----------
    text : str
        The code.
    level : SourceReads
        Whether docstrings or all characters count, because something reads them.
    inert : tuple of str
        Names with parts that do not count; see :func:`cached_inert_names`.
    """
    return _digest("cell", text, level, inert)


def module_digest(text: str, level: SourceReads = SourceReads.NOTHING, inert: tuple[str, ...] = ()) -> str:
    """Return the digest of the canonical code of a module; see :func:`cell_digest`."""
    return _digest("module", text, level, inert)


def cached_order(pieces: Sequence[Piece], inert: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return which of a step's pieces of shared code must not change places; see :mod:`.code_order`."""
    if len(pieces) < 2:
        return ()
    memo_key = (tuple(pieces), inert)
    order = _CACHE.orders.get(memo_key)
    if order is None:
        kept = _CACHE.kept_orders.get(_order_cache_key(*memo_key))
        order = _CACHE.orders[memo_key] = _compute_order(*memo_key) if kept is None else tuple(kept)
    return order


def cached_inert_names(texts: StepTexts) -> tuple[str, ...]:
    """Return which names of a step have parts without effect on its result; see :mod:`.inert_code`."""
    inert = _CACHE.inert.get(texts)
    if inert is None:
        kept = _CACHE.kept_inert.get(_inert_cache_key(texts))
        inert = _CACHE.inert[texts] = _compute_inert_names(texts) if kept is None else tuple(kept)
    return inert


def load_digests(pipeline: Pipeline) -> None:
    """Load the digests that an earlier process saved for the code of `pipeline`."""
    kept = user_cache.load(KIND, _pipeline_id(pipeline))
    if isinstance(kept, dict) and kept.keys() == {"codes", "orders", "inert"}:
        _CACHE.clear_if_full()
        _CACHE.kept.update(kept["codes"])
        _CACHE.kept_orders.update(kept["orders"])
        _CACHE.kept_inert.update(kept["inert"])


def save_digests(pipeline: Pipeline) -> None:
    """Save the digests for the code of `pipeline`, if any was computed since they were saved last."""
    if not _CACHE.learnt:
        return
    _CACHE.learnt = False
    # Only the code of this pipeline: the process may have planned others, whose digests have files of their own.
    texts = set(_texts(pipeline))
    codes = {_cache_key(*memo_key): digest for memo_key, digest in _CACHE.codes.items() if memo_key[1] in texts}
    orders = {
        _order_cache_key(pieces, names): order
        for (pieces, names), order in _CACHE.orders.items()
        if all(source in texts for _, _, source in pieces)
    }
    inert = {
        _inert_cache_key(step): names
        for step, names in _CACHE.inert.items()
        if texts.issuperset(step[0]) and all(source in texts for _, source in step[1])
    }
    user_cache.save(KIND, _pipeline_id(pipeline), {"codes": codes, "orders": orders, "inert": inert})


def _digest(kind: str, text: str, level: SourceReads, inert: tuple[str, ...]) -> str:
    # What is without effect in other texts only makes no difference here.
    memo_key = (kind, text, int(level), tuple(name for name in inert if name.partition(" ")[2] in text))
    digest = _CACHE.codes.get(memo_key)
    if digest is None:
        kept = _CACHE.kept.get(_cache_key(*memo_key))
        digest = _CACHE.codes[memo_key] = kept or _compute_digest(kind, text, level, memo_key[-1])
    return digest


def _compute_digest(kind: str, text: str, level: SourceReads, inert: tuple[str, ...]) -> str:
    from jupyter_pipelines.planning.keys.canonical_code import canonical  # with `ast`, of no use where all is known

    _CACHE.learnt = True
    _CACHE.clear_if_full()
    docstrings = level == SourceReads.DOCSTRINGS
    if level == SourceReads.SOURCE:
        # Line ends depend on the platform and the settings of Git, not on what was written.
        return _sha256("verbatim " + text.replace("\r\n", "\n").replace("\r", "\n"))
    if kind == "module" and not inert:
        return canonical(text, docstrings=docstrings)
    from jupyter_pipelines.notebook.code.cell_code import parse_code

    code = parse_code(text, 0)
    if code.tree is None:
        return canonical(text, code.magics, docstrings=docstrings)
    if not inert:
        return canonical(code.tree, code.magics, docstrings=docstrings)
    from jupyter_pipelines.planning.keys.inert_code import replacements

    replaced = replacements(code.tree, inert)
    return canonical(code.tree, code.magics, docstrings=docstrings, replaced=replaced)


def _compute_order(pieces: tuple[Piece, ...], inert: tuple[str, ...]) -> tuple[str, ...]:
    from jupyter_pipelines.planning.keys.code_order import order_constraints

    _CACHE.learnt = True
    return tuple(order_constraints(pieces, inert))


def _compute_inert_names(texts: StepTexts) -> tuple[str, ...]:
    from jupyter_pipelines.planning.keys.inert_code import inert_names

    _CACHE.learnt = True
    notebook, modules, packages, interface = texts
    return inert_names(notebook, dict(modules), packages, interface)


def _pipeline_id(pipeline: Pipeline) -> str:
    return json.dumps([str(pipeline.notebook), str(pipeline.folder), str(pipeline.root)])


def _texts(pipeline: Pipeline) -> Iterator[str]:
    yield ""
    for step in pipeline:
        yield from (cell.body for cell in step.cells)
        yield from (piece.source for piece in step.shared)
        yield from (module.source for module in step.modules)


def _cache_key(kind: str, text: str, level: int, inert: Sequence[str]) -> str:
    return " ".join([kind, str(level), _sha256(text), *inert])


def _order_cache_key(pieces: Iterable[Piece], inert: Sequence[str]) -> str:
    return _sha256(json.dumps([list(pieces), list(inert)]))


def _inert_cache_key(texts: StepTexts) -> str:
    # Digests of the texts, remembered: many steps share long modules.
    notebook, modules, packages, interface = texts
    sources = [_text_digest(source) for source in (*notebook, *(source for _, source in modules))]
    return _sha256(json.dumps([sources, [name for name, _ in modules], packages, interface]))


@lru_cache(maxsize=_CACHE_SIZE)
def _text_digest(text: str) -> str:
    return _sha256(text)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
