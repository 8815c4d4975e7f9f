"""The worker with real kernels: how steps end, and what their outcomes say."""

from __future__ import annotations

import json
import re
import shutil
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines.execution.kernels import watchdog
from jupyter_pipelines.execution.kernels.launch import private_folder
from jupyter_pipelines.execution.ticket import StepOutcome, TicketProgress
from jupyter_pipelines.execution.worker.worker import AttemptContext, execute
from tests.execution.sample_tickets import FIRST_CELL, TicketFactory, executed, log_of, states
from tests.waiting import PATIENCE

pytestmark = pytest.mark.kernel


@pytest.fixture
def factory(tmp_path: Path) -> TicketFactory:
    return TicketFactory(tmp_path)


def run(factory: TicketFactory, *bodies: str, **more: Any) -> StepOutcome:
    return execute(factory.ticket(*bodies, **more))


def test_a_step_gets_its_inputs_and_leaves_its_outputs(factory: TicketFactory) -> None:
    (factory.project / "data.csv").write_text("1,2")
    inputs = {"X": [1, 2], "raw": factory.project / "data.csv", "extra": None}
    ticket = factory.ticket(
        "total = sum(X) * n + len(raw.read_text())",
        "none = extra\nreport.write_text('hello')\n(plots / 'a.txt').write_text('A')",
        inputs=inputs,
        parameters={"n": 10},
        outputs="total none report:file plots:folder",
    )
    outcome = execute(ticket)
    assert outcome.fault is None
    assert outcome.state == "succeeded"
    assert factory.leftovers() == []
    values = factory.values(outcome.outputs)
    assert (values["total"], values["none"]) == (33, None)
    assert values["report"].read_text() == "hello"
    assert outcome.outputs["plots"].format == "folder"
    assert (outcome.log, outcome.notebook) == (ticket.publish["log"], ticket.publish["notebook"])
    assert outcome.seconds > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", outcome.started)
    assert set(states(ticket)) == {"completed"}
    assert executed(ticket).metadata.papermill.parameters == {"n": 10}


def test_files_and_folders_of_earlier_steps_arrive_as_paths(factory: TicketFactory) -> None:
    made = run(
        factory,
        "one.write_text('1')\n(many / 'sub').mkdir()\n(many / 'sub' / 'x').write_text('2')",
        outputs="one:file many:folder",
    ).outputs
    outcome = run(factory, "both = one.read_text() + (many / 'sub' / 'x').read_text()", inputs=made, outputs="both")
    assert factory.values(outcome.outputs) == {"both": "12"}


def test_a_library_may_add_an_ending_to_a_path(factory: TicketFactory) -> None:
    outcome = run(factory, "import pathlib\npathlib.Path(f'{chart}.png').write_text('P')", outputs="chart:file")
    assert factory.values(outcome.outputs)["chart"].read_text() == "P"


def test_steps_run_in_the_folder_of_the_notebook_with_its_modules(factory: TicketFactory) -> None:
    (factory.project / "helper.py").write_text("def twice(x): return 2 * x")
    outcome = run(
        factory, "import os\nwhere, y = os.getcwd(), twice(4)", shared="from helper import twice", outputs="where y"
    )
    assert factory.values(outcome.outputs) == {"where": str(factory.project), "y": 8}


def test_the_environment_of_a_ticket_counts_and_hashes_are_the_same_in_every_run(factory: TicketFactory) -> None:
    body = "import os\nfound = [os.environ.get('COLOUR'), os.environ['PYTHONHASHSEED']]"
    outcome = run(factory, body, outputs="found", environment={"COLOUR": "red"})
    assert factory.values(outcome.outputs) == {"found": ["red", "0"]}


def test_progress_names_the_cell(factory: TicketFactory) -> None:
    heard: list[TicketProgress] = []
    ticket = factory.ticket("a = 1", "b = 2")
    execute(ticket, progress=heard.append)
    numbers = [progress.cell for progress in heard if progress.cell]
    assert sorted(set(numbers)) == list(range(1, len(states(ticket)) + 1))
    assert {progress.cells for progress in heard if progress.cell} == {len(states(ticket))}


# How steps fail

