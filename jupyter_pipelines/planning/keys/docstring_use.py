"""Detection of code that reads docstrings or source: in such steps these count for the key."""

from __future__ import annotations

import re
from enum import IntEnum
from functools import lru_cache

_CACHE_SIZE = 1 << 15
_DOCSTRINGS = (
    *("__doc__", "getdoc", "docopt", "doctest", "pydoc", "render_doc"),
    *("__dict__", "vars", "getmembers", "co_consts", "Cmd", "TestCase", "shortDescription"),
    "help",
)
"""Names in code that reads docstrings; ``vars`` and the like show them among other attributes."""
_SOURCE = (
    *("getsource", "getsourcelines", "getsourcefile", "getcomments", "findsource", "getblock", "get_source"),
    *("f_lineno", "tb_lineno", "co_firstlineno", "co_lines", "co_linetable", "lineno", "findCaller", "_ih"),
    *("format_exc", "format_exception", "format_tb", "format_stack", "extract_tb", "extract_stack"),
    *("TracebackException", "StackSummary", "print_exc", "print_exception", "print_tb", "print_stack", "co_positions"),
    *("getframeinfo", "getouterframes", "getinnerframes", "__firstlineno__"),
)
"""Names in code that reads source, or numbers of lines: a comment changes these, too."""
_LINE_FORMAT = r"(%\(lineno\)|\{lineno)"
"""Asks :mod:`logging` for the number of the line."""
# In the canonical form every name, attribute and text stands in quotes; comments and docstrings are not in it.
_IN_FORM = re.compile(rf"'(?:({'|'.join(_DOCSTRINGS)})|({'|'.join(_SOURCE)}))(?:\.[\w.]+)?'|{_LINE_FORMAT}")
# A superset of what the form can show: the search in the text spares most code from being parsed.
_IN_TEXT = re.compile("|".join(_DOCSTRINGS[:-1] + _SOURCE) + r"|\bhelp\b")


class SourceReads(IntEnum):
    """How much of source code a step reads at run time; a higher level includes the lower levels."""

    NOTHING = 0
    DOCSTRINGS = 1
    SOURCE = 2


@lru_cache(maxsize=_CACHE_SIZE)
def source_reads(text: str) -> SourceReads:
    """Return whether a piece of code reads docstrings or source, judged by the names in it."""
    if not _IN_TEXT.search(text):
        return SourceReads.NOTHING
    import ast

    from jupyter_pipelines.notebook.code.cell_code import parse_code
    from jupyter_pipelines.planning.keys.canonical_code import form_of

    tree = parse_code(text, 0).tree
    matches = list(_IN_FORM.finditer(form_of(tree if tree is not None else ast.Constant(text))))
    if any(match[2] or match[3] for match in matches):
        return SourceReads.SOURCE
    return SourceReads.DOCSTRINGS if matches else SourceReads.NOTHING
