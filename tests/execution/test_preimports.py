"""What may be imported ahead of time: found in the text of steps, nothing is executed."""

from __future__ import annotations

import pytest

from jupyter_pipelines.execution.scheduler.preimports import imports_of, preimports_of
from jupyter_pipelines.pipeline.step import SharedCode, Step, StepCell

PACKAGES = ("numpy", "pandas", "sklearn", "matplotlib", "yaml")


def step(
    *bodies: str, name: str = "fit", shared: str = "", packages: tuple[str, ...] = PACKAGES, **more: object
) -> Step:
    return Step(
        name=name,
        cells=tuple(StepCell(number=n, id=None, text=body, body=body) for n, body in enumerate(bodies)),
        shared=(SharedCode(name="shared", kind="block", source=shared, cell=0),) if shared else (),
        packages=packages,
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import numpy", ["numpy"]),
        ("import numpy as np, pandas", ["numpy", "pandas"]),
        ("import sklearn.linear_model", ["sklearn.linear_model"]),
        ("from sklearn import linear_model", ["sklearn", "sklearn.linear_model"]),
        ("from sklearn.linear_model import Ridge", ["sklearn.linear_model"]),
        ("from matplotlib import pyplot as plt", ["matplotlib", "matplotlib.pyplot"]),
        ("%matplotlib inline\nimport numpy", ["numpy"]),
        ("!ls\nimport numpy", ["numpy"]),
        ("def f():\n    import numpy", []),
        ("if x:\n    import numpy", []),
        ("try:\n    import numpy\nexcept ImportError:\n    pass", []),
        ("from . import numpy", []),
        ("import neighbour", []),
        ("import json", []),
        ("import numpy +", []),
        ("text = 'import numpy'", []),
    ],
)
def test_only_what_a_step_imports_whenever_it_runs(text: str, expected: list[str]) -> None:
    assert list(imports_of(step(text))) == expected


def test_what_is_not_a_package_of_the_step_is_left_alone() -> None:
    assert list(imports_of(step("import numpy, pandas", packages=("pandas",)))) == ["pandas"]


def test_shared_code_counts_and_nothing_comes_twice() -> None:
    assert list(imports_of(step("import numpy", "import yaml, numpy", shared="import yaml"))) == ["yaml", "numpy"]


@pytest.mark.parametrize(
    "text",
    [
        "import os\nos.environ['X'] = '1'",
        "from os import environ",
        "os.putenv('X', '1')",
        "%env X=1",
        "%set_env X=1",
        "import sys\nsys.path.insert(0, 'x')",
        "sys . modules.pop('numpy')",
        "import importlib\nimportlib.reload(numpy)",
        "sys.meta_path.clear()",
        "%load_ext autoreload",
        "multiprocessing.set_start_method('spawn')",
        "resource.setrlimit(1, (1, 1))",
    ],
)
@pytest.mark.parametrize("where", ["cell", "shared"])
def test_steps_that_change_what_an_import_does_import_by_themselves(text: str, where: str) -> None:
    bodies, shared = ((text, "import numpy"), "") if where == "cell" else (("import numpy",), text)
    assert list(imports_of(step(*bodies, shared=shared))) == []


def test_steps_of_other_kernels_import_by_themselves() -> None:
    assert list(imports_of(step("import numpy", kernel="ir"))) == []


def test_what_several_steps_begin_with_is_imported_once() -> None:
    preimports = preimports_of(
        [
            step("import numpy\nimport pandas", name="a"),
            step("import yaml\nimport pandas\nimport numpy", name="b"),
            step("import numpy\nimport sklearn", name="c"),
            step("x = 1", name="d"),
        ]
    )
    assert preimports["a"] == {"shared": ["numpy", "pandas"], "own": []}
    assert preimports["b"] == {"shared": ["numpy", "pandas"], "own": ["yaml"]}
    assert preimports["c"] == {"shared": ["numpy"], "own": ["sklearn"]}
    assert preimports["d"] == {"shared": [], "own": []}


def test_a_step_alone_shares_nothing() -> None:
    assert preimports_of([step("import numpy")]) == {"fit": {"shared": [], "own": ["numpy"]}}
