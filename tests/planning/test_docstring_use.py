"""Docstrings count where code reads docstrings, every character where it reads source, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_pipelines.planning.keys.docstring_use import SourceReads, source_reads
from jupyter_pipelines.planning.keys.fingerprint import parts
from tests.planning.planning_fakes import PYTHON, module, shared, step

PLAIN = "y = f(1)"
ONE, OTHER = ('def f(x):\n    """One."""\n    return x', 'def f(x):\n    """Two."""\n    return x')
COMMENT = 'def f(x):\n    """One."""\n    return x  # new'


def parts_with(code: str, function: str, **more: Any) -> dict[str, str]:
    consumer = step("a", "", "y", code, shared=(shared("f", function),), **more)
    return parts(consumer, values={}, inputs={}, environment=PYTHON)


@pytest.mark.parametrize("code", [
    "y = f.__doc__", "import inspect\ny = inspect.getdoc(f)", "from inspect import getdoc\ny = getdoc(f)",
    "y = getattr(f, '__doc__')", "import docopt\ny = docopt.docopt(f())", "import doctest\ny = doctest.testmod()",
    "y = f.__code__.co_consts", "y = vars(f)", "y = f.__dict__", "import inspect\ny = inspect.getmembers(f)",
    "import cmd\ny = type('S', (cmd.Cmd,), {'do_f': f})", "import unittest\nclass T(unittest.TestCase): pass",
])  # fmt: skip
def test_docstrings_count_where_they_are_read(code: str) -> None:
    assert source_reads(code) == SourceReads.DOCSTRINGS
    assert parts_with(code, ONE) != parts_with(code, OTHER)
    assert parts_with(code, ONE) == parts_with(code, COMMENT)


@pytest.mark.parametrize("code", [
    "import inspect\ny = inspect.getsource(f)", "import m\ny = m.__loader__.get_source('m')",
    "y = f.__code__.co_firstlineno",
    "import traceback\ntraceback.print_exc(file=y)", "import inspect\ny = inspect.getframeinfo(x)[1]",
    "import traceback\ny = traceback.format_exc()", "from traceback import format_exc as text\ny = text()",
    "import sys\ny = sys._getframe().f_lineno", "y = error.__traceback__.tb_lineno", "y = caught[0].lineno",
    "import logging\ny = logging.Formatter('%(lineno)d %(message)s')", "y = _ih[-1]",
])  # fmt: skip
def test_all_counts_where_source_or_numbers_of_lines_are_read(code: str) -> None:
    assert source_reads(code) == SourceReads.SOURCE
    assert len({str(parts_with(code, function)) for function in (ONE, OTHER, COMMENT)}) == 3
    assert parts_with(code, ONE) == parts_with(code, ONE.replace("\n", "\r\n"))


@pytest.mark.parametrize("code", [PLAIN, "y = f(1)  # no __doc__", '"""Not __doc__."""\ny = f(1)', "y = my__doc__"])
def test_docstrings_do_not_count_where_no_code_reads_them(code: str) -> None:
    assert source_reads(code) == SourceReads.NOTHING
    assert parts_with(code, ONE) == parts_with(code, OTHER)


def test_docstrings_of_a_module_count_where_another_piece_reads_them() -> None:
    for code in ("import m\ny = m.f.__doc__", "import inspect, m\ny = inspect.getsource(m.f)"):
        before, after = (parts_with(code, PLAIN, modules=(module("m", text),)) for text in (ONE, OTHER))
        assert {name for name in before if before[name] != after[name]} == {"module:m"}


def test_a_module_that_reads_docstrings_makes_them_count() -> None:
    reader = module("m", "def g(f):\n    return f.__doc__")
    assert parts_with(PLAIN, ONE, modules=(reader,)) != parts_with(PLAIN, OTHER, modules=(reader,))
