"""Code that differs in nothing that matters has one canonical form, on every Python; code that differs has not."""

from __future__ import annotations

import ast
import json
import random
import subprocess
import sys
import sysconfig
import tokenize
from collections.abc import Iterator
from pathlib import Path

import black
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jupyter_pipelines.planning.keys.canonical_code as module
from jupyter_pipelines.planning.keys.canonical_code import canonical, form_of
from tests.pythons import VERSIONS, python_of

STANDARD = Path(sysconfig.get_path("stdlib"))
FILES = tuple(sorted(path for path in STANDARD.glob("*.py") if 2_000 < path.stat().st_size < 40_000))
SAMPLE = random.Random(7).sample(FILES, 30)


def text_of(path: Path) -> str:
    with tokenize.open(path) as file:
        return file.read()


SAME = {
    "comment": ("x = 1", "# why\nx = 1  # because"),
    "blank lines": ("x = 1\ny = 2", "\n\nx = 1\n\n\ny = 2\n\n"),
    "line ends": ("x = '''a\nb'''\ny = 2", "x = '''a\r\nb'''\r\ny = 2\r\n"),
    "old line ends": ("x = 1\ny = 2", "x = 1\ry = 2"),
    "byte order mark": ("x = 1", "\ufeffx = 1"),
    "spaces": ("f(a, b)[1:2]", "f ( a,b ) [ 1 : 2 ]"),
    "continuation": ("x = 1 + 2", "x = 1 + \\\n    2"),
    "parentheses": ("x = a + b", "x = (a + (b))"),
    "quotes": ("x = 'a'", 'x = """a"""'),
    "prefix": ("x = 'a'", "x = u'a'"),
    "implicit concatenation": ("x = 'ab'", "x = ('a'\n     'b')"),
    "f-string in pieces": ("x = f'a{b}cd'", "x = f'a' f'{b}' 'c' f'd'"),
    "number": ("x = 1_000", "x = 0x3E8"),
    "float": ("x = 1e3", "x = 1000."),
    "trailing comma": ("f(a, b)", "f(\n    a,\n    b,\n)"),
    "with": ("with (a as b, c as d):\n pass", "with a as b, c as d:\n    pass"),
    "del": ("del (a, b), c", "del a, b, c"),
    "semicolon": ("x = 1; y = 2;", "x = 1\ny = 2"),
    "escape that warns": (r"x = '\d'", r"x = '\\d'"),
    "type comment": ("x = []", "x = []  # type: list[int]"),
    "docstring of a module": ('"""One."""\nx = 1', '"""Two."""\nx = 1'),
    "docstring of a function": ('def f():\n    """One."""\n    return 1', "def f():\n    return 1"),
    "docstring of a coroutine": ('async def f():\n    """One."""\n    return 1', "async def f():\n    return 1"),
    "docstring of a class": ('class A:\n    """One."""\n    x = 1', "class A:\n    x = 1"),
    "docstring alone": ('def f():\n    """One."""', "def f():\n    pass"),
    "nested docstring": (
        'class A:\n    class B:\n        def f(self):\n            "One."\n            return 1',
        "class A:\n    class B:\n        def f(self):\n            return 1",
    ),
    "name in another form": ("ﬁ = 1", "fi = 1"),
    "ticks of indentation": ("if x:\n\ty = 1", "if x:\n        y = 1"),
}
DIFFERENT = {
    "integer and float": ("x = 1", "x = 1.0"),
    "integer and truth": ("x = 1", "x = True"),
    "integer and text": ("x = 1", "x = '1'"),
    "text and bytes": ("x = 'a'", "x = b'a'"),
    "nothing and nothing said": ("return_ = None", "return_ = ..."),
    "nothing returned": ("def f():\n    return", "def f():\n    return None"),
    "sign of zero": ("x = 0.0", "x = -0.0"),
    "imaginary": ("x = 1.0", "x = 1j"),
    "last digit": ("x = 0.1", "x = 0.10000000000000002"),
    "infinity": ("x = 1e308", "x = 1e999"),
    "huge integers": (f"x = {hex(1 << 90_000)}", f"x = {hex((1 << 90_000) + 1)}"),
    "f-string and text": ("x = f'a{b}'", "x = 'a{b}'"),
    "conversion": ("x = f'{b}'", "x = f'{b!r}'"),
    "format": ("x = f'{b:>3}'", "x = f'{b:>4}'"),
    "what an f-string shows": ("x = f'{b=}'", "x = f'{b =}'"),
    "a text that is no docstring": ("x = 1\n'text'", "x = 1"),
    "statement order": ("a()\nb()", "b()\na()"),
    "argument order": ("f(a, b)", "f(b, a)"),
    "keyword": ("f(a=1)", "f(1)"),
    "star": ("f(*a)", "f(a)"),
    "default": ("def f(a=1): pass", "def f(a=2): pass"),
    "positional only": ("def f(a, /): pass", "def f(a): pass"),
    "keyword only": ("def f(*, a): pass", "def f(a): pass"),
    "default of one keyword": ("def f(*, a=1, b): pass", "def f(*, a, b=1): pass"),
    "spread into a dict": ("x = {**a, 1: 2}", "x = {1: 2, **a}"),
    "spread and a key of nothing": ("x = {None: b}", "x = {**b}"),
    "spread among others": ("x = {1: a, **b}", "x = {1: a, None: b}"),
    "default of nothing and no default": ("def q(*, a=None): pass", "def q(*, a): pass"),
    "default of nothing for another keyword": ("def q(*, a=None, b): pass", "def q(*, a, b=None): pass"),
    "default of nothing in a lambda": ("q = lambda *, a=None: a", "q = lambda *, a: a"),
    "slice to nothing": ("x[:None]", "x[:]"),
    "step of nothing": ("x[::None]", "x[None::]"),
    "yield of nothing and yield from": ("def f():\n    yield None", "def f():\n    yield from None"),
    "case of nothing and of anything": ("match x:\n    case None: pass", "match x:\n    case _: pass"),
    "annotated nothing": ("x: int = None", "x: int"),
    "annotation": ("x: int = 1", "x: float = 1"),
    "annotated name": ("x: int", "(x): int"),
    "decorator": ("@cache\ndef f(): pass", "def f(): pass"),
    "async": ("async def f(): pass", "def f(): pass"),
    "awaited": ("x = await y", "x = y"),
    "walrus": ("if (n := 10) > 5: pass", "if n == 10 > 5: pass"),
    "case": ("match x:\n    case [1, *rest]: pass", "match x:\n    case [1, *_]: pass"),
    "case of nothing": ("match x:\n    case None: pass", "match x:\n    case False: pass"),
    "else": ("for x in y:\n    pass\nelse:\n    z()", "for x in y:\n    pass\nz()"),
    "relative import": ("from . import a", "from .. import a"),
    "slice": ("x[1:]", "x[:1]"),
    "generator": ("x = (a for a in b)", "x = [a for a in b]"),
    "nesting": ("x = [[a], b]", "x = [[a, b]]"),
    "body": ("if a:\n    b()\nc()", "if a:\n    b()\n    c()"),
    "raise from": ("raise a from None", "raise a"),
    "exception group": ("try:\n    a()\nexcept* B:\n    c()", "try:\n    a()\nexcept B:\n    c()"),
    "not Python, space": ("%time x", "%time  x"),
}