DIED = {
    "import os; os._exit(0)": ("JP302", "status 0"),
    "import os; os._exit(3)": ("JP302", "status 3"),
    "import os, signal; os.kill(os.getpid(), signal.SIGKILL)": ("JP301", "SIGKILL"),
    "import ctypes; ctypes.string_at(0)": ("JP301", "SIGSEGV"),
}


@pytest.mark.parametrize("body", DIED)
def test_a_dead_kernel_is_told_with_its_status_and_its_last_words(factory: TicketFactory, body: str) -> None:
    code, words = DIED[body]
    ticket = factory.ticket(f"print('last words')\nif True: {body}", "x = 1", outputs="x")
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


def test_a_crash_names_the_line(factory: TicketFactory) -> None:
    ticket = factory.ticket("import ctypes\n\ndef crash():\n    ctypes.string_at(0)\n\ncrash()")
    diagnostic = execute(ticket).fault
    assert diagnostic is not None
    assert diagnostic.place is not None
    assert (diagnostic.place.line, diagnostic.place.text) == (4, "    ctypes.string_at(0)")
    assert f"cell {FIRST_CELL}, line 4, in crash" in log_of(ticket)


@pytest.mark.parametrize(
    ("body", "words"),
    [("import sys; sys.exit(0)", "sys.exit(0)"), ("import sys; sys.exit('bye')", "sys.exit(bye)"),
     ("quit()", "quit()"), ("exit()", "quit()"), ("raise SystemExit", "sys.exit")],
)  # fmt: skip
def test_leaving_early_is_no_success(factory: TicketFactory, body: str, words: str) -> None:
    ticket = factory.ticket(f"x = 1\n{body}\nprint('never')", "print('never')", outputs="x")
    outcome = execute(ticket)
    assert (outcome.state, outcome.outputs, outcome.error_type) == ("failed", {}, "SystemExit")
    assert outcome.fault is not None
    assert outcome.fault.code == "JP303"
    assert words in outcome.fault.message
    assert "never" not in log_of(ticket)


def test_an_exception_is_told_by_the_users_own_frames(factory: TicketFactory) -> None:
    (factory.project / "helper.py").write_text("import json\n\ndef parse(text):\n    return json.loads(text)\n")
    ticket = factory.ticket(
        "first = 1", "y = 2\nfit('{')", shared="from helper import parse\n\n\ndef fit(text):\n    return parse(text)"
    )
    outcome = execute(ticket)
    diagnostic = outcome.fault
    assert (outcome.state, outcome.error_type) == ("failed", "JSONDecodeError")
    assert diagnostic is not None
    assert diagnostic.code == "JP300"
    assert "JSONDecodeError: Expecting" in diagnostic.message
    assert diagnostic.place is not None
    assert (diagnostic.place.cell, diagnostic.place.line, diagnostic.place.text) == (FIRST_CELL + 1, 2, "fit('{')")
    assert diagnostic.notes == (
        f"cell {FIRST_CELL + 1}, line 2: fit('{{')",
        "cell 2, in fit: return parse(text)",
        "helper.py, line 4, in parse: return json.loads(text)",
    )
    assert len(str(diagnostic).splitlines()) <= 15
    assert "site-packages" not in str(diagnostic)
    assert states(ticket)[-3:] == ["completed", "failed", "pending"]


def test_a_chain_of_exceptions_names_its_cause(factory: TicketFactory) -> None:
    diagnostic = run(factory, "try:\n    {}['a']\nexcept KeyError as e:\n    raise ValueError('bad') from e").fault
    assert diagnostic is not None
    assert "caused by KeyError: 'a'" in diagnostic.notes


def test_a_syntax_error_has_its_line(factory: TicketFactory) -> None:
    diagnostic = run(factory, "a = 1\nif:").fault
    assert diagnostic is not None
    assert diagnostic.place is not None
    assert (diagnostic.message, diagnostic.place.line) == ("step `fit` raised SyntaxError: invalid syntax", 2)


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
def test_the_line_is_right_under_magics(factory: TicketFactory, body: str, line: int | None) -> None:
    """Even ``%%capture`` hides no error, as it does in IPython."""
    outcome = run(factory, "a = 1", body, outputs="x" if "x =" in body else "")
    assert outcome.state == "failed"
    assert outcome.fault is not None
    assert outcome.fault.code == "JP300"
    assert outcome.fault.place is not None
    assert outcome.fault.place.cell == FIRST_CELL + 1
    assert line is None or (outcome.fault.place.line, outcome.fault.place.text[-5:]) == (line, "1 / 0")


