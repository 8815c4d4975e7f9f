"""The words of the code: what modules, classes and locals are called, counted.

Each count is a function from a folder to what breaks the rule, so that the last tests can show that it finds it. Call
``python -m tests.test_words [FOLDER]`` for the counts.
"""

from __future__ import annotations

import ast
import functools
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "jupyter_pipelines"
CODE = [PACKAGE, ROOT / "tests", ROOT / "benchmarks"]

NOUNS_OF_THE_PRODUCT = {
    "Step",
    "Pipeline",
    "Plan",
    "Run",
    "Store",
    "Project",
    "Parameter",
    "Input",
    "Output",
    "Artifact",
}
"""Classes that have one word and say all with it: they count as two."""
EMPTY_SUFFIXES = ("Helper", "Manager", "Info", "Data", "Util")
"""They make a name longer and say nothing about what the class is."""
FILLERS = ("one", "found", "said", "told")
"""Locals whose names do not say what they hold."""
RIDDLES = re.compile(r"\b(whoever|nobody|somebody|anybody|those who)\b", re.IGNORECASE)

MOST_MODULES = 22
MOST_VERBAL_NOUNS = 10
MOST_MODULE_NAMES_TWICE = 5
MOST_FILLERS = 50
LEAST_SHARE_OF_TWO_WORDS = 0.85


# Counts: each returns what breaks the rule


def crowded_folders(package: Path) -> dict[str, int]:
    """Return folders with more modules than can be taken in at once."""
    counts = Counter(path.parent.relative_to(package.parent).as_posix() for path in package.rglob("*.py"))
    return {folder: count for folder, count in counts.items() if count > MOST_MODULES}


def verbal_nouns(package: Path) -> list[str]:
    """Return modules that are called after an activity and not after what they hold."""
    return sorted(path.stem for path in package.rglob("*ing.py"))


def repeated_modules(package: Path) -> list[str]:
    """Return names that several modules have."""
    counts = Counter(path.stem for path in package.rglob("*.py") if not path.stem.startswith("__"))
    return sorted(name for name, count in counts.items() if count > 1)


def class_names(package: Path) -> list[str]:
    """Return the names of all classes, nested ones included."""
    return [name for path in sorted(package.rglob("*.py")) for name in _names(path.read_text(encoding="utf-8"))[0]]


@functools.cache
def _names(text: str) -> tuple[list[str], list[tuple[str, int]]]:
    """Return the names of the classes in a text, and the uses of fillers with their lines."""
    classes, uses = [], []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef):
            classes.append(node.name)
        elif isinstance(node, ast.Name) and node.id in FILLERS:
            uses.append((node.id, node.lineno))
        elif isinstance(node, ast.arg) and node.arg in FILLERS:
            uses.append((node.arg, node.lineno))
    return classes, uses


