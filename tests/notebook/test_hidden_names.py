"""Code that hides names: the warning says how to show them, and nothing that has been done already."""

from __future__ import annotations

import pytest

from tests.notebook.notebooks import diagnostics, only_diagnostic

STAR = "from numpy import *"
ADVICE = {
    "a star import": (
        "import what you use by name: `from numpy import arange`, or declare with `-i` what it takes",
        STAR, "%%step a -o x\nx = arange(3)",
    ),
    "a star import in the step": (
        "import what you use by name: `from numpy import arange`", f"%%step a -i -o x\n{STAR}\nx = arange(3)",
    ),
    "a star import and a built-in": (
        "import what you use by name: `from numpy import NAME`", STAR, "%%step a -i -o x\nx = sum([3])",
    ),
    "two star imports": (
        "import what you use by name: `from MODULE import arange, gamma`",
        STAR, "from scipy.special import *", "%%step a -i -o x\nx = gamma(arange(3))",
    ),
    "all is declared": ("write it so that it can be read", "%%step a -i -o x\nexec('x = 3')"),
    "outputs are not declared": (
        "write it so that it can be read, or declare with `-o` what it makes", "%%step a -i\nexec('x = 3')",
    ),
    "nothing is declared": (
        "write it so that it can be read, or declare with `-i` and `-o` what it takes and makes",
        "%%step a\nexec('x = 3')",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ADVICE)
def test_the_advice_is_what_is_left_to_do(name: str) -> None:
    suggestion, *cells = ADVICE[name]
    diagnostic = only_diagnostic(*cells)
    assert (diagnostic.code, diagnostic.suggestion) == ("JP214", suggestion)


def test_a_star_import_is_shown_once_for_all_steps() -> None:
    steps = [f"%%step s{number} -i -o x{number}\nx{number} = arange({number})" for number in range(3)]
    diagnostic = only_diagnostic(STAR, *steps)
    assert diagnostic.notes == (
        "cell 1: `from numpy import *` binds names that are not known",
        "so it is for `s1`, `s2`",
    )


def test_the_advice_works() -> None:
    assert diagnostics("from numpy import arange, sin", "%%step a -o x\nx = sin(arange(3))") == ()
