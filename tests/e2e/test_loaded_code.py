"""Packages count by the versions of all that a step loads, modules by where they come from, docstrings where read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.notebook_project import NotebookProject


def install(site: Path, name: str, version: str, code: str, requires: str = "") -> None:
    """Install a package as pip does, in the place of another version of it."""
    for old in site.glob(f"{name}-*.dist-info"):
        for path in old.iterdir():
            path.unlink()
        old.rmdir()
    (site / name).mkdir(parents=True, exist_ok=True)
    (site / name / "__init__.py").write_text(code)
    metadata = site / f"{name}-{version}.dist-info"
    metadata.mkdir()
    lines = [f"Name: {name}", f"Version: {version}", *([f"Requires-Dist: {requires}"] if requires else [])]
    (metadata / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *lines, ""]))
    (metadata / "RECORD").write_text(f"{name}/__init__.py,sha256=0,0\n{metadata.name}/METADATA,,\n")


@pytest.fixture
def site(book: NotebookProject, tmp_path: Path) -> Path:
    folder = tmp_path / "site-packages"
    install(folder, "inner", "1.0", "VALUE = 1\n")
    install(folder, "outer", "1.0", "from inner import VALUE\n", "inner>=1")
    install(folder, "other", "1.0", "VALUE = 5\n")
    book.environment["PYTHONPATH"] = str(folder)
    return folder


def run_twice(book: NotebookProject) -> None:
    first = book.run()
    assert first.code == 0, first.err
    assert set(book.run().steps("decision").values()) == {"reuse"}


def reason(book: NotebookProject, step: str = "a") -> tuple[str, str]:
    planned = book.plan().steps("reason")[step]
    return planned["code"], planned["text"]


def test_an_upgrade_of_a_package_that_another_package_loads(book: NotebookProject, site: Path) -> None:
    book.write("%%step a -o x\nimport outer\nx = outer.VALUE", "%%step b -o y\nimport other\ny = other.VALUE")
    run_twice(book)
    assert book.call("why", "a", "--dependencies", "--json").document["trace"]["packages"] == {
        "inner": "1.0",
        "outer": "1.0",
    }
    install(site, "inner", "2.0", "VALUE = 2\n")
    assert reason(book) == ("package", "inner 1.0 -> 2.0")
    assert book.plan().steps("decision") == {"a": "run", "b": "reuse"}
    run_twice(book)
    assert book.value("a.x") == 2
    install(site, "inner", "1.0", "VALUE = 1\n")
    assert book.plan().steps("decision") == {"a": "reuse", "b": "reuse"}


def test_a_step_that_loads_nothing_depends_on_no_package(book: NotebookProject, site: Path) -> None:
    book.write("%%step a -o x\nx = {'a': [1]}")
    run_twice(book)
    assert book.call("why", "a", "--dependencies", "--json").document["trace"]["packages"] == {}


def test_a_package_that_is_local_counts_by_content(book: NotebookProject, site: Path, tmp_path: Path) -> None:
    """The package is installed in development mode: its code is elsewhere."""
    source = tmp_path / "source" / "dev"
    source.mkdir(parents=True)
    (source / "__init__.py").write_text("VALUE = 1\n")
    install(site, "outer", "2.0", f"import sys\nsys.path.append({str(source.parent)!r})\nfrom dev import VALUE\n")
    book.write("%%step a -o x\nimport outer\nx = outer.VALUE")
    run_twice(book)
    (source / "__init__.py").write_text("VALUE = 22\n")
    code, text = reason(book)
    assert code == "module"
    assert text.endswith("source/dev/__init__.py`, which it imported, changed")
    run_twice(book)
    assert book.value("a.x") == 22


@pytest.mark.parametrize("way", ["inserted", "PYTHONPATH"])
def test_a_module_that_appears_in_an_earlier_folder(book: NotebookProject, way: str) -> None:
    (book.folder / "lib").mkdir(parents=True)
    (book.folder / "late").mkdir()
    (book.folder / "late" / "ut.py").write_text("VALUE = 1\n")
    folders = [str(book.folder / name) for name in ("lib", "late")]
    insert = f"import sys, pkgutil\nsys.path[:0] = [{', '.join(map(repr, folders))}]\n"
    if way == "PYTHONPATH":
        book.environment["PYTHONPATH"] = ":".join(folders)
        insert = "import pkgutil\n"
    book.write(f"%%step a -o x\n{insert}x = pkgutil.resolve_name('tu'[::-1] + ':VALUE')")
    run_twice(book)
    (book.folder / "lib" / "ut.py").write_text("VALUE = 2\n")
    assert reason(book) == ("module", "module `ut` now comes from `lib/ut.py`")
    run_twice(book)
    assert book.value("a.x") == 2
    (book.folder / "lib" / "ut.py").unlink()
    assert book.plan().steps("decision") == {"a": "reuse"}


READING = """
class Text:
    def __init_subclass__(cls):
        cls.text = cls.__doc__

def text(f):
    f.text = f.__doc__
    return f
