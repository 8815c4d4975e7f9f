"""What counts as a change and what does not: a reused result is never wrong, and nothing is computed for nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.notebook_project import NotebookProject, make_cell

CELLS = (
    "#md # A small pipeline that reaches everything a step can reach",
    "%load_ext jupyter_pipelines",
    "import stamped\nfrom scaling import scale",
    'def inner(x):\n    """Docs."""\n    return x + OFFSET   # a comment\n\n\ndef unreached():\n    return 1',
    "def helper(rows):\n    return [inner(row) for row in rows]",
    "OFFSET = 1",
    "%%params\nfactor: int = 2\nfloor: int = 0",
    "print('exploration')",
    "%%step load -i raw=data.txt -o rows\nrows = [int(word) for word in raw.read_text().split()]",
    "%%step clean -i rows -o cleaned -p floor\ncleaned = [max(row, floor) for row in helper(rows)]",
    "%%step total -i cleaned -o result -p factor\nresult = scale(sum(cleaned)) * factor",
    "%%step stamp -o seen\nseen = stamped.VALUE",
)
OUTPUTS = ("load.rows", "clean.cleaned", "total.result", "stamp.seen")


def build(folder: Path) -> NotebookProject:
    """Make the project: notebook, data, modules of its own, and an installed package with a version."""
    site = folder / "site"
    (site / "stamped").mkdir(parents=True)
    (site / "stamped" / "__init__.py").write_text("VALUE = 1\n")
    book = NotebookProject(folder / "project", environment={"PYTHONPATH": str(site)}).write(*CELLS)
    (book.folder / "pyproject.toml").write_text("")
    (book.folder / "data.txt").write_text("1 2 3\n")
    (book.folder / "scaling.py").write_text("from depth import TEN\n\n\ndef scale(x):\n    return x * TEN\n")
    (book.folder / "depth.py").write_text("TEN = 10\n")
    install(book, "1.0")
    return book


def install(book: NotebookProject, version: str) -> None:
    """Install `stamped` in `version`."""
    site = book.folder.parent / "site"
    for old in site.glob("stamped-*.dist-info"):
        shutil.rmtree(old)
    info = site / f"stamped-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: stamped\nVersion: {version}\n")
    (info / "top_level.txt").write_text("stamped\n")
    (info / "RECORD").write_text("stamped/__init__.py,,\n")


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> NotebookProject:
    """The project after its first run."""
    book = build(tmp_path_factory.mktemp("computed"))
    answer = book.run()
    assert answer.code == 0, answer.err
    assert set(answer.reasons.values()) == {"never-run"}
    return book


@pytest.fixture
def project(computed: NotebookProject, tmp_path: Path) -> NotebookProject:
    """A copy of the computed project, to be edited."""
    shutil.copytree(computed.folder.parent, tmp_path / "copy")
    folder = tmp_path / "copy" / "project"
    return NotebookProject(folder, environment={"PYTHONPATH": str(tmp_path / "copy" / "site")})


def touch(book: NotebookProject) -> None:
    os.utime(book.path)
    os.utime(book.folder / "scaling.py")
    os.utime(book.folder / "data.txt")


def executed(book: NotebookProject) -> None:
    document = book.read()
    for count, cell in enumerate(cell for cell in document["cells"] if cell["cell_type"] == "code"):
        cell["execution_count"] = count + 7
        cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "something\n"}]
    book.save(document)


def cleared(book: NotebookProject) -> None:
    executed(book)
    document = book.read()
    for cell in document["cells"]:
        if cell["cell_type"] == "code":
            cell.update(execution_count=None, outputs=[])
    book.save(document)


def display_name(book: NotebookProject) -> None:
    document = book.read()
    document["metadata"]["kernelspec"]["display_name"] = "Python 3 (mine)"
    book.save(document)


def markdown(book: NotebookProject) -> None:
    document = book.read()
    document["cells"].insert(2, make_cell("#md some words", 99))
    book.save(document)


def comments(book: NotebookProject) -> None:
    book.edit("# a comment", "# another one")
    book.edit("rows = [int", "# why\nrows = [int")
    (book.folder / "scaling.py").write_text(
        "# new\nfrom depth import TEN\n\n\ndef scale(x):\n    return x * TEN  # here\n"
    )


def docstring(book: NotebookProject) -> None:
    book.edit('"""Docs."""', '"""Other docs."""')


def blackened(book: NotebookProject) -> None:
    book.edit(
        "[int(word) for word in raw.read_text().split()]",
        "[\n    int(word)\n    for word in raw.read_text().split()\n]",
    )
    book.edit("print('exploration')", 'print("exploration")')
    book.edit("[max(row, floor) for row in helper(rows)]", "[max(row, (floor)) for row in helper(\n    rows,\n)]")


def crlf(book: NotebookProject) -> None:
    document = book.read()
    for cell in document["cells"]:
        cell["source"] = "".join(cell["source"]).replace("\n", "\r\n")
    book.save(document)
    depth = book.folder / "depth.py"
    depth.write_bytes(depth.read_bytes().replace(b"\n", b"\r\n"))


def ids(book: NotebookProject) -> None:
    document = book.read()
    for number, cell in enumerate(document["cells"]):
        cell["id"] = f"other{number}"
    book.save(document)


def exploration(book: NotebookProject) -> None:
    book.edit("print('exploration')", "print('more exploration', 42)")


def unreached(book: NotebookProject) -> None:
    book.edit("    return 1", "    return 2")


HARMLESS = (
    touch, executed, cleared, display_name, markdown, comments, docstring, blackened, crlf, ids, exploration, unreached,
)  # fmt: skip


@pytest.mark.parametrize("edit", HARMLESS, ids=lambda edit: edit.__name__)
def test_harmless_edits_keep_every_key(project: NotebookProject, edit: Callable[[NotebookProject], None]) -> None:
    before = project.plan().steps("key")
    edit(project)
    after = project.plan()
    assert after.steps("key") == before
    assert set(after.steps("decision").values()) == {"reuse"}


def same_stat_byte(book: NotebookProject) -> None:
    data = book.folder / "data.txt"
    stat = data.stat()
    data.write_text("1 2 4\n")
    os.utime(data, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def blob_of(book: NotebookProject, name: str) -> Path:
    return Path(book.call("output", name, "--json").document["path"])


def deleted(book: NotebookProject) -> None:
    blob_of(book, "clean.cleaned").unlink()


def damaged(book: NotebookProject) -> None:
    blob = blob_of(book, "clean.cleaned")
    content = bytearray(blob.read_bytes())
    content[1] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(content)
    blob.chmod(0o444)


def step_code(book: NotebookProject) -> None:
    book.edit("max(row, floor)", "max(row, floor) + 1")


def helper_elsewhere(book: NotebookProject) -> None:
    book.edit("[inner(row) for row in rows]", "[inner(row) * 2 for row in rows]")


def helper_of_helper(book: NotebookProject) -> None:
    book.edit("return x + OFFSET", "return x - OFFSET")


def constant(book: NotebookProject) -> None:
    book.edit("OFFSET = 1", "OFFSET = 5")


def local_module(book: NotebookProject) -> None:
    (book.folder / "scaling.py").write_text("from depth import TEN\n\n\ndef scale(x):\n    return x * TEN + 1\n")


def module_of_module(book: NotebookProject) -> None:
    (book.folder / "depth.py").write_text("TEN = 11\n")


def package_version(book: NotebookProject) -> None:
    (book.folder.parent / "site" / "stamped" / "__init__.py").write_text("VALUE = 2\n")
    install(book, "2.0")


REAL = (
    (step_code, (), {"clean": "code", "total": "upstream"}),
    (helper_elsewhere, (), {"clean": "shared-code", "total": "upstream"}),
    (helper_of_helper, (), {"clean": "shared-code", "total": "upstream"}),
    (constant, (), {"clean": "shared-code", "total": "upstream"}),
    (local_module, (), {"total": "module"}),
    (module_of_module, (), {"total": "module"}),
    (lambda book: None, ("-p", "factor=3"), {"total": "parameter"}),
    (same_stat_byte, (), {"load": "input", "clean": "upstream", "total": "upstream"}),
    (package_version, (), {"stamp": "package"}),
    (deleted, (), {"clean": "output-missing"}),
    (damaged, (), {"clean": "output-corrupt"}),
)


@pytest.mark.parametrize(("edit", "options", "expected"), REAL, ids=[
    "step code", "helper", "helper of a helper", "constant", "own module", "module of a module", "parameter",
    "one byte of a file, same size and mtime", "package version", "deleted artifact", "damaged artifact",
])  # fmt: skip
def test_real_changes_rerun_the_right_steps_for_the_right_reason(
    project: NotebookProject,
    tmp_path: Path,
    edit: Callable[[NotebookProject], None],
    options: tuple[str, ...],
    expected: dict[str, str],
) -> None:
    edit(project)
    planned = project.plan(*options)
    changed = {name: reason for name, reason in planned.reasons.items() if planned.steps("decision")[name] != "reuse"}
    direct = {name: reason for name, reason in expected.items() if reason != "upstream"}
    assert {name: changed.get(name) for name in direct} == direct
    assert set(changed) == follow(set(direct))
    ran = project.run(*options)
    assert ran.code == 0, ran.err
    assert {name for name, state in ran.steps("state").items() if state == "succeeded"} == set(expected)
    fresh = ("--store", str(tmp_path / "fresh"))
    assert project.run(*options, *fresh).code == 0
    assert [project.value(name) for name in OUTPUTS] == [project.value(name, *fresh) for name in OUTPUTS]


def follow(names: set[str]) -> set[str]:
    """The steps named and all that come after them."""
    after = {"load": {"clean", "total"}, "clean": {"total"}, "total": set(), "stamp": set()}
    return names.union(*(after[name] for name in names))


def test_a_step_edited_to_the_same_result_leaves_what_follows_reused(project: NotebookProject) -> None:
    project.edit("[max(row, floor) for row in helper(rows)]", "list(max(row, floor) for row in helper(rows))")
    assert project.plan().steps("decision") == {"load": "reuse", "clean": "run", "total": "maybe", "stamp": "reuse"}
    answer = project.run()
    assert answer.steps("state") == {"load": "reused", "clean": "succeeded", "total": "reused", "stamp": "reused"}


def test_a_forced_result_is_reusable_afterwards(project: NotebookProject) -> None:
    assert project.run("--force", "clean").steps("state")["clean"] == "succeeded"
    assert set(project.run().steps("state").values()) == {"reused"}


def test_a_moved_project_keeps_its_results(project: NotebookProject) -> None:
    moved = project.folder.with_name("elsewhere")
    project.folder.rename(moved)
    book = NotebookProject(moved, environment=project.environment)
    book.path.rename(moved / "other.ipynb")
    assert set(NotebookProject(moved, "other.ipynb", project.environment).plan().steps("decision").values()) == {
        "reuse"
    }


def test_what_is_loaded_is_what_the_last_run_left(book: NotebookProject) -> None:
    book.write("%%params\nn: int = 1", "%%step a -o x -p n\nx = n", "%%step b -i x -o y\ny = x + 1")
    for options, expected in (((), 2), (("-p", "n=5"), 6), ((), 2)):
        assert book.run(*options).code == 0
        assert book.value("b.y") == expected
    book.edit("y = x + 1", "y = x + 100")
    answer = book.call("output", "b.y")
    assert answer.out.strip() == "2"
    assert "would compute it again" in answer.err
    book.edit("y = x + 100", "y = x + 1")
    book.edit("%%step b", "%%step renamed")
    assert set(book.run().steps("state").values()) == {"reused"}
    assert book.value("renamed.y") == 2
    assert book.call("output", "renamed.y").err == ""
