"""A pipeline on a real Dask cluster: four workers of two kinds, in folders that share nothing but the store."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.notebook_project import CommandResult, NotebookProject
from tests.e2e.remote_runs import HOLD, check_traces, children, commands, held, wait_for, with_words
from tests.execution.dask_cluster import DaskCluster, dask_cluster
from tests.waiting import PATIENCE

pytestmark = pytest.mark.cluster
PLAIN = "--nthreads 1 --resources CPU=2"
LARGE = "--nthreads 1 --resources CPU=4,GPU=1"
FLIGHTS = Path(__file__).parents[2] / "notebooks" / "flights.ipynb"


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """A scheduler, two plain workers and two large ones."""
    with dask_cluster(tmp_path_factory.mktemp("cluster"), PLAIN, PLAIN, LARGE, LARGE) as made:
        yield made


@pytest.fixture
def private_cluster(tmp_path: Path) -> Iterator[DaskCluster]:
    """Cluster whose processes the test may kill."""
    (tmp_path / "cluster").mkdir()
    with dask_cluster(tmp_path / "cluster", PLAIN, PLAIN) as made:
        yield made


@pytest.fixture
def words(book: NotebookProject) -> NotebookProject:
    """A notebook with modules and data of its own, below the project's folder."""
    return with_words(book)


def test_the_results_are_those_of_a_local_run(
    words: NotebookProject, shared_cluster: DaskCluster, tmp_path: Path
) -> None:
    here = words.run("--store", str(tmp_path / "here"))
    assert here.code == 0, here.err
    there = words.run("--store", str(tmp_path / "there"), "--on", f"dask:{shared_cluster.address}")
    assert there.code == 0, there.err
    assert there.steps("outputs") == here.steps("outputs")
    for notebook in map(Path, there.steps("notebook").values()):
        text = notebook.read_text()
        assert '"completed"' in text
        assert ".parcel" not in text
    assert "counted" in notebook.with_suffix(".log").read_text()
    again = NotebookProject(words.folder, words.name).run(
        "--store", str(tmp_path / "there"), "--on", f"dask:{shared_cluster.address}"
    )
    assert set(again.steps("state").values()) == {"reused"}
    # A local run takes what the cluster has computed: the keys are the same.
    assert set(words.run("--store", str(tmp_path / "there")).steps("state").values()) == {"reused"}


def test_traces_come_home(book: NotebookProject, shared_cluster: DaskCluster, tmp_path: Path) -> None:
    """What a step asks for and was not sent is sent when it is started again, and counts as on this machine."""
    check_traces(book, f"--on=dask:{shared_cluster.address}", tmp_path)


def test_the_flights_are_computed_on_a_cluster(
    book: NotebookProject, shared_cluster: DaskCluster, tmp_path: Path
) -> None:
    for path in (FLIGHTS, *FLIGHTS.parent.glob("*.py")):
        shutil.copy(path, book.folder)
    book.name = FLIGHTS.name
    here = book.run("--store", str(tmp_path / "here"))
    assert here.code == 0, here.err
    there = book.run("--store", str(tmp_path / "there"), "--on", f"dask:{shared_cluster.address}")
    assert there.code == 0, there.err
    assert there.steps("outputs") == here.steps("outputs")


@pytest.mark.parametrize("items", [3, 20])
def test_items_are_computed_on_workers_of_two_kinds(
    book: NotebookProject, shared_cluster: DaskCluster, tmp_path: Path, items: int
) -> None:
    book.write(
        "%%step load -o X\nimport numpy as np\nX = np.arange(50.0)",
        f"%%step fit -i X --foreach depth={','.join(map(str, range(1, items + 1)))} rate=0.5,1.0 -o model\n"
        "import os\nmodel = (X * depth).cumsum() * rate",
        f"%%step score -i model --gpus 1 --foreach k={','.join(map(str, range(items)))} -o best\n"
        "best = max(float(one[k]) for one in model)",
        "%%step last -i best model -o top keys\ntop = list(best)\nkeys = [dict(one) for one in model.keys]",
    )
    here = book.run("--store", str(tmp_path / "here"))
    assert here.code == 0, here.err
    assert len([step for step in here.document["steps"] if "item" in step]) == 3 * items
    there = book.run("--store", str(tmp_path / "there"), "--on", f"dask:{shared_cluster.address}")
    assert there.code == 0, there.err
    assert there.steps("outputs") == here.steps("outputs")
    assert set(there.steps("state").values()) == {"succeeded"}
    again = book.run("--store", str(tmp_path / "there"), "--on", f"dask:{shared_cluster.address}")
    assert set(again.steps("state").values()) == {"reused"}
    book.edit("k=0,1,", "k=0,30,")
    after = book.run("--store", str(tmp_path / "there"), "--on", f"dask:{shared_cluster.address}")
    ran = {name for name, state in after.steps("state").items() if state == "succeeded"}
    assert ran == {"score[k=30]", "score", "last"}


