"""Which files code reads when its parameters have values, and what of them counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines.pipeline.foreach import ForeachItem
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.path_templates import JOINT, MAX_LENGTH
from jupyter_pipelines.pipeline.step import Step
from jupyter_pipelines.planning.undeclared_files import digest_of, files_at, with_files_read


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    for name in ("book.ipynb", "a.csv", "b.csv", "[c].csv", ".hidden.csv"):
        (tmp_path / name).write_text(name)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").touch()
    return Pipeline(notebook=tmp_path / "book.ipynb", folder=tmp_path, root=tmp_path, steps=())


@pytest.mark.parametrize(
    ("template", "value", "paths"),
    [
        ("{x}", "a.csv", ["a.csv"]),
        ("{x}", ["a.csv", "b.csv"], ["a.csv", "b.csv"]),
        ("{x}", {"train": "a.csv"}, ["train", "a.csv"]),
        ("{x}", None, []),
        ("{x}", 3, ["3"]),
        ("{x}", "{y}", ["{y}"]),
        ("{x}", "s3://bucket/a.csv", []),
        ("{x}", "a\0b", []),
        ("{x}", "/proc/meminfo", []),
        ("{x}", "", []),
        ("{{x}}/{x}", "a", ["{x}/a"]),
        (f"{{x}}{JOINT}a.csv", "data/", ["data/a.csv"]),
        (f"data{JOINT}{{x}}", "/a.csv", ["/a.csv"]),
        ("{y}/{x}", "a", []),
    ],
)
def test_values_make_paths(template: str, value: Any, paths: list[str]) -> None:
    resolved = with_files_read(Step(name="a", cells=(), files=("own",), templates=(template,)), {"x": value})
    assert (list(resolved.files), resolved.templates) == (["own", *paths], ())


def test_an_item_has_its_own_value() -> None:
    item = ForeachItem(group="a", values=(("x", "b"),))
    step = Step(name="a[x=b]", cells=(), templates=("{x}.csv",), item=item)
    assert with_files_read(step, {"x": "a"}).files == ("b.csv",)


def test_values_without_end_are_cut() -> None:
    step = Step(name="a", cells=(), templates=("{x}{x}{x}",))
    assert len(with_files_read(step, {"x": [str(number) for number in range(5000)]}).files) == MAX_LENGTH


@pytest.mark.parametrize(
    ("path", "files"),
    [
        ("a.csv", ["a.csv"]),
        ("gone.csv", ["gone.csv"]),
        ("*.csv", ["[c].csv", "a.csv", "b.csv"]),
        ("**/*.csv", ["[c].csv", "a.csv", "b.csv", "data/a.csv"]),
        ("[c].csv", ["[c].csv"]),
        ("book.*", []),
        ("x*", []),
        (".", []),
        ("..", []),
        ("data/..", []),
        ("data", ["data"]),
    ],
)
def test_a_path_means_what_is_there(pipeline: Pipeline, path: str, files: list[str]) -> None:
    assert files_at(pipeline, path) == files


def test_of_a_pattern_names_and_contents_count(pipeline: Pipeline) -> None:
    def digest() -> str:
        return digest_of(pipeline, "*.csv", Path.read_text)

    (pipeline.folder / "b.csv").write_text("x")
    before = digest()
    assert digest() == before
    (pipeline.folder / "b.csv").rename(pipeline.folder / "d.csv")
    renamed = digest()
    (pipeline.folder / "d.csv").write_text("y")
    assert len({before, renamed, digest()}) == 3
    with pytest.raises(FileNotFoundError):
        digest_of(pipeline, "*.parquet", Path.read_text)


def test_of_a_folder_that_cannot_be_read_as_a_whole_each_part_counts(pipeline: Pipeline) -> None:
    def digest(path: Path) -> str:
        if path.is_dir() or path.name == "a.csv":
            raise PermissionError(path)
        return path.read_text()

    digests = [digest_of(pipeline, "data", digest)]
    (pipeline.folder / "data" / "sub").mkdir()
    digests.append(digest_of(pipeline, "data", digest))
    (pipeline.folder / "data" / "sub" / "b.csv").write_text("1")
    digests.append(digest_of(pipeline, "data", digest))
    (pipeline.folder / "data" / "sub" / "b.csv").write_text("2")
    digests.append(digest_of(pipeline, "data", digest))
    assert len(set(digests)) == len(digests)
    with pytest.raises(PermissionError):
        digest_of(pipeline, "a.csv", digest)