def test_a_step_cannot_ask(factory: TicketFactory) -> None:
    outcome = run(factory, "a = 1\nname = input('Who? ')")
    assert outcome.fault is not None
    assert (outcome.state, outcome.fault.code) == ("failed", "JP309")
    assert outcome.fault.place is not None
    assert outcome.fault.place.line == 2


def test_a_timeout_interrupts_and_says_where(factory: TicketFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "GRACE", PATIENCE)
    ticket = factory.ticket(
        "import pathlib, time", "try:\n    time.sleep(600)\nfinally:\n    pathlib.Path('tidied').touch()", timeout=5
    )
    outcome = execute(ticket)
    assert outcome.fault is not None
    assert (outcome.state, outcome.fault.code) == ("timed-out", "JP304")
    assert "5 s" in outcome.fault.message
    assert outcome.fault.place is not None
    assert (outcome.fault.place.cell, outcome.fault.place.line) == (FIRST_CELL + 1, 2)
    assert (factory.project / "tidied").exists()
    assert states(ticket)[-3:] == ["completed", "failed", "pending"]


def test_a_step_that_swallows_interrupts_is_killed(factory: TicketFactory) -> None:
    body = "import time\nwhile True:\n    try:\n        time.sleep(6000)\n    except KeyboardInterrupt:\n        pass"
    outcome = run(factory, body, timeout=0.5)
    assert outcome.state == "timed-out"
    assert outcome.seconds < PATIENCE


def test_swallowing_an_interrupt_and_going_on_is_no_success(factory: TicketFactory) -> None:
    body = "try:\n    while True: pass\nexcept KeyboardInterrupt:\n    pass\nx = 1"
    outcome = run(factory, body, timeout=0.5, outputs="x")
    assert (outcome.state, outcome.outputs) == ("timed-out", {})


def test_a_cancelled_step_says_so(factory: TicketFactory) -> None:
    context = AttemptContext()
    ticket = factory.ticket("print('ready', flush=True)\nimport time\ntime.sleep(600)")

    def heard(progress: TicketProgress) -> None:
        if progress.text == "ready":
            context.cancel.ask()

    outcome = execute(ticket, progress=heard, workplace=context)
    context.later.close()
    assert outcome.fault is not None
    assert (outcome.state, outcome.fault.code) == ("cancelled", "JP306")
    assert factory.leftovers() == []


@pytest.mark.timeout(60)  # a forked kernel that does not come is waited for longer than this
def test_a_cancelled_step_does_not_wait_for_a_kernel_that_is_still_being_forked(factory: TicketFactory) -> None:
    folder = private_folder()
    with socket.socket(socket.AF_UNIX) as silent_server:
        silent_server.bind(str(folder / "z"))
        silent_server.listen()
        context = AttemptContext(forks=str(folder / "z"))

        def heard(progress: TicketProgress) -> None:
            if progress.text == "starting the kernel":
                threading.Timer(0.1, context.cancel.ask).start()

        outcome = execute(factory.ticket("x = 1"), progress=heard, workplace=context)
    context.later.close()
    shutil.rmtree(folder)
    assert outcome.fault is not None
    assert (outcome.state, outcome.fault.code) == ("cancelled", "JP306")
    assert factory.leftovers() == []


def test_what_is_cancelled_before_it_starts_never_runs(factory: TicketFactory) -> None:
    context = AttemptContext()
    context.cancel.ask()
    outcome = execute(factory.ticket("import pathlib; pathlib.Path('ran').touch()"), workplace=context)
    assert outcome.state == "cancelled"
    assert not (factory.project / "ran").exists()


def test_an_unknown_kernel_lists_those_there_are(factory: TicketFactory) -> None:
    ticket = factory.ticket("x = 1", kernel="python4")
    outcome = execute(ticket)
    assert outcome.fault is not None
    assert (outcome.state, outcome.fault.code) == ("died", "JP305")
    assert "`python4`" in outcome.fault.message
    assert "python3" in " ".join(outcome.fault.notes)
    assert executed(ticket).cells
    assert factory.leftovers() == []