def test_one_step_goes_there_and_the_others_stay(book: NotebookProject, shared_cluster: DaskCluster) -> None:
    book.write(
        "%%step a -o x\nimport os\nx = os.getcwd()",
        f"%%step b -i x --on dask:{shared_cluster.address} --cpus 4 -o y\nimport os\ny = os.getcwd()",
    )
    answer = book.run()
    assert answer.code == 0, answer.err
    assert book.value("a.x") == str(book.folder)
    assert book.value("b.y") != str(book.folder)


def test_kernels_made_ready_ahead_are_where_their_step_is_and_know_its_modules(
    book: NotebookProject, shared_cluster: DaskCluster
) -> None:
    steps = [
        f"%%step s{n}{f' -i x{n - 1}' if n else ''} -o x{n}\nx{n} = [helper.NUMBER, os.getcwd()]" for n in range(4)
    ]
    book.write("import os\nimport helper", *steps)
    for number in (1, 2):
        (book.folder / "helper.py").write_text(f"NUMBER = {number}\n")
        answer = book.run("--on", f"dask:{shared_cluster.address}")
        assert answer.code == 0, answer.err
        assert set(answer.steps("state").values()) == {"succeeded"}
        values = [book.value(f"s{n}.x{n}") for n in range(4)]
        assert [helper_number for helper_number, _ in values] == [number] * 4
        assert len({place for _, place in values}) == 4, "each step has a folder of its own"
        assert all(".parcel" in place for _, place in values)


def test_a_cluster_of_this_machine_is_started_and_ended(book: NotebookProject) -> None:
    book.write("%%step a -o x\nx = 1", "%%step b -i x -o y\ny = x + 1")
    answer = book.run("--on", "dask")
    assert answer.code == 0, answer.err
    assert book.value("b.y") == 2
    assert answer.err.count("distributed") == 0


def test_a_demand_that_no_worker_meets_is_refused_with_what_they_offer(
    book: NotebookProject, shared_cluster: DaskCluster
) -> None:
    book.write("%%step a --gpus 2 -o x\nx = 1", "%%step b --cpus 3 --gpus 1 -o y\ny = 1")
    answer = book.run("--on", f"dask:{shared_cluster.address}")
    assert answer.code == 2
    (fault,) = [fault for fault in answer.document["faults"] if fault["code"] == "JP604"]
    assert "step `a` asks for 2 gpus, and there are 1 gpus" in fault["message"]
    assert "4 cpus, 1 gpus" in answer.err
    assert not (book.folder / ".pipelines" / "runs").exists()


def test_steps_that_wait_for_a_gpu_hold_up_no_others(
    book: NotebookProject, shared_cluster: DaskCluster, tmp_path: Path
) -> None:
    """Two workers have a GPU; three steps request a GPU, and come first; the plain steps run meanwhile."""
    folder = held(book, tmp_path)
    greedy = HOLD[0].replace("{folder!r}", repr(str(folder)))
    cells = [
        greedy.replace("hold -o x", f"gpu{n} --gpus 1 -o x{n}").replace("\nx = 1", f"\nx{n} = 1") for n in range(3)
    ]
    plain = [f"%%step plain{n} -o y{n}\nopen({str(folder)!r} + '/plain', 'a').write('x')\ny{n} = 1" for n in range(4)]
    book.write(*cells, *plain)
    running = book.start("run", "--json", "--on", f"dask:{shared_cluster.address}")
    wait_for(folder / "plain", "xxxx")
    wait_for(folder / "started", "xx")
    (folder / "go").touch()
    _out, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, err
    assert (folder / "started").read_text() == "xxx"


