"""Real kernels: how steps end, and what is told of it."""

from __future__ import annotations

import json
import re
import shutil
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines.running.kernels.launching import private_folder
from jupyter_pipelines.running.ticket import Outcome, Progress
from jupyter_pipelines.running.worker import Workplace, execute
from tests.running.tickets import FIRST_CELL, Workshop, executed, log_of, states

pytestmark = pytest.mark.kernel


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def run(shop: Workshop, *bodies: str, **more: Any) -> Outcome:
    return execute(shop.ticket(*bodies, **more))


def test_a_step_gets_its_inputs_and_leaves_its_outputs(shop: Workshop) -> None:
    (shop.project / "data.csv").write_text("1,2")
    inputs = {"X": [1, 2], "raw": shop.project / "data.csv", "extra": None}
    ticket = shop.ticket(
        "total = sum(X) * n + len(raw.read_text())",
        "none = extra\nreport.write_text('hello')\n(plots / 'a.txt').write_text('A')",
        inputs=inputs,
        parameters={"n": 10},
        outputs="total none report:file plots:folder",
    )
    outcome = execute(ticket)
    assert outcome.fault is None
    assert outcome.state == "succeeded"
    assert shop.leftovers() == []
    found = shop.values(outcome.outputs)
    assert (found["total"], found["none"]) == (33, None)
    assert found["report"].read_text() == "hello"
    assert outcome.outputs["plots"].format == "folder"
    assert (outcome.log, outcome.notebook) == (ticket.publish["log"], ticket.publish["notebook"])
    assert outcome.seconds > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", outcome.started)
    assert set(states(ticket)) == {"completed"}
    assert executed(ticket).metadata.papermill.parameters == {"n": 10}


def test_files_and_folders_of_earlier_steps_arrive_as_paths(shop: Workshop) -> None:
    made = run(
        shop,
        "one.write_text('1')\n(many / 'sub').mkdir()\n(many / 'sub' / 'x').write_text('2')",
        outputs="one:file many:folder",
    ).outputs
    outcome = run(shop, "both = one.read_text() + (many / 'sub' / 'x').read_text()", inputs=made, outputs="both")
    assert shop.values(outcome.outputs) == {"both": "12"}


def test_a_library_may_add_an_ending_to_a_path(shop: Workshop) -> None:
    outcome = run(shop, "import pathlib\npathlib.Path(f'{chart}.png').write_text('P')", outputs="chart:file")
    assert shop.values(outcome.outputs)["chart"].read_text() == "P"


def test_steps_run_in_the_folder_of_the_notebook_with_its_modules(shop: Workshop) -> None:
    (shop.project / "helper.py").write_text("def twice(x): return 2 * x")
    outcome = run(
        shop, "import os\nwhere, y = os.getcwd(), twice(4)", shared="from helper import twice", outputs="where y"
    )
    assert shop.values(outcome.outputs) == {"where": str(shop.project), "y": 8}


def test_the_environment_of_a_ticket_counts_and_hashes_are_the_same_in_every_run(shop: Workshop) -> None:
    body = "import os\nfound = [os.environ.get('COLOUR'), os.environ['PYTHONHASHSEED']]"
    outcome = run(shop, body, outputs="found", environment={"COLOUR": "red"})
    assert shop.values(outcome.outputs) == {"found": ["red", "0"]}


def test_progress_names_the_cell(shop: Workshop) -> None:
    heard: list[Progress] = []
    ticket = shop.ticket("a = 1", "b = 2")
    execute(ticket, progress=heard.append)
    numbers = [one.cell for one in heard if one.cell]
    assert sorted(set(numbers)) == list(range(1, len(states(ticket)) + 1))
    assert {one.cells for one in heard if one.cell} == {len(states(ticket))}


# How steps fail

DIED = {
    "import os; os._exit(0)": ("JP302", "status 0"),
    "import os; os._exit(3)": ("JP302", "status 3"),
    "import os, signal; os.kill(os.getpid(), signal.SIGKILL)": ("JP301", "SIGKILL"),
    "import ctypes; ctypes.string_at(0)": ("JP301", "SIGSEGV"),
}


