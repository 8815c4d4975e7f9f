"""A folder as an input: what programs put beside a user's files does not count, and a reason names the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.notebook_project import NotebookProject

CLUTTER = (
    ".DS_Store", "._a.csv", "Thumbs.db", "desktop.ini", "a.csv~", ".a.csv.swp", ".a.csv.swo", "#a.csv#", "~$x.xlsx",
    ".~lock.x.ods#", "deep/.DS_Store", ".ipynb_checkpoints/a-checkpoint.csv",
)  # fmt: skip
COUNTED = (".hidden", "a.csv.bak", "swp", "tilde~x", "lock#", "Thumbs.db.csv")


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("%%step load -i raw=data -o n", "n = sum(len(f.read_text()) for f in raw.rglob('*.csv'))"),
        ("%%step load -o n", "import pathlib\nn = [f.read_text() for f in pathlib.Path('data').glob('*.csv')]"),
        ("%%step load -o n", "import os\nn = len([name for name in os.listdir('data') if name.endswith('.csv')])"),
    ],
    ids=["declared", "read", "listed"],
)
def test_clutter_does_not_count_and_the_reason_names_the_file(book: NotebookProject, header: str, code: str) -> None:
    data = book.folder / "data"
    (data / "deep").mkdir(parents=True)
    for name in ("a.csv", "b.csv", "deep/c.csv"):
        (data / name).write_text(name)
    book.write(f"{header}\n{code}")
    assert book.run().code == 0
    for name in CLUTTER:
        (data / name).parent.mkdir(exist_ok=True)
        (data / name).write_text("x")
    (data / ".#b.csv").symlink_to("user@host.1:2")
    assert book.plan().reasons == {"load": "unchanged"}
    (data / "d.csv").write_text("d")
    answer = book.plan()
    assert answer.reasons["load"] in ("input", "file")
    if "-i" in header:
        (data / "a.csv").write_text("changed")
        (data / "deep" / "c.csv").unlink()
        (text,) = [reason["text"] for reason in book.plan().steps("reason").values()]
        files = "`a.csv` changed, `d.csv` was added, `deep/c.csv` was removed"
        assert text == f"input file `raw` (data) changed: {files}"


def test_what_only_looks_like_clutter_counts(book: NotebookProject) -> None:
    data = book.folder / "data"
    data.mkdir()
    (data / "a.csv").write_text("a")
    book.write("%%step load -i raw=data -o n\nn = len(list(raw.iterdir()))")
    assert book.run().code == 0
    for name in COUNTED:
        (data / name).write_text("x")
        (text,) = [reason["text"] for reason in book.plan().steps("reason").values()]
        assert text == f"input file `raw` (data) changed: `{name}` was added"
        (data / name).unlink()
    # A record that is older than the files it names says so in general.
    for path in Path(book.folder, ".pipelines", "records").rglob("*.json"):
        assert json.loads(path.read_text())["record"]["folders"]["raw"].keys() == {"a.csv"}


def test_what_looks_like_clutter_counts_once_a_step_has_read_it(book: NotebookProject) -> None:
    data = book.folder / "data"
    data.mkdir()
    for name in ("a.csv", "a.csv~"):
        (data / name).write_text("1")
    read = "sorted(file.read_text() for file in {}.iterdir())"
    undeclared = read.format("Path('data')")
    book.write(
        f"%%step undeclared -o n\nfrom pathlib import Path\nn = {undeclared}",
        f"%%step declared -i raw=data -o m\nm = {read.format('raw')}",
    )
    assert book.run().code == 0
    assert set(book.plan().reasons.values()) == {"unchanged"}
    (data / "a.csv~").write_text("2")
    assert book.plan().reasons == {"undeclared": "file", "declared": "file"}
