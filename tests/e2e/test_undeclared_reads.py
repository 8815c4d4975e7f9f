"""Files that a step reads without declaring them."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing

import pytest

from tests.e2e.notebook_project import NotebookProject


def test_a_file_that_is_read_by_its_name_counts(book: NotebookProject) -> None:
    book.write("DATA = 'data.txt'", "def load():\n    return open(DATA).read()", "%%step a -o x\nx = load()")
    (book.folder / "data.txt").write_text("1")
    assert book.run().code == 0
    assert book.plan().steps("decision") == {"a": "reuse"}
    (book.folder / "data.txt").write_text("2")
    planned = book.plan()
    assert planned.reasons == {"a": "input"}
    assert "data.txt" in planned.steps("reason")["a"]["text"]
    assert book.run().steps("state") == {"a": "succeeded"}
    assert book.value("a.x") == "2"


def test_a_file_that_is_written_does_not(book: NotebookProject) -> None:
    book.write("%%step a -o x\nwith open('log.txt', 'a') as log:\n    print('more', file=log)\nx = 1")
    assert book.run().steps("state") == {"a": "succeeded"}
    assert book.run().steps("state") == {"a": "reused"}


def test_two_notebooks_with_files_of_one_name_do_not_share_results(book: NotebookProject) -> None:
    values = []
    for name in ("one", "two"):
        other = NotebookProject(book.folder / name).write("%%step a -o x\nx = open('data.txt').read()")
        (other.folder / "data.txt").write_text(name)
        assert other.run().code == 0
        values.append(other.value("a.x"))
    assert values == ["one", "two"]


@pytest.mark.parametrize(
    "code",
    [
        "x = open(path).read()",
        "x = load(path)",
        "x = [file.read_text() for file in sorted(Path(folder).glob('*.txt'))]",
        "x = [open(os.path.join(folder, name)).read() for name in sorted(os.listdir(folder))]",
        "x = open(f'{folder}/{number}.txt').read()",
        "x = {name: (Path('data') / f'{name}.txt').read_text() for name in names}",
    ],
)
def test_a_file_that_a_parameter_names_counts(book: NotebookProject, code: str) -> None:
    """Its content, whatever the code makes of the name; another file of that name is another result."""
    book.write(
        "%%params\npath: str = 'data/1.txt'\nfolder: str = 'data'\nnumber: int = 1\nnames: list = ['1']",
        "import os\nfrom pathlib import Path",
        "def load(file):\n    with open(file) as opened:\n        return opened.read()",
        f"%%step a -o x\n{code}",
    )
    file = book.folder / "data" / "1.txt"
    file.parent.mkdir()
    values = []
    for text in ("one", "two"):
        file.write_text(text)
        assert book.run().steps("state") == {"a": "succeeded"}
        assert book.run().steps("state") == {"a": "reused"}
        values.append(json.dumps(book.value("a.x")))
    assert [text in value for text, value in zip(("one", "two"), values, strict=True)] == [True, True]
    file.write_text("one")
    assert book.plan().steps("decision") == {"a": "reuse"}
    file.unlink()
    assert book.plan().reasons == {"a": "input"}


def test_a_file_that_comes_into_a_folder_counts_where_it_is_looked_for(book: NotebookProject) -> None:
    book.write(
        "import glob, os",
        "%%step some -o x\nx = sorted(glob.glob('data/*.csv'))",
        "%%step all -o y\ny = sorted(os.listdir('data'))",
        "%%step here -o z\nz = len(os.listdir('.'))",
        "%%step made -o w\nos.makedirs('out', exist_ok=True)\nopen('out/a', 'w').close()\nw = os.listdir('out')",
    )
    (book.folder / "data").mkdir()
    (book.folder / "data" / "a.csv").touch()
    assert book.run().code == 0
    assert book.run().code == 0  # `here` counts the folder that `made` has made meanwhile
    assert set(book.run().steps("state").values()) == {"reused"}
    (book.folder / "data" / "notes.txt").touch()
    assert [name for name, decision in book.plan().steps("decision").items() if decision == "run"] == ["all"]
    (book.folder / "data" / "b.csv").touch()
    assert [name for name, decision in book.plan().steps("decision").items() if decision == "run"] == ["some", "all"]
    assert book.run().code == 0
    assert book.value("some.x") == ["data/a.csv", "data/b.csv"]


def test_a_folder_with_links_that_lead_nowhere_counts(book: NotebookProject) -> None:
    book.write("import os", "%%step a -o x\nx = [open('data/a').read(), *sorted(os.listdir('data'))]")
    (book.folder / "data").mkdir()
    (book.folder / "data" / "a").write_text("1")
    (book.folder / "data" / "gone").symlink_to("/nowhere")
    (book.folder / "data" / "back").symlink_to("..")
    os.mkfifo(book.folder / "data" / "pipe")
    assert book.run().code == 0
    assert book.run().steps("state") == {"a": "reused"}
    (book.folder / "data" / "more").touch()
    assert book.plan().reasons == {"a": "input"}
    (book.folder / "data" / "more").unlink()
    assert book.plan().steps("decision") == {"a": "reuse"}
    (book.folder / "data" / "gone").unlink()
    assert book.plan().reasons == {"a": "input"}


def test_items_read_the_files_that_they_name(book: NotebookProject) -> None:
    book.write("%%step a --foreach year=2020,2021 -o x\nx = open(f'data/{year}.txt').read()")
    (book.folder / "data").mkdir()
    for year in ("2020", "2021"):
        (book.folder / "data" / f"{year}.txt").write_text(year)
    assert book.run().code == 0
    (book.folder / "data" / "2021.txt").write_text("another")
    decisions = book.plan().steps("decision")
    assert (decisions["a[year=2020]"], decisions["a[year=2021]"]) == ("reuse", "run")


def test_a_file_that_the_step_itself_changes_runs_it_again(book: NotebookProject) -> None:
    code = "from pathlib import Path\nx = Path(path).read_text()\nPath(path).open('a').write('2')"
    book.write("%%params\npath: str = 'data.txt'", f"%%step a -o x\n{code}")
    (book.folder / "data.txt").write_text("1")
    for seen in ("1", "12"):
        assert book.run().steps("state") == {"a": "succeeded"}
        assert book.value("a.x") == seen


def test_a_database_counts_for_the_steps_that_query_it(book: NotebookProject) -> None:
    """The step that fills it, too: what it wrote is there again in the end."""
    fill = "    shop.execute('DROP TABLE IF EXISTS sold')\n    shop.execute('CREATE TABLE sold (what TEXT)')\n"
    fill += "    shop.execute(\"INSERT INTO sold VALUES ('tea')\")"
    ask = (
        "rows = sqlite3.connect('shop.db').execute('SELECT what FROM sold').fetchall()\nsold = [row[0] for row in rows]"
    )
    book.write(
        "import sqlite3",
        f"%%step fill -o n\nwith sqlite3.connect('shop.db') as shop:\n{fill}\nn = 1",
        f"%%step ask --after fill -o sold\n{ask}",
    )
    assert book.run().code == 0
    assert set(book.run().steps("state").values()) == {"reused"}
    with closing(sqlite3.connect(book.folder / "shop.db")) as shop, shop:
        shop.execute("INSERT INTO sold VALUES ('milk')")
    assert book.plan().reasons["fill"] == "output-missing"
    assert book.run().code == 0
    assert book.value("ask.sold") == ["tea"]
    book.write("import sqlite3", f"%%step ask -o sold\n{ask}")
    assert book.run().code == 0
    with closing(sqlite3.connect(book.folder / "shop.db")) as shop, shop:
        shop.execute("INSERT INTO sold VALUES ('milk')")
    assert book.run().steps("state") == {"ask": "succeeded"}
    assert book.value("ask.sold") == ["tea", "milk"]


@pytest.mark.parametrize("place", ["shop.db", "elsewhere", "link.db"])
@pytest.mark.parametrize("close", ["; shop.close()", ""], ids=["closed", "left open"])
def test_what_stands_in_the_log_of_a_database_counts(book: NotebookProject, place: str, close: str) -> None:
    path = (book.folder if place == "shop.db" else book.folder.parent) / "shop.db"
    book.folder.mkdir(exist_ok=True)
    (book.folder / "link.db").symlink_to(path)
    with closing(sqlite3.connect(path)) as shop, shop:
        shop.execute("PRAGMA journal_mode=WAL")
        shop.execute("CREATE TABLE sold (what TEXT)")
    name = str(path) if place == "elsewhere" else place
    ask = f"shop = sqlite3.connect({name!r}); n = len(shop.execute('SELECT what FROM sold').fetchall()){close}"
    book.write("import sqlite3", f"%%step ask -o n\n{ask}")
    assert book.run().code == 0
    assert book.run().steps("state") == {"ask": "reused"}
    with closing(sqlite3.connect(path)) as shop:
        for count in (1, 2):
            with shop:
                shop.execute("INSERT INTO sold VALUES ('milk')")
            assert path.with_name("shop.db-wal").stat().st_size > 0
            assert book.run().steps("state") == {"ask": "succeeded"}
            assert book.value("ask.n") == count