@pytest.mark.parametrize("body", DIED)
def test_a_dead_kernel_is_told_with_its_status_and_its_last_words(shop: Workshop, body: str) -> None:
    code, words = DIED[body]
    ticket = shop.ticket(f"print('last words')\nif True: {body}", "x = 1", outputs="x")
    outcome = execute(ticket)
    assert (outcome.state, outcome.outputs) == ("died", {})
    assert outcome.fault is not None
    assert outcome.fault.code == code
    assert words in outcome.fault.message
    assert "printed last: last words" in outcome.fault.notes
    assert outcome.fault.place is not None
    assert outcome.fault.place.cell == FIRST_CELL
    # papermill would say `completed` for all of them
    assert states(ticket) == ["completed", "completed", "failed", "pending", "pending"]
    error = executed(ticket).cells[-3].outputs[-1]
    assert (error.output_type, error.ename) == ("error", code)
    assert executed(ticket).metadata.jupyter_pipelines.state == "died"


def test_a_crash_names_the_line(shop: Workshop) -> None:
    ticket = shop.ticket("import ctypes\n\ndef crash():\n    ctypes.string_at(0)\n\ncrash()")
    fault = execute(ticket).fault
    assert fault is not None
    assert fault.place is not None
    assert (fault.place.line, fault.place.text) == (4, "    ctypes.string_at(0)")
    assert f"cell {FIRST_CELL}, line 4, in crash" in log_of(ticket)


@pytest.mark.parametrize(
    ("body", "words"),
    [("import sys; sys.exit(0)", "sys.exit(0)"), ("import sys; sys.exit('bye')", "sys.exit(bye)"),
     ("quit()", "quit()"), ("exit()", "quit()"), ("raise SystemExit", "sys.exit")],
)  # fmt: skip
def test_leaving_early_is_no_success(shop: Workshop, body: str, words: str) -> None:
    ticket = shop.ticket(f"x = 1\n{body}\nprint('never')", "print('never')", outputs="x")
    outcome = execute(ticket)
    assert (outcome.state, outcome.outputs, outcome.error_type) == ("failed", {}, "SystemExit")
    assert outcome.fault is not None
    assert outcome.fault.code == "JP303"
    assert words in outcome.fault.message
    assert "never" not in log_of(ticket)


def test_an_exception_is_told_by_the_users_own_frames(shop: Workshop) -> None:
    (shop.project / "helper.py").write_text("import json\n\ndef parse(text):\n    return json.loads(text)\n")
    ticket = shop.ticket(
        "first = 1", "y = 2\nfit('{')", shared="from helper import parse\n\n\ndef fit(text):\n    return parse(text)"
    )
    outcome = execute(ticket)
    fault = outcome.fault
    assert (outcome.state, outcome.error_type) == ("failed", "JSONDecodeError")
    assert fault is not None
    assert fault.code == "JP300"
    assert "JSONDecodeError: Expecting" in fault.message
    assert fault.place is not None
    assert (fault.place.cell, fault.place.line, fault.place.text) == (FIRST_CELL + 1, 2, "fit('{')")
    assert fault.notes == (
        f"cell {FIRST_CELL + 1}, line 2: fit('{{')",
        "cell 2, in fit: return parse(text)",
        "helper.py, line 4, in parse: return json.loads(text)",
    )
    assert len(str(fault).splitlines()) <= 15
    assert "site-packages" not in str(fault)
    assert states(ticket)[-3:] == ["completed", "failed", "pending"]


def test_a_chain_of_exceptions_names_its_cause(shop: Workshop) -> None:
    fault = run(shop, "try:\n    {}['a']\nexcept KeyError as e:\n    raise ValueError('bad') from e").fault
    assert fault is not None
    assert "caused by KeyError: 'a'" in fault.notes


