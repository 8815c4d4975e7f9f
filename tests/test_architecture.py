"""The rules of ARCHITECTURE.md: who imports whom, how large things get, what they are called, what is public.

Each measure is a function from a folder to what breaks the rule, so that the last tests can show that it finds it.
"""

from __future__ import annotations

import ast
import functools
import graphlib
import importlib.metadata
import inspect
import json
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import jupyter_pipelines
from jupyter_pipelines import plugins

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "jupyter_pipelines"

MOST_LINES = 60
MOST_LINES_OF_A_FILE = 800

NOT_A_NAME = {
    "base",
    "common",
    "core",
    "helper",
    "helpers",
    "util",
    "utils",
}  # they say where code lies, not what it does
ONLY_IF_THERE = {"polars", "pytz"}  # met in the values of people who have them; there is nothing to do without

PUBLIC = [
    "Diagnostic",
    "GatheredResults",
    "Pipeline",
    "PipelinesError",
    "Plan",
    "Project",
    "Run",
    "Secret",
    "check",
    "plan",
    "read",
    "run",
]


# Reading the source

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One file of a package."""

    name: str
    path: Path
    tree: ast.Module
    lines: int


def modules_of(package: Path) -> list[Module]:
    """Return every module below the folder `package`, named as it is imported."""
    return [_module(path, package.parent) for path in sorted(package.rglob("*.py"))]


def _module(path: Path, root: Path) -> Module:
    parts = path.relative_to(root).with_suffix("").parts
    text = path.read_text(encoding="utf-8")
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Module(name, path, _parsed(text), len(text.splitlines()))


_parsed = functools.cache(ast.parse)


def imports_of(module: Module, known: set[str]) -> set[str]:
    """Return what of `known` a module needs or names.

    That is what it imports, at any depth and for type checkers, too, and modules that its strings name: what is started
    with ``python -m``, given to ``import_module`` or looked up as an entry point. Docstrings don't count.
    """
    names = {whole if whole in known else start for whole, start in _imports(module)}
    return ({*names, *_named_in_strings(module, known)} & known) - {module.name}


def _named_in_strings(module: Module, known: set[str]) -> Iterator[str]:
    root = module.name.partition(".")[0]
    prose = {id(node.value) for node in ast.walk(module.tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            for dotted in re.findall(rf"\b{root}(?:\.\w+)+", node.value):
                parts = dotted.split(".")
                starts = (".".join(parts[:length]) for length in range(len(parts), 1, -1))
                yield from (start for start in starts if start in known)


def packages_of(module: Module) -> set[str]:
    """Return the other people's packages that a module imports, at any depth."""
    return {whole.partition(".")[0] for whole, _ in _imports(module)} - sys.stdlib_module_names


def _imports(module: Module) -> Iterator[tuple[str, str]]:
    """Yield what each import may mean: ``from a import b`` is the module ``a.b``, or else something in ``a``."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module}.{alias.name}", str(node.module)) for alias in node.names)


def functions_of(module: Module) -> list[tuple[str, int]]:
    """Return every function of a module with its length.

    The length is the number of physical lines from ``def`` to the last one. The docstring doesn't count, nor do
    decorators: what is long is what has to be understood at once. A signature, blank lines and comments count. A
    function inside another counts for itself and for the one around it. Declarations without a body (protocols,
    overloads) are no functions.
    """
    functions = [node for node in ast.walk(module.tree) if isinstance(node, Function)]
    return [
        (f"{module.name}.{node.name}:{node.lineno}", _length(node)) for node in functions if not _only_declared(node)
    ]


def _only_declared(function: Function) -> bool:
    return all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in function.body)


def _length(function: Function) -> int:
    first = function.body[0]
    documented = ast.get_docstring(function) is not None
    return (function.end_lineno or 0) - function.lineno + 1 - (_lines(first) if documented else 0)


def _lines(node: ast.stmt) -> int:
    return (node.end_lineno or 0) - node.lineno + 1


# Measures: each returns what breaks the rule


def cycle_in(package: Path) -> list[str]:
    """Return modules that need or name each other in a circle.

    The package itself and its table of plug-ins name modules of all layers in order to import what is asked for, and
    nothing else: their strings, and the imports of the package for type checkers, are no arrows.
    """
    modules = modules_of(package)
    known = {module.name for module in modules}
    registries = {package.name, f"{package.name}.plugins"}
    graph = {
        module.name: imports_of(module, known) if module.name not in registries else _executed_imports(module, known)
        for module in modules
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def _executed_imports(module: Module, known: set[str]) -> set[str]:
    tree = ast.Module([node for node in module.tree.body if not isinstance(node, ast.If)], [])
    names = {whole if whole in known else start for whole, start in _imports(replace(module, tree=tree))}
    return (names & known) - {module.name}


def unlayered_packages(package: Path, contracts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return packages that hold several modules and have no contract about all their layers."""
    layered = {
        container
        for contract in contracts
        if contract["type"] == "layers" and contract.get("exhaustive")
        for container in contract["containers"]
    }
    children: dict[str, set[str]] = {}
    for module in modules_of(package):
        parent, _, child = module.name.rpartition(".")
        children.setdefault(parent, set()).add(child)
    return sorted(name for name, names in children.items() if name and len(names) > 1 and name not in layered)