def test_a_kernel_that_does_not_start_shows_why(factory: TicketFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = factory.folder / "share" / "kernels" / "broken"
    spec.mkdir(parents=True)
    argv = ["python", "-c", "print('no licence'); raise SystemExit(7)", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Broken", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(factory.folder / "share"))
    diagnostic = run(factory, "x = 1", kernel="broken").fault
    assert diagnostic is not None
    assert "status 7" in diagnostic.message
    assert "printed last: no licence" in diagnostic.notes


def test_a_folder_that_is_gone_is_named(factory: TicketFactory) -> None:
    ticket = factory.ticket("x = 1")
    factory.project.rmdir()
    diagnostic = execute(ticket).fault
    assert diagnostic is not None
    assert str(factory.project) in diagnostic.message


# What a step owes


def test_a_missing_output_names_what_was_set_instead(factory: TicketFactory) -> None:
    outcome = run(factory, "modle = 1", outputs="model")
    assert outcome.fault is not None
    assert (outcome.state, outcome.fault.code) == ("failed", "JP204")
    assert "`model`" in outcome.fault.message
    assert outcome.fault.notes == ("the step set a similar name: `modle`",)


def test_a_file_that_was_not_written_is_missing(factory: TicketFactory) -> None:
    diagnostic = run(factory, "(report.parent / 'other.txt').write_text('x')", outputs="report:file").fault
    assert diagnostic is not None
    assert (diagnostic.code, diagnostic.notes) == ("JP204", ("found instead: other.txt",))


def test_every_missing_output_is_named_at_once(factory: TicketFactory) -> None:
    diagnostic = run(factory, "pass", outputs="one two").fault
    assert diagnostic is not None
    assert "`one`" in diagnostic.message
    assert "`two`" in " ".join(diagnostic.notes)


def test_an_output_that_cannot_be_stored_names_the_attribute(factory: TicketFactory) -> None:
    body = "class Model: pass\nmodel = Model()\nmodel.callbacks = [1, (i for i in [])]"
    outcome = run(factory, body, outputs="model")
    assert outcome.fault is not None
    assert (outcome.state, outcome.fault.code, outcome.fault.step) == ("failed", "JP205", "fit")
    assert "model.callbacks[1]" in outcome.fault.message


def test_a_changed_input_is_a_fault_with_the_way_out(factory: TicketFactory) -> None:
    outcome = run(factory, "rows.append(3)\nx = 1", inputs={"rows": [1, 2]}, outputs="x")
    assert outcome.fault is not None
    assert (outcome.state, outcome.fault.code) == ("failed", "JP307")
    assert "`rows`" in outcome.fault.message
    assert "`-o rows`" in outcome.fault.suggestion
    assert "copy.deepcopy(rows)" in outcome.fault.suggestion


def test_a_changed_input_that_is_declared_is_none(factory: TicketFactory) -> None:
    outcome = run(factory, "rows.append(3)", inputs={"rows": [1, 2]}, outputs="rows")
    assert factory.values(outcome.outputs) == {"rows": [1, 2, 3]}


def test_a_changed_input_file_is_a_fault(factory: TicketFactory) -> None:
    (factory.project / "data.csv").write_text("1")
    outcome = run(factory, "raw.write_text('2')", inputs={"raw": factory.project / "data.csv"})
    assert outcome.fault is not None
    assert (outcome.state, outcome.fault.code) == ("failed", "JP307")
    assert "data.csv" in outcome.fault.message


def test_two_names_for_one_object_are_a_warning(factory: TicketFactory) -> None:
    outcome = run(factory, "a = b = [1]\nc = d = None", outputs="a b c d")
    assert outcome.state == "succeeded"
    assert [(warning.code, warning.severity) for warning in outcome.warnings] == [("JP213", "warning")]
    assert "`a` and `b`" in outcome.warnings[0].message


def test_a_damaged_input_is_not_loaded(factory: TicketFactory) -> None:
    artifact = factory.put([1, 2])
    blob = factory.store.blobs.path(artifact.digest)
    blob.chmod(0o600)
    blob.write_bytes(b"[1, 3]")
    outcome = run(factory, "x = rows", inputs={"rows": artifact}, outputs="x")
    assert outcome.fault is not None
    assert (outcome.state, outcome.fault.code) == ("failed", "JP310")
    assert "`rows`" in outcome.fault.message


def test_an_input_that_cannot_be_unpickled_says_why(factory: TicketFactory) -> None:
    (factory.project / "gone.py").write_text("class Model: pass")
    made = run(factory, "import gone\nmodel = gone.Model()", outputs="model").outputs
    (factory.project / "gone.py").unlink()
    diagnostic = run(factory, "x = model", inputs=made).fault
    assert diagnostic is not None
    assert diagnostic.code == "JP310"
    assert "gone" in diagnostic.message


# Logs


def test_whatever_a_step_prints_is_in_its_log_once(factory: TicketFactory) -> None:
    body = (
        "import os, subprocess, sys, multiprocessing\nprint('python')\nprint('error', file=sys.stderr)\n"
        "subprocess.run(['echo', 'child'])\nos.write(1, b'descriptor\\n')\n"
        "subprocess.run(['echo', 'handed'], stdout=sys.stdout)\n"
        "multiprocessing.get_context('fork').Process(target=print, args=('forked',)).run()"
    )
    ticket = factory.ticket(body)
    assert execute(ticket).fault is None
    assert sorted(log_of(ticket).split()) == ["child", "descriptor", "error", "forked", "handed", "python"]
    shown = "".join(output.text for output in executed(ticket).cells[2].outputs)
    assert {"python", "error", "child", "descriptor"} <= set(shown.split())


def test_many_flushed_lines_are_all_in_the_log(factory: TicketFactory) -> None:
    ticket = factory.ticket("for i in range(20_000):\n    print(i, flush=True)", "1 + 1")
    assert execute(ticket).fault is None
    assert log_of(ticket).split() == [str(i) for i in range(20_000)]
    (shown,) = executed(ticket).cells[2].outputs
    lines = shown.text.split("\n")
    assert (lines[0], lines[-2]) == ("0", "19999")
    assert any(ticket.publish["log"] in line for line in lines)
    assert len(shown.text) < 100_000


def test_a_step_may_replace_its_streams(factory: TicketFactory) -> None:
    outcome = run(
        factory, "import io, sys\nsys.stdout = io.StringIO()\nprint('x')\nx = sys.stdout.getvalue()", outputs="x"
    )
    assert factory.values(outcome.outputs) == {"x": "x\n"}


def test_progress_bars_collapse(factory: TicketFactory) -> None:
    ticket = factory.ticket(
        "import sys\nfor i in range(9):\n    sys.stderr.write(f'\\r{i} of 9')\n    sys.stderr.flush()"
    )
    execute(ticket)
    assert [output.text.strip() for output in executed(ticket).cells[2].outputs] == ["8 of 9"]


def test_a_flood_of_figures_is_cut(factory: TicketFactory) -> None:
    ticket = factory.ticket(
        "get_ipython()\nfor i in range(2000):\n    display({'text/plain': str(i)}, raw=True)", "x = 1"
    )
    assert execute(ticket).state == "succeeded"
    outputs = executed(ticket).cells[2].outputs
    assert len(outputs) <= 501
    assert "left out" in outputs[-1].text


# Nothing depends on a worker


def test_a_failed_publish_is_the_outcome(factory: TicketFactory) -> None:
    ticket = factory.ticket("x = 1", outputs="x")
    Path(ticket.publish["notebook"]).mkdir(parents=True)
    outcome = execute(ticket)
    assert outcome.fault is not None
    assert (outcome.state, outcome.fault.code) == ("failed", "JP402")


def test_a_missing_store_is_the_outcome(factory: TicketFactory, tmp_path: Path) -> None:
    ticket = factory.ticket("x = 1", outputs="x")
    (factory.store.root / "format.json").write_text('{"schema": "jupyter-pipelines/store/99"}')
    outcome = execute(ticket)
    assert outcome.fault is not None
    assert (outcome.state, outcome.fault.code, outcome.fault.step) == ("failed", "JP406", "fit")