def test_a_syntax_error_has_its_line(shop: Workshop) -> None:
    fault = run(shop, "a = 1\nif:").fault
    assert fault is not None
    assert fault.place is not None
    assert (fault.message, fault.place.line) == ("step `fit` raised SyntaxError: invalid syntax", 2)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("# %%step fit\n%%time\nx = 1\n1 / 0", None),
        ("%%time\nx = 1\n1 / 0", 3),
        ("%%capture\n\nx = 1\n1 / 0", 4),
        ("\n\nx = 1\n1 / 0", 4),
        ("x = 1\n%time 1 / 0", 2),
        ("x = 1\nget_ipython().run_cell('2')\n1 / 0", 3),
        ("import asyncio\nawait asyncio.sleep(0)\n1 / 0", 3),
    ],
)
def test_the_line_is_right_under_magics(shop: Workshop, body: str, line: int | None) -> None:
    """Even ``%%capture`` hides no error, as it does in IPython."""
    outcome = run(shop, "a = 1", body, outputs="x" if "x =" in body else "")
    assert outcome.state == "failed"
    assert outcome.fault is not None
    assert outcome.fault.code == "JP300"
    assert outcome.fault.place is not None
    assert outcome.fault.place.cell == FIRST_CELL + 1
    assert line is None or (outcome.fault.place.line, outcome.fault.place.text[-5:]) == (line, "1 / 0")


def test_a_step_cannot_ask(shop: Workshop) -> None:
    outcome = run(shop, "a = 1\nname = input('Who? ')")
    assert outcome.fault is not None
    assert (outcome.state, outcome.fault.code) == ("failed", "JP309")
    assert outcome.fault.place is not None
    assert outcome.fault.place.line == 2


def test_a_timeout_interrupts_and_says_where(shop: Workshop) -> None:
    ticket = shop.ticket(
        "import pathlib, time", "try:\n    time.sleep(600)\nfinally:\n    pathlib.Path('tidied').touch()", timeout=0.5
    )
    outcome = execute(ticket)
    assert outcome.fault is not None
    assert (outcome.state, outcome.fault.code) == ("timed-out", "JP304")
    assert "0.5 s" in outcome.fault.message
    assert outcome.fault.place is not None
    assert (outcome.fault.place.cell, outcome.fault.place.line) == (FIRST_CELL + 1, 2)
    assert (shop.project / "tidied").exists()
    assert states(ticket)[-3:] == ["completed", "failed", "pending"]


def test_a_step_that_swallows_interrupts_is_killed(shop: Workshop) -> None:
    body = "import time\nwhile True:\n    try:\n        time.sleep(60)\n    except KeyboardInterrupt:\n        pass"
    outcome = run(shop, body, timeout=0.5)
    assert outcome.state == "timed-out"
    assert outcome.seconds < 30


def test_swallowing_an_interrupt_and_going_on_is_no_success(shop: Workshop) -> None:
    body = "try:\n    while True: pass\nexcept KeyboardInterrupt:\n    pass\nx = 1"
    outcome = run(shop, body, timeout=0.5, outputs="x")
    assert (outcome.state, outcome.outputs) == ("timed-out", {})


def test_a_cancelled_step_says_so(shop: Workshop) -> None:
    workplace = Workplace()
    ticket = shop.ticket("print('ready', flush=True)\nimport time\ntime.sleep(600)")

    def heard(progress: Progress) -> None:
        if progress.text == "ready":
            workplace.cancel.ask()

    outcome = execute(ticket, progress=heard, workplace=workplace)
    workplace.later.close()
    assert outcome.fault is not None
    assert (outcome.state, outcome.fault.code) == ("cancelled", "JP306")
    assert shop.leftovers() == []


@pytest.mark.timeout(60)  # a forked kernel that does not come is waited for longer than this
def test_a_cancelled_step_does_not_wait_for_a_kernel_that_is_still_being_forked(shop: Workshop) -> None:
    folder = private_folder()
    with socket.socket(socket.AF_UNIX) as nobody:
        nobody.bind(str(folder / "z"))
        nobody.listen()
        workplace = Workplace(forks=str(folder / "z"))

        def heard(progress: Progress) -> None:
            if progress.text == "starting the kernel":
                threading.Timer(0.1, workplace.cancel.ask).start()

        outcome = execute(shop.ticket("x = 1"), progress=heard, workplace=workplace)
    workplace.later.close()
    shutil.rmtree(folder)
    assert outcome.fault is not None
    assert (outcome.state, outcome.fault.code) == ("cancelled", "JP306")
    assert shop.leftovers() == []


def test_what_is_cancelled_before_it_starts_never_runs(shop: Workshop) -> None:
    workplace = Workplace()
    workplace.cancel.ask()
    outcome = execute(shop.ticket("import pathlib; pathlib.Path('ran').touch()"), workplace=workplace)
    assert outcome.state == "cancelled"
    assert not (shop.project / "ran").exists()