def too_long_functions(package: Path) -> list[str]:
    """Return functions that have too many lines."""
    lengths = [found for module in modules_of(package) for found in functions_of(module)]
    return [f"{name} has {length} lines" for name, length in lengths if length > MOST_LINES]


def too_long_files(package: Path) -> list[str]:
    """Return files that have too many lines."""
    return [
        f"{module.name} has {module.lines}" for module in modules_of(package) if module.lines > MOST_LINES_OF_A_FILE
    ]


def empty_names(package: Path) -> list[str]:
    """Return modules whose name says nothing."""
    return [module.name for module in modules_of(package) if set(module.name.split(".")) & NOT_A_NAME]


def managers(package: Path) -> list[str]:
    """Return classes called manager that don't have to: only a subclass of one of Jupyter's has to."""
    classes = [
        (module, node)
        for module in modules_of(package)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
    ]
    return [
        f"{module.name}.{node.name}"
        for module, node in classes
        if node.name.endswith("Manager") and not _base_names(node) & _imported_from(module, "jupyter_client")
    ]


def _base_names(node: ast.ClassDef) -> set[str]:
    return {ast.unparse(base).rpartition(".")[2] for base in node.bases}


def _imported_from(module: Module, package: str) -> set[str]:
    nodes = [node for node in ast.walk(module.tree) if isinstance(node, ast.ImportFrom)]
    return {
        alias.asname or alias.name for node in nodes for alias in node.names if (node.module or "").startswith(package)
    }


def undocumented(name: str, thing: object) -> list[str]:
    """Return what is public in a function or class and says nothing about itself."""
    things = {name: thing}
    if inspect.isclass(thing):
        members = {key: value for key, value in vars(thing).items() if not key.startswith("_")}
        things |= {f"{name}.{key}": value for key, value in members.items() if _speaks(value)}
    return [key for key, value in things.items() if not inspect.getdoc(value)]


def _speaks(value: object) -> bool:
    return inspect.isfunction(value) or isinstance(value, (property, classmethod, staticmethod, type))


# The rules


def test_imports_go_one_way() -> None:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_modules_need_each_other_in_a_circle() -> None:
    assert cycle_in(PACKAGE) == []


def test_every_package_has_layers() -> None:
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert unlayered_packages(PACKAGE, configuration["tool"]["importlinter"]["contracts"]) == []


