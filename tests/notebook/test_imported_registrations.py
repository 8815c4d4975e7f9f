"""Decorators and base classes of the project's modules: what registers itself through them is part of the step."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.notebook.notebooks import shared, step

TABLE = """
from store import kept

entries = {}
def task(f):
    entries[f.__name__] = f
    return f
def named(name):
    def decorate(f):
        entries[name] = f
        return f
    return decorate
def through(f):
    note(f)
    return f
def note(f):
    kept.append(f)
def plain(f):
    def call(*given):
        print(f)
        return f(*given)
    return call
class Keeper:
    def __init__(self): self.all = []
    def add(self, f):
        self.all.append(f)
        return f
    def note(self, f): return self.add(f)
keeper = Keeper()
add = keeper.add
class Once:
    def __init__(self, f): entries[f.__name__] = f
class Every:
    all = []
    def __init__(self, f): self.all.append(f)
class Plugin:
    def __init_subclass__(cls): kept.append(cls)
class Special(Plugin): pass
class Meta(type): pass
class Made(metaclass=Meta): pass
class Silent: pass
"""
MODULES = {
    "table.py": TABLE,
    "store.py": "kept = []",
    "listed.py": "class Root: pass\ndef leaves(): return Root.__subclasses__()",
    "bare.py": "class Root: pass",
    "again.py": "from table import task\nfrom functools import wraps",
    "own/__init__.py": "from .inner import task",
    "own/inner.py": "entries = []\ndef task(f):\n    entries.append(f)\n    return f",
}
FUNCTION, CLASS = "def added(x): return 1", "class Added"
REACHED = {
    "a function": ("from table import task, entries", f"@task\n{FUNCTION}", "y = len(entries)"),
    "its argument": ("from table import named, entries", f"@named('a')\n{FUNCTION}", "y = len(entries)"),
    "of a module": ("import table", f"@table.task\n{FUNCTION}", "y = len(table.entries)"),
    "of a module under another name": ("import table as t", f"@t.task\n{FUNCTION}", "y = len(t.entries)"),
    "under another name": ("from table import task as t, entries", f"@t\n{FUNCTION}", "y = len(entries)"),
    "through another function": ("from table import through\nimport store", f"@through\n{FUNCTION}", "y = store.kept"),
    "a method": ("from table import keeper", f"@keeper.add\n{FUNCTION}", "y = keeper.all"),
    "a method with the name of a function": ("from table import keeper", f"@keeper.note\n{FUNCTION}", "y = keeper.all"),
    "a method under a name": ("from table import add, keeper", f"@add\n{FUNCTION}", "y = keeper.all"),
    "a class": ("from table import Once, entries", f"@Once\n{FUNCTION}", "y = len(entries)"),
    "a class that keeps them itself": ("from table import Every", f"@Every\n{FUNCTION}", "y = Every.all"),
    "from where it is imported again": (
        "from again import task\nimport table", f"@task\n{FUNCTION}", "y = table.entries",
    ),
    "from a package": ("from own import task\nimport own.inner", f"@task\n{FUNCTION}", "y = own.inner.entries"),
    "a base": ("from table import Plugin\nfrom store import kept", f"{CLASS}(Plugin): pass", "y = kept"),
    "a base of a base": ("from table import Special\nimport store", f"{CLASS}(Special): pass", "y = store.kept"),
    "a base of a module": ("import table, store", f"{CLASS}(table.Plugin): pass", "y = store.kept"),
    "a base through a class": (
        "from table import Plugin\nimport store\nclass Between(Plugin): pass",
        f"{CLASS}(Between): pass",
        "y = store.kept",
    ),
    "a metaclass": ("from table import Made, entries", f"{CLASS}(Made): pass", "y = len(entries)"),
    "a module that lists subclasses": ("from listed import Root, leaves", f"{CLASS}(Root): pass", "y = leaves()"),
    "a step that lists subclasses": ("from bare import Root", f"{CLASS}(Root): pass", "y = Root.__subclasses__()"),
}  # fmt: skip
NOT_REACHED = {
    "a decorator that keeps nothing": ("from table import plain, entries", f"@plain\n{FUNCTION}", "y = len(entries)"),
    "a decorator of Python": ("from again import wraps, task", f"@wraps\n{FUNCTION}", "y = task"),
    "a base that keeps nothing": ("from table import Silent, entries", f"{CLASS}(Silent): pass", "y = len(entries)"),
    "another module": ("from table import task\nimport bare", f"@task\n{FUNCTION}", "y = bare.Root"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in MODULES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("cells", REACHED.values(), ids=REACHED)
def test_what_registers_itself_is_reached(cells: tuple[str, str, str], folder: Path) -> None:
    imports, definition, code = cells
    assert {"added", "Added"} & {*shared(step(imports, definition, f"%%step use -o y\n{code}", folder=folder))}


@pytest.mark.parametrize("cells", NOT_REACHED.values(), ids=NOT_REACHED)
def test_what_is_only_defined_is_not(cells: tuple[str, str, str], folder: Path) -> None:
    imports, definition, code = cells
    assert not {"added", "Added"} & {*shared(step(imports, definition, f"%%step use -o y\n{code}", folder=folder))}