@pytest.mark.parametrize(("text", "other"), SAME.values(), ids=SAME)
def test_what_does_not_count(text: str, other: str) -> None:
    assert text != other
    assert canonical(text) == canonical(other)


@pytest.mark.parametrize(("text", "other"), DIFFERENT.values(), ids=DIFFERENT)
def test_what_counts(text: str, other: str) -> None:
    assert canonical(text) != canonical(other)


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment", '"""Only a docstring."""', "\ufeff"])
def test_text_without_statements_is_empty(text: str) -> None:
    assert canonical(text) == canonical("")


@pytest.mark.parametrize("text", ["pass", "1", "%matplotlib inline", "x = '"])
def test_any_statement_is_something(text: str) -> None:
    assert canonical(text) != canonical("")


def test_a_tree_and_its_text_are_the_same() -> None:
    text = text_of(SAMPLE[0])
    assert canonical(ast.parse(text)) == canonical(text)


def test_lines_of_ipython_count_as_they_stand() -> None:
    assert canonical("x = 1", ["%matplotlib inline"]) != canonical("x = 1")
    assert canonical("x = 1", ["%matplotlib inline"]) != canonical("x = 1", ["%matplotlib  inline"])
    assert canonical("x = 1", ["!a", "!b"]) != canonical("x = 1", ["!b", "!a"])
    assert canonical("x = 1", ["!a\n!b"]) != canonical("x = 1", ["!a", "!b"]) != canonical("x = 1", ["!a!b"])
    assert canonical("x = 1", ["!é"]) != canonical("x = 1", ["!e"])
    assert canonical("", ["!a"]) != canonical("")


def test_half_a_character_can_be_part_of_a_text() -> None:
    assert canonical(r"x = '\ud800'") != canonical(r"x = '\ud801'")


def test_depth_is_no_limit() -> None:
    tree: ast.expr = ast.Constant(1)
    for _ in range(100_000):
        tree = ast.UnaryOp(op=ast.Not(), operand=tree)
    assert form_of(tree).count("UnaryOp") == 100_000


def test_a_tree_that_python_itself_cannot_build_counts_as_text() -> None:
    deep = "(" * 5_000 + ")" * 5_000
    assert canonical(deep) == canonical(deep)
    assert canonical(deep) != canonical(f"({deep})")


def test_an_unknown_constant_is_refused() -> None:
    with pytest.raises(TypeError, match="not a constant"):
        canonical(ast.Module(body=[ast.Expr(ast.Constant(object()))], type_ignores=[]))  # type: ignore[arg-type]


# Reformatting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SAMPLE, ids=lambda path: path.stem)
def test_black_and_python_s_own_writer_change_nothing(path: Path) -> None:
    text = text_of(path)
    mode = black.Mode(line_length=60, string_normalization=True)
    blackened = black.format_str(text, mode=mode)
    assert blackened != text
    assert canonical(blackened) == canonical(text)
    assert canonical(ast.unparse(ast.parse(text))) == canonical(text)


@settings(max_examples=40)
@given(st.sampled_from(FILES), st.randoms(use_true_random=False))
def test_comments_blank_lines_and_line_ends_change_nothing(path: Path, chance: random.Random) -> None:
    text = text_of(path)
    assert canonical("\r\n".join(_roughened(text, chance))) == canonical(text)


def _roughened(text: str, chance: random.Random) -> Iterator[str]:
    """Yield the lines of `text`, with comments and blank lines put wherever a logical line ends."""
    tokens = tokenize.generate_tokens(iter(text.splitlines(keepends=True)).__next__)
    ends = {token.start[0] for token in tokens if token.type == tokenize.NEWLINE}
    for number, line in enumerate(text.split("\n"), start=1):
        yield f"{line}  # {chance.random()}" if number in ends and chance.random() < 0.3 else line
        if number in ends and chance.random() < 0.3:
            yield "" if chance.random() < 0.5 else f"   # {chance.random()}"


names = st.sampled_from(["a", "b", "_c", "É", "数"])
constants = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=0),
    st.floats(allow_nan=False, min_value=0.0),
    st.text(),
    st.binary(),
    st.just(...),
    st.complex_numbers(allow_nan=False, allow_infinity=False).map(lambda number: complex(0.0, abs(number.imag))),
)


def _load(name: str) -> ast.expr:
    return ast.Name(id=name, ctx=ast.Load())


def _larger(inner: st.SearchStrategy[ast.expr]) -> st.SearchStrategy[ast.expr]:
    return st.one_of(
        st.builds(lambda left, right: ast.BinOp(left=left, op=ast.Add(), right=right), inner, inner),
        st.builds(lambda operand: ast.UnaryOp(op=ast.USub(), operand=operand), inner),
        st.builds(lambda test, body, orelse: ast.IfExp(test=test, body=body, orelse=orelse), inner, inner, inner),
        st.builds(lambda items: ast.List(elts=items, ctx=ast.Load()), st.lists(inner, max_size=3)),
        st.builds(lambda items: ast.Tuple(elts=items, ctx=ast.Load()), st.lists(inner, max_size=3)),
        st.builds(
            lambda items: ast.Dict(keys=[None, *items], values=[*items, _load("a")]), st.lists(inner, max_size=2)
        ),
        st.builds(lambda name, argument: ast.Call(func=_load(name), args=[argument], keywords=[]), names, inner),
        st.builds(lambda name, index: ast.Subscript(value=_load(name), slice=index, ctx=ast.Load()), names, inner),
        st.builds(
            lambda name, assigned: ast.NamedExpr(target=ast.Name(id=name, ctx=ast.Store()), value=assigned),
            names,
            inner,
        ),
    )


expressions = st.recursive(st.one_of(names.map(_load), constants.map(ast.Constant)), _larger, max_leaves=12)


def _module(*values: ast.expr) -> ast.Module:
    body: list[ast.stmt] = [
        ast.Assign(targets=[ast.Name(id="x", ctx=ast.Store())], value=expression) for expression in values
    ]
    return ast.fix_missing_locations(ast.Module(body=body, type_ignores=[]))


@given(expressions)
def test_writing_code_and_reading_it_again_changes_nothing(expression: ast.expr) -> None:
    tree = _module(expression)
    assert canonical(ast.unparse(tree)) == canonical(tree)


@given(expressions, expressions)
def test_equal_forms_mean_equal_code(expression: ast.expr, other: ast.expr) -> None:
    first, second = (ast.dump(ast.parse(ast.unparse(_module(each)))) for each in (expression, other))
    assert (canonical(_module(expression)) == canonical(_module(other))) == (first == second)


@given(constants, constants)
def test_constants_are_equal_only_when_type_and_value_are(constant: object, other: object) -> None:
    same = type(constant) is type(other) and repr(constant) == repr(other)
    forms = [canonical(_module(ast.Constant(each))) for each in (constant, other)]  # type: ignore[arg-type]
    assert (forms[0] == forms[1]) == same


# Other Pythons --------------------------------------------------------------------------------------------------------

OLD_SYNTAX = {
    **{f"same, {name}": pair[1] for name, pair in SAME.items()},
    **{f"different, {name}": pair[0] for name, pair in DIFFERENT.items()},
    "f-strings": "a = f'{x!r:{w}.{p}}'\nb = f'{x:}'\nc = f'{x = !s:^20}'\nd = f'{{}}{x}}}'\ne = f''",
    "f-string with a lambda": "a = f'{(lambda: 1)()}' f'{x:%H:%M}' '\\N{BULLET}'",
    "unprintable here, printable there": "x = '\U0001fae8 \U0001fae9 \\ud800'",
    "escapes that warn": "x = '\\d'",
}
ASK = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("canonical", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
texts = json.load(sys.stdin)
json.dump({name: module.canonical(text) for name, text in texts.items()}, sys.stdout)
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_every_python_finds_the_same_form(version: str) -> None:
    python = python_of(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    texts = OLD_SYNTAX | {path.name: text_of(path) for path in SAMPLE}
    done = subprocess.run(
        [python, "-I", "-W", "error", "-c", ASK, str(module.__file__)],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {name: canonical(text) for name, text in texts.items()}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type parameters came with 3.12")
def test_type_parameters_count() -> None:
    assert canonical("def f[T](x: T): pass") != canonical("def f(x: T): pass")
    assert canonical("type A = int") != canonical("type A = str")


def test_type_parameters_count_even_where_they_cannot_be_parsed() -> None:
    assert canonical("def f[T](x: T): pass") != canonical("def f[S](x: S): pass")