def single_words(package: Path) -> list[str]:
    """Return classes whose name is a single word, the nouns of the product left out."""
    names = sorted(set(class_names(package)) - NOUNS_OF_THE_PRODUCT)
    return [name for name in names if len(re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*", name)) < 2]


def repeated_classes(package: Path) -> list[str]:
    """Return names that several classes have; a leading underscore makes no difference."""
    counts = Counter(name.lstrip("_") for name in class_names(package))
    return sorted(name for name, count in counts.items() if count > 1)


def empty_suffixes(package: Path) -> list[str]:
    """Return classes whose last word says nothing."""
    return [name for name in class_names(package) if name.endswith(EMPTY_SUFFIXES)]


def fillers(package: Path) -> list[str]:
    """Return uses of variables and parameters whose names do not say what they hold."""
    return [
        f"{path.name}:{line} {name}"
        for path in sorted(package.rglob("*.py"))
        for name, line in _names(path.read_text(encoding="utf-8"))[1]
    ]


def riddles(package: Path) -> list[str]:
    """Return comments, docstrings and messages that name a person where a user, process or thing is meant."""
    return [place for path in sorted(package.rglob("*.py")) for place in _riddles_in(path)]


def _riddles_in(path: Path) -> Iterator[str]:
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type in (tokenize.STRING, tokenize.COMMENT, FSTRING):
                yield from (f"{path.name}:{token.start[0]} {match[0]}" for match in RIDDLES.finditer(token.string))


FSTRING = getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)


# The rules


def test_no_folder_is_crowded() -> None:
    assert crowded_folders(PACKAGE) == {}


def test_modules_are_nouns() -> None:
    assert len(verbal_nouns(PACKAGE)) <= MOST_VERBAL_NOUNS, verbal_nouns(PACKAGE)


def test_few_modules_share_a_name() -> None:
    assert len(repeated_modules(PACKAGE)) <= MOST_MODULE_NAMES_TWICE, repeated_modules(PACKAGE)


def test_classes_have_two_words() -> None:
    share = 1 - len(single_words(PACKAGE)) / len(set(class_names(PACKAGE)))
    assert share >= LEAST_SHARE_OF_TWO_WORDS, single_words(PACKAGE)
    assert empty_suffixes(PACKAGE) == []


def test_no_classes_share_a_name() -> None:
    assert repeated_classes(PACKAGE) == []


@pytest.mark.parametrize("folder", CODE, ids=lambda folder: folder.name)
def test_locals_say_what_they_hold(folder: Path) -> None:
    assert len(fillers(folder)) <= MOST_FILLERS, fillers(folder)


def test_prose_speaks_of_things() -> None:
    assert riddles(PACKAGE) == []


# The counts themselves


def test_the_counts_find_what_they_are_for(tmp_path: Path) -> None:
    package = tmp_path / "small"
    for name in ("", "left", "right"):
        (package / name).mkdir(exist_ok=True)
        (package / name / "__init__.py").write_text("")
    for number in range(MOST_MODULES):
        (package / f"module_{number}.py").write_text("")
    (package / "left" / "running.py").write_text(
        "class Thing:\n    pass\n\nclass Place:\n    class Step:\n        pass\n"
    )
    (package / "right" / "running.py").write_text("class _Thing:\n    pass\n\nclass URLInfo:\n    pass\n")
    (package / "right" / "rows.py").write_text(
        '"""Nobody reads this."""\n\n\ndef rows(found):\n    # whoever calls it\n'
        '    return [one for one in found], f"{found}: somebody"\n'
    )

    assert crowded_folders(package) == {"small": MOST_MODULES + 1}
    assert verbal_nouns(package) == ["running", "running"]
    assert repeated_modules(package) == ["running"]
    assert single_words(package) == ["Place", "Thing", "_Thing"]
    assert repeated_classes(package) == ["Thing"]
    assert empty_suffixes(package) == ["URLInfo"]
    assert sorted(fillers(package)) == ["rows.py:4 found", *["rows.py:6 found"] * 2, *["rows.py:6 one"] * 2]
    assert sorted(riddles(package)) == ["rows.py:1 Nobody", "rows.py:5 whoever", "rows.py:6 somebody"]


def main(folder: Path) -> None:
    """Write the counts of a package to standard output."""
    names = class_names(folder)
    share = 1 - len(single_words(folder)) / len(set(names))
    lines = [
        f"modules: {len(list(folder.rglob('*.py')))}, called after an activity: {len(verbal_nouns(folder))}",
        f"module names twice: {len(repeated_modules(folder))}; crowded folders: {len(crowded_folders(folder))}",
        f"classes: {len(names)}; of two words or nouns of the product: {share:.0%}",
        f"class names twice: {len(repeated_classes(folder))}; empty suffixes: {len(empty_suffixes(folder))}",
        f"uses of {', '.join(FILLERS)}: {len(fillers(folder))}; persons in prose: {len(riddles(folder))}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGE)