@pytest.mark.parametrize("retries", [0, 1])
def test_a_worker_is_killed_while_it_runs_a_step(
    book: NotebookProject, private_cluster: DaskCluster, tmp_path: Path, retries: int
) -> None:
    folder = held(book, tmp_path)
    if retries:
        book.edit("%%step hold", "%%step hold --retries 1")
    running = book.start("run", "--json", "--on", f"dask:{private_cluster.address}")
    wait_for(folder / "started", "x")
    victim = next(
        worker for worker in private_cluster.workers if children(worker.pid)
    )  # the worker that has started processes for the step
    victim.send_signal(signal.SIGKILL)
    if retries:
        wait_for(folder / "started", "xx")
        (folder / "go").touch()
    out, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == (0 if retries else 1), err
    assert "the Dask worker tcp://127.0.0.1" in out + err
    (folder / "go").touch()
    again = book.run("--on", f"dask:{private_cluster.address}")
    assert again.code == 0, again.err
    assert book.value("after.y") == 2
    assert len((folder / "started").read_text()) == 2
    assert len(list((book.folder / ".pipelines" / "records").rglob("*.json"))) == 2


def test_all_workers_are_killed_and_another_one_comes(
    book: NotebookProject, private_cluster: DaskCluster, tmp_path: Path
) -> None:
    """It takes over what they had, and what had to wait."""
    folder = held(book, tmp_path)
    book.edit("%%step hold", "%%step hold --retries 1")
    running = book.start("run", "--json", "--on", f"dask:{private_cluster.address}")
    wait_for(folder / "started", "x")
    for worker in private_cluster.workers:
        worker.kill()
    private_cluster.add(PLAIN)
    wait_for(folder / "started", "xx")
    (folder / "go").touch()
    out, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, err
    assert CommandResult(0, out, err).steps("attempts") == {"hold": 2, "after": 1}


def test_the_scheduler_is_killed_while_a_step_runs(
    book: NotebookProject, private_cluster: DaskCluster, tmp_path: Path
) -> None:
    folder = held(book, tmp_path)
    running = book.start("run", "--json", "--on", f"dask:{private_cluster.address}")
    wait_for(folder / "started", "x")
    private_cluster.scheduler.kill()
    _out, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 1, err
    assert f"the Dask scheduler {private_cluster.address} is gone" in err
    assert "Traceback" not in err
    (folder / "go").touch()
    again = book.run()
    assert again.code == 0, again.err
    assert book.value("after.y") == 2


def test_a_cancelled_run_ends_what_its_steps_have_started_there(
    book: NotebookProject, private_cluster: DaskCluster, tmp_path: Path
) -> None:
    folder = held(book, tmp_path)
    book.edit("with open", "import subprocess; subprocess.Popen(['sleep', '987654'])\nwith open")
    running = book.start("run", "--json", "--on", f"dask:{private_cluster.address}")
    wait_for(folder / "started", "x")
    running.send_signal(signal.SIGINT)
    _out, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 130, err
    assert not [line for line in commands() if "987654" in line]


def test_what_a_killed_run_has_left_there_ends(
    book: NotebookProject, private_cluster: DaskCluster, tmp_path: Path
) -> None:
    """Its results are not needed any more, but its workers are."""
    folder = held(book, tmp_path)
    book.edit("with open", "import subprocess; subprocess.Popen(['sleep', '876543'])\nwith open")
    running = book.start("run", "--json", "--on", f"dask:{private_cluster.address}")
    wait_for(folder / "started", "x")
    running.kill()
    running.communicate(timeout=PATIENCE)
    end = time.monotonic() + PATIENCE
    while [line for line in commands() if "876543" in line]:
        assert time.monotonic() < end
        time.sleep(0.05)  # the worker notices by itself
    (folder / "go").touch()
    again = book.run("--on", f"dask:{private_cluster.address}")
    assert again.code == 0, again.err


def test_a_cluster_that_does_not_answer_is_refused(book: NotebookProject) -> None:
    book.write("%%step a -o x\nx = 1")
    answer = book.run("--on", "dask:tcp://127.0.0.1:1")
    assert answer.code == 2
    assert [fault["code"] for fault in answer.document["faults"]] == ["JP607"]
    assert "Traceback" not in answer.err


def test_a_secret_has_to_be_where_the_workers_are(book: NotebookProject, shared_cluster: DaskCluster) -> None:
    book.environment["HERE_ONLY"] = "hush-hush"
    book.write('%%params\ntoken: Secret = "env:HERE_ONLY"', "%%step a -p token -o n\nn = len(token)")
    answer = book.run("--on", f"dask:{shared_cluster.address}")
    assert answer.code == 2
    assert {fault["code"] for fault in answer.document["faults"]} == {"JP608"}
    assert "`HERE_ONLY` is not set" in answer.err
    assert "hush-hush" not in answer.err + answer.out
