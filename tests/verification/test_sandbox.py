"""Copies of folders to run in, and which files around them belong to a notebook."""

from __future__ import annotations

from pathlib import Path

from jupyter_pipelines.verification.sandbox import nearby_files, sandbox


def test_what_is_written_in_a_copy_leaves_the_folder_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "a.csv").write_text("a")
    with sandbox(home) as copy:
        (copy / "a.csv").write_text("b")
        assert (copy / ".." / "home" / "a.csv").read_text() == "a"
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert (home / "a.csv").read_text() == "a"


def test_files_of_the_project_are_given_and_those_of_the_machine_are_not(tmp_path: Path) -> None:
    folder = tmp_path / "one" / "two" / "three"
    (folder / "data").mkdir(parents=True)
    for path in ("one/two/three/data/a.csv", "one/b.csv", "c.csv", "one/two/three/module.py"):
        (tmp_path / path).write_text("x")
    paths = [*map(str, tmp_path.rglob("*")), str(folder / "gone.csv")]
    assert nearby_files(paths, folder) == {"data/a.csv", "../../b.csv"}
