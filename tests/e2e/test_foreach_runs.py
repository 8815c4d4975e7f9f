"""A step over many items, as a user has it: what runs again, what later steps get, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.notebook_project import CommandResult, NotebookProject

LOAD = "%%step load -o X\nX = [1, 2, 3]"
FIT = "%%step fit -i X --foreach depth=2,4,8 -o model\nmodel = [depth * x for x in X]"
BEST = "%%step best -i model -o top\ntop = [(key['depth'], sum(one)) for key, one in zip(model.keys, model)]"


@pytest.fixture
def book(tmp_path: Any) -> NotebookProject:
    (tmp_path / "pyproject.toml").write_text("")
    return NotebookProject(tmp_path)


def ran(answer: CommandResult) -> set[str]:
    """The steps that a run computed."""
    return {name for name, state in answer.steps("state").items() if state == "succeeded"}


def value(book: NotebookProject, name: str) -> str:
    return book.call("output", name).out.strip()


def test_each_item_is_computed_once_and_gathered_in_order(book: NotebookProject) -> None:
    first = book.write(LOAD, FIT, BEST).run()
    assert first.code == 0
    assert ran(first) == {"load", "fit[depth=2]", "fit[depth=4]", "fit[depth=8]", "fit", "best"}
    assert value(book, "best.top") == "[(2, 12), (4, 24), (8, 48)]"
    assert value(book, "fit.model") == "[[2, 4, 6], [4, 8, 12], [8, 16, 24]]"
    items = {step["name"]: step.get("item") for step in first.document["steps"]}
    assert items["fit[depth=4]"] == {"of": "fit", "values": {"depth": 4}}
    assert ran(book.run()) == set()

    book.edit("2,4,8", "2,4,8,16")
    assert ran(book.run()) == {"fit[depth=16]", "fit", "best"}
    book.edit("2,4,8,16", "2,8,16")
    assert ran(book.run()) == {"fit", "best"}
    assert value(book, "best.top") == "[(2, 12), (8, 48), (16, 96)]"
    book.edit("2,8,16", "16,8,2")
    assert ran(book.run()) == {"fit", "best"}, "another order is another list"
    assert value(book, "best.top") == "[(16, 96), (8, 48), (2, 12)]"
    assert value(book, "fit[depth=8].model") == "[8, 16, 24]"

    forced = book.call("plan", "--json", "--force", "fit[depth=8]").steps("decision")
    assert forced == {"load": "reuse", "fit[depth=16]": "reuse", "fit[depth=8]": "run", "fit[depth=2]": "reuse",
                      "fit": "maybe", "best": "maybe"}  # fmt: skip
    forced = book.call("plan", "--json", "--force", "fit").steps("decision")
    assert [name for name, decision in forced.items() if decision == "run"] == [
        "fit[depth=16]", "fit[depth=8]", "fit[depth=2]", "fit"]  # fmt: skip
    assert book.call("plan", "--json", "--only", "fit").steps("decision") == {
        "load": "skip", "fit[depth=16]": "reuse", "fit[depth=8]": "reuse", "fit[depth=2]": "reuse", "fit": "reuse",
        "best": "skip"}  # fmt: skip
    assert book.call("why", "--json", "fit[depth=8]").reasons == {"fit[depth=8]": "unchanged"}
    unknown = book.call("why", "fit[depth=3]")
    assert (unknown.code, "JP603" in unknown.err) == (2, True)
    unknown = book.call("output", "fit[depth=3].model")
    assert (unknown.code, "JP603" in unknown.err, "write `'fit[depth=" in unknown.err) == (2, True, True)
    book.edit("16,8,2", "16,8,2,3")
    absent = book.call("output", "fit[depth=3].model")
    assert (absent.code, "JP405" in absent.err, "--to 'fit[depth=3]'" in absent.err) == (2, True, True)


def test_files_of_a_folder_count_one_by_one(book: NotebookProject) -> None:
    parts = book.folder / "parts"
    parts.mkdir()
    for name in "cab":
        (parts / f"{name}.csv").write_text(name)
    (parts / ".hidden").write_text("no")
    book.write(
        "%%step size --foreach part=parts/ -o letters copy:file box:folder\n"
        "letters = part.read_text() * 2\ncopy.write_text(letters)\n(box / part.name).write_text(letters)",
        "%%step all -i letters copy box -o told\n"
        "told = [list(letters.items()), [one.read_text() for one in copy], [len(list(one.iterdir())) for one in box]]",
    )
    assert book.run().code == 0
    assert value(book, "all.told") == (
        "[[('parts/a.csv', 'aa'), ('parts/b.csv', 'bb'), ('parts/c.csv', 'cc')], ['aa', 'bb', 'cc'], [1, 1, 1]]"
    )
    (parts / "b.csv").write_text("x")
    assert ran(book.run()) == {"size[part=b.csv]", "size", "all"}
    (parts / "d.csv").write_text("d")
    assert ran(book.run()) == {"size[part=d.csv]", "size", "all"}
    (parts / "a.csv").unlink()
    assert ran(book.run()) == {"size", "all"}
    book.edit("parts/ ", "parts/[bc].csv ")
    assert ran(book.run()) == {"size", "all"}
    assert value(book, "size.letters") == "['xx', 'cc']"


def test_equal_files_of_several_folders_are_not_one_item(book: NotebookProject) -> None:
    for name in ("north", "south"):
        (book.folder / "data" / name).mkdir(parents=True)
        (book.folder / "data" / name / "sales.csv").write_text("1")
    book.write(
        "%%step read --foreach part=data/*/sales.csv -o row\nrow = (part.parent.name, part.read_text())",
        "%%step all -i row -o told\ntold = list(row)",
    )
    assert book.run().code == 0
    assert value(book, "all.told") == "[('north', '1'), ('south', '1')]"
    bare = book.call("output", "read[part=sales.csv]")
    assert bare.code == 2
    assert "`read[part=sales.csv]` is a step, and no output of one" in bare.err
    assert "write `'read[part=sales.csv].row'`" in bare.err


def test_files_named_as_values_count_by_their_content(book: NotebookProject) -> None:
    for name in ("a", "b"):
        (book.folder / f"{name}.csv").write_text(name)
    book.write(
        "%%step read --foreach part=a.csv,b.csv -o text\ntext = open(part).read()",
        "%%step all -i text -o told\ntold = list(text)",
    )
    assert book.run().code == 0
    assert ran(book.run()) == set()
    (book.folder / "b.csv").write_text("other")
    assert ran(book.run()) == {"read[part=b.csv]", "read", "all"}
    assert value(book, "all.told") == "['a', 'other']"


def test_a_grid_of_parameters_and_values(book: NotebookProject) -> None:
    book.write(
        "%%params\ndepths: list[int] = [1, 2]",
        "%%step fit --foreach depth=depths --foreach rate=0.1,1 --at-once 1 -o model\nmodel = depth * rate",
        "%%step best -i model -o top\ntop = model.of(depth=2, rate=0.1), list(model.where(depth=1))",
    )
    first = book.run()
    assert list(first.steps("state"))[:4] == [
        "fit[depth=1,rate=0.1]", "fit[depth=1,rate=1.0]", "fit[depth=2,rate=0.1]", "fit[depth=2,rate=1.0]"]  # fmt: skip
    assert value(book, "best.top") == "(0.2, [0.1, 1.0])"
    more = book.run("-p", "depths=[1, 2, 3]")
    assert ran(more) == {"fit[depth=3,rate=0.1]", "fit[depth=3,rate=1.0]", "fit", "best"}
    assert book.call("plan", "-p", "depths=[]").code == 2


FRAIL = (
    "%%params\nbad: int = 4",
    "%%step fit -p bad --foreach depth=2,4,8 --allow-failed 1 -o model\nassert depth != bad\nmodel = depth",
    "%%step best -i model -o top\ntop = list(model), model.failed",
)


def test_allowed_failures_are_said_and_never_reused_as_results(book: NotebookProject) -> None:
    first = book.write(*FRAIL).run()
    assert (first.code, first.document["state"]) == (0, "succeeded")
    states = first.steps("state")
    assert (states["fit[depth=4]"], states["fit"], states["best"]) == ("failed", "succeeded", "succeeded")
    (fit,) = [step for step in first.document["steps"] if step["name"] == "fit"]
    assert [warning["code"] for warning in fit["warnings"]] == ["JP312"]
    assert value(book, "best.top") == "([2, 8], [{'depth': 4}])"

    again = book.run()
    assert again.steps("state") == {
        "fit[depth=2]": "reused", "fit[depth=4]": "failed", "fit[depth=8]": "reused", "fit": "reused", "best": "reused"
    }, "what failed is tried each time; the same that succeeded is the same input"  # fmt: skip
    assert "JP312" in again.err

    mended = book.run("-p", "bad=5")
    assert mended.steps("state")["best"] == "succeeded"
    assert value(book, "best.top") == "([2, 4, 8], [])"


def test_more_failures_than_allowed_stop_the_run(book: NotebookProject) -> None:
    book.write(*FRAIL)
    book.edit("assert depth != bad", "assert depth == bad")
    answer = book.run("--jobs", "1")
    states = answer.steps("state")
    assert (answer.code, states["fit"], states["best"]) == (1, "blocked", "blocked")
    assert [state for name, state in states.items() if "[" in name].count("failed") == 2


def test_a_failure_elsewhere_does_not_make_a_list_with_holes(book: NotebookProject) -> None:
    """Items that never ran are not items that failed."""
    book.write(*FRAIL, "%%step other -o late\nlate = 1 / 0")
    answer = book.run("--jobs", "1", "-p", "bad=9")
    document = {step["name"]: step for step in answer.document["steps"]}
    assert answer.code == 1
    done = [name for name in document if "[" in name and document[name]["state"] == "succeeded"]
    assert document["fit"]["state"] == ("succeeded" if len(done) == 3 else "skipped")
    assert book.run("-p", "bad=9", "--only", "fit").steps("state")["fit"] in ("succeeded", "reused")
    assert value(book, "fit.model") == "[2, 4, 8]"


def test_an_item_that_is_gone_from_the_store_is_computed_again(book: NotebookProject) -> None:
    book.write(LOAD, FIT, BEST).run()
    (item,) = [step for step in book.run().document["steps"] if step["name"] == "fit[depth=4]"]
    digest = item["outputs"]["model"]["digest"].partition(":")[2]
    (blob,) = (book.folder / ".pipelines" / "blobs").rglob(f"*{digest}*")
    blob.unlink()
    assert book.call("run", "--only", "best").code == 2
    assert ran(book.run()) == {"fit[depth=4]"}, "the same bytes: nothing behind it runs"
    assert value(book, "best.top") == "[(2, 12), (4, 24), (8, 48)]"
    assert book.call("fsck").code == 0
    assert book.call("gc", "--older-than", "0").code == 0
    assert ran(book.run()) == set()


def test_a_consumer_that_changes_the_list_is_told(book: NotebookProject) -> None:
    answer = book.write(LOAD, FIT, "%%step best -i model -o top\nmodel[0].append(9)\ntop = 1").call("run")
    assert answer.code != 0
    assert "JP212" in answer.err or "JP307" in answer.err


def test_sixty_items(book: NotebookProject) -> None:
    numbers = ",".join(map(str, range(60)))
    book.write(
        f"%%step fit --foreach n={numbers} -o square\nsquare = n * n",
        "%%step total -i square -o all\nall = sum(square)",
    )
    first = book.run()
    assert first.code == 0
    assert len(ran(first)) == 62
    assert value(book, "total.all") == str(sum(n * n for n in range(60)))
    text = book.call("run").out
    assert "fit[n=" not in text
    assert "60 items: all reused" in text
