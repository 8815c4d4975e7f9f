"""A pipeline on a real Ray cluster: two nodes of two kinds, which share nothing with the run but the store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.notebook_project import NotebookProject
from tests.e2e.remote_runs import check_traces, held, wait_for, with_words
from tests.execution.ray_cluster import RayCluster, ray_cluster
from tests.waiting import PATIENCE

pytestmark = pytest.mark.cluster
PLAIN = "--num-cpus 2"
LARGE = "--num-cpus 4 --num-gpus 2"
SEES = "%%step {name} {options} -o {name}\nimport os\n{name} = os.environ.get('CUDA_VISIBLE_DEVICES')"
MEET = (
    "%%step {name} --gpus 1 -o {name}\nimport os, pathlib, time\nfolder = pathlib.Path({folder!r})\n"
    "(folder / '{name}').touch()\nend = time.monotonic() + 600\n"
    "while not (folder / '{other}').exists():\n    assert time.monotonic() < end\n    time.sleep(0.01)\n"
    "{name} = os.environ.get('CUDA_VISIBLE_DEVICES')"
)


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    """A plain node, with the head, and a large one."""
    with ray_cluster(tmp_path_factory.mktemp("rays"), PLAIN, LARGE) as made:
        yield made


def on(cluster: RayCluster, book: NotebookProject) -> str:
    """Give a notebook what it needs to be let in; return the option that leads there."""
    book.environment |= cluster.environment
    return f"--on=ray:{cluster.address}"


def test_the_results_are_those_of_a_local_run(book: NotebookProject, two_nodes: RayCluster, tmp_path: Path) -> None:
    where, words = on(two_nodes, book), with_words(book)
    here = words.run("--store", str(tmp_path / "here"))
    assert here.code == 0, here.err
    there = words.run("--store", str(tmp_path / "there"), where)
    assert there.code == 0, there.err
    assert there.steps("outputs") == here.steps("outputs")
    assert there.steps("key") == here.steps("key")
    for notebook in map(Path, there.steps("notebook").values()):
        text = notebook.read_text()
        assert '"completed"' in text
        assert ".parcel" not in text
    assert "counted" in notebook.with_suffix(".log").read_text()
    again = words.run("--store", str(tmp_path / "there"), where)
    assert set(again.steps("state").values()) == {"reused"}


def test_traces_come_home(book: NotebookProject, two_nodes: RayCluster, tmp_path: Path) -> None:
    check_traces(book, on(two_nodes, book), tmp_path)


def test_steps_see_the_gpus_that_were_chosen_for_them_and_no_others(
    book: NotebookProject, two_nodes: RayCluster, tmp_path: Path
) -> None:
    """Two at once see different ones; what runs after them in the same processes sees none."""
    pairs = (("one", "other"), ("other", "one"))
    after = {"a": "-i one other --cpus 4", "b": "-i one other --cpus 4", "plain": "-i a b", "both": "--gpus 2"}
    book.write(
        *(MEET.format(name=name, other=other, folder=str(tmp_path)) for name, other in pairs),
        *(SEES.format(name=name, options=options) for name, options in after.items()),
    )
    answer = book.run(on(two_nodes, book))
    assert answer.code == 0, answer.err
    seen = {name: book.value(f"{name}.{name}") for name in ("one", "other", *after)}
    assert {seen["one"], seen["other"]} == {"0", "1"}
    assert sorted(seen["both"].split(",")) == ["0", "1"]
    assert (seen["a"], seen["b"], seen["plain"]) == ("", "", "")


def test_a_demand_that_no_node_meets_is_refused_with_what_they_offer(
    book: NotebookProject, two_nodes: RayCluster
) -> None:
    book.write("%%step a --gpus 9 -o x\nx = 1", "%%step b --cpus 5 -o y\ny = 1")
    answer = book.run(on(two_nodes, book))
    assert answer.code == 2
    faults = [fault["message"] for fault in answer.document["faults"] if fault["code"] == "JP604"]
    assert "step `a` asks for 9 gpus, and there are 2 gpus" in faults
    assert "step `b` asks for 5 cpus, and there are 4 cpus" in faults
    assert "4 cpus, 2 gpus" in answer.err
    assert not (book.folder / ".pipelines" / "runs").exists()


def test_a_node_is_killed_while_it_runs_a_step(book: NotebookProject, two_nodes: RayCluster, tmp_path: Path) -> None:
    """The step asks for one GPU: the node that is added has least of what is rare, and gets it."""
    folder, where = held(book, tmp_path), on(two_nodes, book)
    book.edit("%%step hold", "%%step hold --gpus 1")
    victim = two_nodes.add("--num-cpus 1 --num-gpus 1")
    running = book.start("run", "--json", where)
    wait_for(folder / "started", "x")
    two_nodes.kill(victim)
    out, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 1, err
    assert "JP308" in out
    assert "the Ray worker" in err
    assert "Traceback" not in err
    (folder / "go").touch()
    again = book.run(where)
    assert again.code == 0, again.err
    assert book.value("after.y") == 2
    assert (folder / "started").read_text() == "xx"
    assert len(list((book.folder / ".pipelines" / "records").rglob("*.json"))) == 2


def test_the_head_is_killed_while_a_step_runs(book: NotebookProject, two_nodes: RayCluster, tmp_path: Path) -> None:
    """The last one: it leaves no cluster to the others."""
    folder = held(book, tmp_path)
    running = book.start("run", "--json", on(two_nodes, book))
    wait_for(folder / "started", "x")
    two_nodes.kill(two_nodes.nodes[0])
    _out, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 1, err
    assert f"the Ray scheduler {two_nodes.address} is gone" in err
    assert "Traceback" not in err
    (folder / "go").touch()
    again = book.run()
    assert again.code == 0, again.err
    assert book.value("after.y") == 2