"""


@pytest.mark.parametrize(
    ("definition", "text"),
    [
        ('class Item(prompts.Text):\n    """one"""', "Item.text"),
        ('class Base(prompts.Text):\n    pass\n\nclass Item(Base):\n    """one"""', "Item.text"),
        ('@prompts.text\ndef item():\n    """one"""', "item.text"),
        ('def item():\n    """one"""', "prompts.text(item).text"),
        ('app = prompts.App()\n@app.command()\ndef item():\n    """one"""', "item.text"),
        ('app: object = prompts.App()\n@app.command()\ndef item():\n    """one"""', "item.text"),
    ],
)
def test_a_docstring_that_a_package_reads(book: NotebookProject, site: Path, definition: str, text: str) -> None:
    app = "class App:\n    def command(self):\n        return text\n"
    install(site, "prompts", "1.0", READING + app)
    plain = 'def plain():\n    """harmless"""\n    return 1'
    if definition.startswith("app"):
        book.write("import prompts", plain, f"%%step a -o x\n{definition}\nx = [{text}, plain()]")
    else:
        book.write("import prompts", definition, plain, f"%%step a -o x\nx = [{text}, plain()]")
    run_twice(book)
    book.edit("harmless", "edited")
    assert book.plan().steps("decision") == {"a": "reuse"}
    book.edit('"""one"""', '"""two"""')
    assert book.plan().steps("decision") == {"a": "run"}
    run_twice(book)
    assert book.value("a.x") == ["two", 1]


WHAT_IS_INSTALLED = {
    "version": "from importlib.metadata import version\nx = version('in' + 'ner')",
    "entries": "from importlib.metadata import entry_points\nx = len(entry_points(group='some.group'))",
    "all": "from importlib.metadata import distributions\nx = sum(d.name.startswith('extra') for d in distributions())",
    "modules": "import pkgutil\nx = sum(found.name == 'extra' for found in pkgutil.iter_modules())",
    "listed": "import os, sys\nx = sum('extra' in os.listdir(p) for p in sys.path if p.endswith('/site-packages'))",
}
"""Code that asks what is installed, in ways that name no package."""
SOUGHT = {
    "spec": "import importlib.util as util\nx = util.find_spec('ex' + 'tra') is not None",
    "computed": "import importlib\n"
    "try:\n    x = importlib.import_module('ex' + 'tra').VALUE\nexcept ImportError:\n    x = 0",
    "optional": "import outer\nx = outer.EXTRA",
    "worker": "import importlib.util as util, multiprocessing\n"
    "def is_there(name):\n    return util.find_spec('ex' + name) is not None\n"
    "with multiprocessing.get_context('fork').Pool(1) as pool:\n    (x,) = pool.map(is_there, ['tra'])",
}
"""Code that looks for a package, itself or in another package."""
UNTOUCHED = {
    "other": "import other\nx = other.VALUE",
    "lacking": "import importlib.util as util\nx = util.find_spec('lac' + 'king') is None",
}
OPTIONAL = (
    "from importlib.metadata import version\nVERSION = version('outer')\n"
    "try:\n    import extra\n    EXTRA = 1\nexcept ImportError:\n    EXTRA = 0\n"
)
REMOVED = "import importlib.util as util\nx = util.find_spec('in' + 'ner') is not None"


def test_a_package_that_was_not_installed_when_it_was_looked_for(book: NotebookProject, tmp_path: Path) -> None:
    # The folder of the user's packages is one of Python's own, whose files do not count.
    environment = {**os.environ, "PYTHONUSERBASE": str(tmp_path / "base")}
    command = [sys.executable, "-c", "import site; print(site.getusersitepackages())"]
    folder = Path(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip())
    book.environment |= {"PYTHONUSERBASE": environment["PYTHONUSERBASE"], "PYTHONPATH": str(folder)}
    install(folder, "inner", "1.0", "")
    install(folder, "outer", "1.0", OPTIONAL)
    install(folder, "other", "1.0", "VALUE = 5\n")
    steps = {**WHAT_IS_INSTALLED, **SOUGHT, **UNTOUCHED, "removed": REMOVED}
    book.write(*(f"%%step {name} -o {name}_says\n{code}\n{name}_says = x" for name, code in steps.items()))
    run_twice(book)
    before = {name: book.value(f"{name}.{name}_says") for name in steps}
    install(folder, "extra", "1.0", "VALUE = 1\n")
    plan = book.plan().steps("reason")
    for name in WHAT_IS_INSTALLED:
        assert plan[name]["code"] == "package", name
        assert plan[name]["text"].startswith("other packages are installed in `"), name
    for name in SOUGHT:
        assert (plan[name]["code"], plan[name]["text"]) == ("package", "extra not installed -> 1.0"), name
    assert {name for name, decision in book.plan().steps("decision").items() if decision == "reuse"} == {
        *UNTOUCHED,
        "removed",
    }
    run_twice(book)
    changed = {name for name in steps if book.value(f"{name}.{name}_says") != before[name]}
    assert changed == {"all", "modules", "listed", *SOUGHT}
    (folder / "inner").rename(folder / "gone")
    assert reason(book, "removed") == ("package", "inner 1.0 -> not installed")