def test_the_page_on_the_architecture_and_the_tree_name_the_same_packages() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w/.]+)` \|", page, re.MULTILINE)
    folders = {f"{path.parent.relative_to(PACKAGE).as_posix()}/" for path in PACKAGE.rglob("__init__.py")}
    modules = {path.name for path in PACKAGE.glob("*.py")}
    inner = {folder for folder in folders if "migrations" not in folder and folder != "./"}
    assert sorted(rows) == sorted((inner | modules | {"labextension/"}) - {"__init__.py"})


def test_functions_are_short() -> None:
    assert too_long_functions(PACKAGE) == []


def test_files_are_short() -> None:
    assert too_long_files(PACKAGE) == []


def test_names_say_something() -> None:
    assert empty_names(PACKAGE) == []
    assert managers(PACKAGE) == []


def test_the_public_names_are_these() -> None:
    assert sorted(jupyter_pipelines.__all__) == PUBLIC
    assert set(PUBLIC) <= set(dir(jupyter_pipelines))


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_there_and_documented(name: str) -> None:
    assert undocumented(name, getattr(jupyter_pipelines, name)) == []


def test_what_is_imported_is_declared() -> None:
    """Nothing comes in only because a dependency of ours needs it, too."""
    needed = importlib.metadata.requires("jupyter-pipelines") or []
    declared = {re.split(r"[^\w.-]", line)[0].lower().replace("_", "-") for line in needed}
    homes = importlib.metadata.packages_distributions()
    imported = {name for module in modules_of(PACKAGE) for name in packages_of(module)}
    owned = {name for name in imported if {home.lower().replace("_", "-") for home in homes.get(name, [])} & declared}
    assert imported - owned - ONLY_IF_THERE == {"jupyter_pipelines"}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        jupyter_pipelines.nothing  # noqa: B018 - looking is the test


@pytest.mark.parametrize("module", ["jupyter_pipelines", "jupyter_pipelines.execution.kernel_side.step_io"])
def test_what_everybody_pays_for_imports_only_the_standard_library(module: str) -> None:
    """The package is imported by every notebook, and what runs inside a kernel by every step."""
    code = f"import json, sys; old = set(sys.modules); import {module}; print(json.dumps(list(set(sys.modules) - old)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert loaded - sys.stdlib_module_names == {"jupyter_pipelines"}


def test_what_the_docs_name_exists_and_is_documented() -> None:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").rglob("*.md"))
    names = set(re.findall(r"\bjupyter_pipelines(?:\.[A-Za-z_]\w*)+", pages))
    names -= {f"jupyter_pipelines.{kind}" for kind in plugins.BUILT_IN}  # groups of entry points
    assert [found for name in names for found in undocumented(name, pkgutil.resolve_name(name))] == []


# The measures themselves


def _package(folder: Path, **modules: str) -> Path:
    """Write a package called `small`; a module's name has two underscores for each dot."""
    for name, text in {"": "", **modules}.items():
        path = folder.joinpath("small", *name.split("__"))
        path = path / "__init__.py" if name in ("", "inner", "utils") else path.with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "small"


@pytest.mark.parametrize(
    "back",
    [
        "from small import first\n",
        "def late():\n    import small.first\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from small.first import function\n",
        "COMMAND = ['python', '-m', 'small.first']\n",
        "import importlib\nimportlib.import_module(f'small.first.{__name__}')\n",
        "ENTRY = 'small.first:function'\n",
    ],
    ids=["plain", "in a function", "for type checkers", "python -m", "import_module", "entry point"],
)
def test_a_circle_of_each_kind_is_found(back: str, tmp_path: Path) -> None:
    package = _package(tmp_path, first="import small.second\n", second=back)
    assert set(cycle_in(package)) == {"small.first", "small.second"}


def test_what_only_mentions_a_module_makes_no_circle(tmp_path: Path) -> None:
    prose = '"""As small.first does."""\n\ndef function():\n    """See small.first."""\n'
    assert cycle_in(_package(tmp_path, first="import small.second\n", second=prose)) == []


def test_a_registry_may_name_what_imports_it(tmp_path: Path) -> None:
    package = _package(tmp_path, first="from small import plugins\n", plugins="TABLE = {'a': 'small.first'}\n")
    (package / "__init__.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import small.first\n"
    )
    assert cycle_in(package) == []
    (package / "plugins.py").write_text("import small.first\n")
    assert set(cycle_in(package)) == {"small.first", "small.plugins"}


def test_a_package_without_layers_is_found(tmp_path: Path) -> None:
    package = _package(tmp_path, first="", inner="", inner__left="", inner__right="", utils="", utils__single="")
    contracts = [{"type": "layers", "exhaustive": True, "containers": ["small"]}]
    assert unlayered_packages(package, contracts) == ["small.inner"]
    assert unlayered_packages(package, [{**contracts[0], "exhaustive": False}]) == ["small", "small.inner"]


def test_the_measures_find_what_they_are_for(tmp_path: Path) -> None:
    package = _package(
        tmp_path,
        utils="",
        two="class Manager:\n    pass\n\nclass KernelManager:\n    pass\n",
        long="def long():\n" + "    x = 1\n" * MOST_LINES_OF_A_FILE,
    )
    assert too_long_functions(package) == [f"small.long.long:1 has {MOST_LINES_OF_A_FILE + 1} lines"]
    assert too_long_files(package) == [f"small.long has {MOST_LINES_OF_A_FILE + 1}"]
    assert empty_names(package) == ["small.utils"]
    assert managers(package) == ["small.two.Manager", "small.two.KernelManager"]


def test_the_measures_let_pass_what_is_right(tmp_path: Path) -> None:
    package = _package(
        tmp_path,
        first="from jupyter_client.manager import KernelManager as Base\n\nclass KernelManager(Base):\n    pass\n",
        second='@wrap\ndef function():\n    """Much\n\n    to say."""\n' + "    x = 1\n" * (MOST_LINES - 1),
    )
    assert too_long_functions(package) == []
    assert managers(package) == []