def test_an_unknown_kernel_lists_those_there_are(shop: Workshop) -> None:
    ticket = shop.ticket("x = 1", kernel="python4")
    outcome = execute(ticket)
    assert outcome.fault is not None
    assert (outcome.state, outcome.fault.code) == ("died", "JP305")
    assert "`python4`" in outcome.fault.message
    assert "python3" in " ".join(outcome.fault.notes)
    assert executed(ticket).cells
    assert shop.leftovers() == []


def test_a_kernel_that_does_not_start_shows_why(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = shop.folder / "share" / "kernels" / "broken"
    spec.mkdir(parents=True)
    argv = ["python", "-c", "print('no licence'); raise SystemExit(7)", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Broken", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(shop.folder / "share"))
    fault = run(shop, "x = 1", kernel="broken").fault
    assert fault is not None
    assert "status 7" in fault.message
    assert "printed last: no licence" in fault.notes


def test_a_folder_that_is_gone_is_named(shop: Workshop) -> None:
    ticket = shop.ticket("x = 1")
    shop.project.rmdir()
    fault = execute(ticket).fault
    assert fault is not None
    assert str(shop.project) in fault.message


# What a step owes


def test_a_missing_output_names_what_was_set_instead(shop: Workshop) -> None:
    outcome = run(shop, "modle = 1", outputs="model")
    assert outcome.fault is not None
    assert (outcome.state, outcome.fault.code) == ("failed", "JP204")
    assert "`model`" in outcome.fault.message
    assert outcome.fault.notes == ("the step set a similar name: `modle`",)


def test_a_file_that_was_not_written_is_missing(shop: Workshop) -> None:
    fault = run(shop, "(report.parent / 'other.txt').write_text('x')", outputs="report:file").fault
    assert fault is not None
    assert (fault.code, fault.notes) == ("JP204", ("found instead: other.txt",))


def test_every_missing_output_is_named_at_once(shop: Workshop) -> None:
    fault = run(shop, "pass", outputs="one two").fault
    assert fault is not None
    assert "`one`" in fault.message
    assert "`two`" in " ".join(fault.notes)


def test_an_output_that_cannot_be_stored_names_the_attribute(shop: Workshop) -> None:
    body = "class Model: pass\nmodel = Model()\nmodel.callbacks = [1, (i for i in [])]"
    outcome = run(shop, body, outputs="model")
    assert outcome.fault is not None
    assert (outcome.state, outcome.fault.code, outcome.fault.step) == ("failed", "JP205", "fit")
    assert "model.callbacks[1]" in outcome.fault.message


def test_a_changed_input_is_a_fault_with_the_way_out(shop: Workshop) -> None:
    outcome = run(shop, "rows.append(3)\nx = 1", inputs={"rows": [1, 2]}, outputs="x")
    assert outcome.fault is not None
    assert (outcome.state, outcome.fault.code) == ("failed", "JP307")
    assert "`rows`" in outcome.fault.message
    assert "`-o rows`" in outcome.fault.suggestion
    assert "copy.deepcopy(rows)" in outcome.fault.suggestion


def test_a_changed_input_that_is_declared_is_none(shop: Workshop) -> None:
    outcome = run(shop, "rows.append(3)", inputs={"rows": [1, 2]}, outputs="rows")
    assert shop.values(outcome.outputs) == {"rows": [1, 2, 3]}


def test_a_changed_input_file_is_a_fault(shop: Workshop) -> None:
    (shop.project / "data.csv").write_text("1")
    outcome = run(shop, "raw.write_text('2')", inputs={"raw": shop.project / "data.csv"})
    assert outcome.fault is not None
    assert (outcome.state, outcome.fault.code) == ("failed", "JP307")
    assert "data.csv" in outcome.fault.message


def test_two_names_for_one_object_are_a_warning(shop: Workshop) -> None:
    outcome = run(shop, "a = b = [1]\nc = d = None", outputs="a b c d")
    assert outcome.state == "succeeded"
    assert [(one.code, one.severity) for one in outcome.warnings] == [("JP213", "warning")]
    assert "`a` and `b`" in outcome.warnings[0].message


def test_a_damaged_input_is_not_loaded(shop: Workshop) -> None:
    artifact = shop.put([1, 2])
    blob = shop.store.blobs.path(artifact.digest)
    blob.chmod(0o600)
    blob.write_bytes(b"[1, 3]")
    outcome = run(shop, "x = rows", inputs={"rows": artifact}, outputs="x")
    assert outcome.fault is not None
    assert (outcome.state, outcome.fault.code) == ("failed", "JP310")
    assert "`rows`" in outcome.fault.message


def test_an_input_that_cannot_be_unpickled_says_why(shop: Workshop) -> None:
    (shop.project / "gone.py").write_text("class Model: pass")
    made = run(shop, "import gone\nmodel = gone.Model()", outputs="model").outputs
    (shop.project / "gone.py").unlink()
    fault = run(shop, "x = model", inputs=made).fault
    assert fault is not None
    assert fault.code == "JP310"
    assert "gone" in fault.message


# Logs


def test_whatever_a_step_prints_is_in_its_log_once(shop: Workshop) -> None:
    body = (
        "import os, subprocess, sys, multiprocessing\nprint('python')\nprint('error', file=sys.stderr)\n"
        "subprocess.run(['echo', 'child'])\nos.write(1, b'descriptor\\n')\n"
        "subprocess.run(['echo', 'handed'], stdout=sys.stdout)\n"
        "multiprocessing.get_context('fork').Process(target=print, args=('forked',)).run()"
    )
    ticket = shop.ticket(body)
    assert execute(ticket).fault is None
    assert sorted(log_of(ticket).split()) == ["child", "descriptor", "error", "forked", "handed", "python"]
    shown = "".join(output.text for output in executed(ticket).cells[2].outputs)
    assert {"python", "error", "child", "descriptor"} <= set(shown.split())


def test_many_flushed_lines_are_all_in_the_log(shop: Workshop) -> None:
    ticket = shop.ticket("for i in range(20_000):\n    print(i, flush=True)", "1 + 1")
    assert execute(ticket).fault is None
    assert log_of(ticket).split() == [str(i) for i in range(20_000)]
    (shown,) = executed(ticket).cells[2].outputs
    lines = shown.text.split("\n")
    assert (lines[0], lines[-2]) == ("0", "19999")
    assert any(ticket.publish["log"] in line for line in lines)
    assert len(shown.text) < 100_000


def test_a_step_may_replace_its_streams(shop: Workshop) -> None:
    outcome = run(
        shop, "import io, sys\nsys.stdout = io.StringIO()\nprint('x')\nx = sys.stdout.getvalue()", outputs="x"
    )
    assert shop.values(outcome.outputs) == {"x": "x\n"}


def test_progress_bars_collapse(shop: Workshop) -> None:
    ticket = shop.ticket("import sys\nfor i in range(9):\n    sys.stderr.write(f'\\r{i} of 9')\n    sys.stderr.flush()")
    execute(ticket)
    assert [output.text.strip() for output in executed(ticket).cells[2].outputs] == ["8 of 9"]


def test_a_flood_of_figures_is_cut(shop: Workshop) -> None:
    ticket = shop.ticket("get_ipython()\nfor i in range(2000):\n    display({'text/plain': str(i)}, raw=True)", "x = 1")
    assert execute(ticket).state == "succeeded"
    outputs = executed(ticket).cells[2].outputs
    assert len(outputs) <= 501
    assert "left out" in outputs[-1].text


# Nothing depends on a worker


def test_a_failed_publish_is_the_outcome(shop: Workshop) -> None:
    ticket = shop.ticket("x = 1", outputs="x")
    Path(ticket.publish["notebook"]).mkdir(parents=True)
    outcome = execute(ticket)
    assert outcome.fault is not None
    assert (outcome.state, outcome.fault.code) == ("failed", "JP402")


def test_a_missing_store_is_the_outcome(shop: Workshop, tmp_path: Path) -> None:
    ticket = shop.ticket("x = 1", outputs="x")
    (shop.store.root / "format.json").write_text('{"schema": "jupyter-pipelines/store/99"}')
    outcome = execute(ticket)
    assert outcome.fault is not None
    assert (outcome.state, outcome.fault.code, outcome.fault.step) == ("failed", "JP406", "fit")
