"""The benchmarks measure what they say: the same work for all, CPU time of every process, the right ratios and marks.

No peer is run here.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest
from click.testing import CliRunner

from benchmarks import report
from benchmarks.__main__ import main, time_with_retries
from benchmarks.chart import draw_chart, label
from benchmarks.comparison import ComparisonRow, rows, sentences, slope
from benchmarks.competitors import CompetitorSpec, artifact, folders, forks, idle, live
from benchmarks.environments import OURS, PEERS, variables
from benchmarks.measurement import BenchmarkFailed, MeasuredCommand, RunMeasurement, measure
from benchmarks.notebooks import NOTEBOOK, read_values, write_for_papermill, write_for_ploomber, write_ours
from benchmarks.results import BenchmarkResults, RoundCost, RoundSeries, SeriesOrigin, load, save
from benchmarks.tools.dvc import DvcTool
from benchmarks.tools.metaflow import MetaflowTool
from benchmarks.tools.ours import PipelinesTool
from benchmarks.tools.ploomber import PloomberTool
from benchmarks.tools.snakemake import SnakemakeTool
from benchmarks.workload_data import HEAVY, PipelineShape, chain, expected_values, long, wide
from benchmarks.workloads import FASTEST, QUICK, workloads
from jupyter_pipelines.project import Project
from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[1]
WORKLOADS = workloads()
SHAPES = {"chain": chain(4), "wide": wide(3, ""), "long": long(5)}
ORIGIN = SeriesOrigin(
    run="2026-01-01T00:00+00:00", commit="abc", version="tool 1.0", machine="2 cores", counted="group"
)


def series(*walls: float, cpu: float = 1.0, run: str = ORIGIN.run, **figures: float) -> RoundSeries:
    rounds = tuple(RunMeasurement(wall=wall, cpu=cpu, foreign=0.25, figures=figures) for wall in walls)
    return RoundSeries(origin=replace(ORIGIN, run=run), rounds=rounds)


def made_up(**workload: dict[str, RoundSeries]) -> BenchmarkResults:
    made = BenchmarkResults()
    for name, by_name in workload.items():
        for who, competitor_series in by_name.items():
            made.put(name.replace("_", "-"), who, competitor_series)
    return made


# The work


def test_steps_add_up() -> None:
    assert expected_values(chain(30))["s29"] == 30
    assert expected_values(wide(16, ""))["last"] == 16 * 2 + 1
    assert expected_values(long(1000)) == {"long": 1000}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_our_notebook_is_the_pipeline_of_the_shape(tmp_path: Path, shape: PipelineShape) -> None:
    write_ours(tmp_path, shape)
    nbformat.validate(nbformat.read(tmp_path / NOTEBOOK, as_version=4))
    pipeline = Project().read(tmp_path / NOTEBOOK)
    assert {
        step.name: {str(step_input.source).partition(".")[0] for step_input in step.inputs} for step in pipeline
    } == {step.name: set(step.needs) for step in shape}
    assert [len(pipeline[step.name].cells) for step in shape] == [step.cells for step in shape]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_notebooks_of_papermill_compute_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: PipelineShape
) -> None:
    monkeypatch.chdir(tmp_path)
    for step in shape:
        execute(tmp_path / write_for_papermill(tmp_path, step), {"output": f"{step.name}.json"})
    assert read_values(tmp_path, expected_values(shape)) == expected_values(shape)


def test_the_notebooks_of_ploomber_compute_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shape = wide(3, "")
    for step in shape:
        upstream = {name: {"data": f"{name}.json"} for name in step.needs} or None
        name = write_for_ploomber(tmp_path, step)
        execute(tmp_path / name, {"upstream": upstream, "product": {"data": f"{step.name}.json"}})
    assert read_values(tmp_path, expected_values(shape)) == expected_values(shape)


def execute(notebook: Path, parameters: dict[str, Any]) -> None:
    """Run the cells as papermill would: parameters come after the cell that is tagged."""
    document = nbformat.read(notebook, as_version=4)
    nbformat.validate(document)
    first, *rest = document.cells
    assert first.metadata.tags == ["parameters"]
    names: dict[str, Any] = {}
    exec(first.source, names)
    assert parameters.keys() <= names.keys()
    names |= parameters
    for cell in rest:
        exec(cell.source, names)


def test_every_tool_does_the_work_of_the_step(tmp_path: Path) -> None:
    step = chain(2, HEAVY)[1]
    write_ours(tmp_path, (step,))
    names = (NOTEBOOK, write_for_papermill(tmp_path, step))
    for name in (*names, write_for_ploomber(tmp_path, step)):
        assert any(HEAVY in cell.source for cell in nbformat.read(tmp_path / name, as_version=4).cells), name


def test_the_stages_and_rules_of_peers_are_the_edges_of_the_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = wide(2, "")
    monkeypatch.setattr(DvcTool, "_call", lambda *_: None)
    DvcTool().write(tmp_path, shape)
    stages = json.loads((tmp_path / "dvc.yaml").read_text())["stages"]
    assert stages["last"]["deps"] == ["last.ipynb", "w0.json", "w1.json"]
    assert stages["last"]["cmd"] == "papermill last.ipynb last.out.ipynb -p output last.json"
    PloomberTool(3).write(tmp_path, shape)
    document = json.loads((tmp_path / "pipeline.yaml").read_text())
    assert [task["name"] for task in document["tasks"]] == ["first", "w0", "w1", "last"]
    assert document["executor"]["processes"] == 3
    SnakemakeTool().write(tmp_path, shape)
    assert 'input: "last.ipynb", "w0.json", "w1.json"' in (tmp_path / "Snakefile").read_text()
    MetaflowTool().write(tmp_path, chain(3))
    flow = (tmp_path / "flow.py").read_text()
    compile(flow, "flow.py", "exec")
    assert re.findall(r"self\.next\(self\.(\w+)\)", flow) == ["s1", "s2", "end"]


def test_what_was_made_to_look_done_is_reused_by_the_real_command(tmp_path: Path) -> None:
    competitor = idle(PipelinesTool(), chain(3))
    competitor.prepare(tmp_path)
    measured = competitor.time(tmp_path)
    assert measured.left == 0
    path = tmp_path / NOTEBOOK
    path.write_text(path.read_text().replace("value_s1 = value_s0", "value_s1 = 2 * value_s0"))
    command = [competitor.argv[0], "plan", NOTEBOOK, "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    decisions = {step["name"]: step["decision"] for step in json.loads(done.stdout)["steps"]}
    assert (decisions["s0"], decisions["s1"]) == ("reuse", "run")


@pytest.mark.parametrize(
    ("tool", "idle_text", "busy_text"),
    [
        (
            PipelinesTool(),
            "s0 ↻ reused\nall 3 steps reused",
            "s0 ↻ reused\n✓ succeeded run b74989: 1 step ran, 2 reused",
        ),
        (
            DvcTool(),
            "Stage 's0' didn't change, skipping\nData and pipelines are up to date.",
            "Running stage 's0':\nData and pipelines are up to date.",
        ),
        (SnakemakeTool(), "Nothing to be done (all requested files are present).", "1 of 1 steps (100%) done"),
        (PloomberTool(), "s0      False     0", "s0      True     3\ns1      False   0"),
    ],
)
def test_a_no_op_that_ran_something_is_refused(tool: Any, idle_text: str, busy_text: str) -> None:
    tool.check_idle(idle_text)
    with pytest.raises(BenchmarkFailed):
        tool.check_idle(busy_text)


# Measuring

PROGRAM = """
import os, time
def burn(seconds):
    start = time.process_time()
    while time.process_time() - start < seconds: pass
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()  # nobody will wait for it but whoever adopts it
        burn(0.2)
    os._exit(0)
os.wait()
burn(0.1)
if STAYS and os.fork() == 0:
    time.sleep(1000)
"""

MEASURE = """
import json, sys
from pathlib import Path
from benchmarks import cgroups, measurement
measurement._LEFTOVER_TIMEOUT = float(sys.argv[2])
make = {"best": cgroups.make_group, "adopted": cgroups.AdoptedProcesses}[sys.argv[1]]
command = measurement.MeasuredCommand(argv=tuple(sys.argv[3:]), folder=Path("."), environment={})
print(json.dumps(measurement.measure(command, make).to_dict()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere orphans are not counted")
@pytest.mark.parametrize("group", ["best", "adopted"])
@pytest.mark.parametrize("stays", [False, True])
def test_the_time_of_orphans_counts_and_what_stays_is_ended(tmp_path: Path, group: str, *, stays: bool) -> None:
    command = [sys.executable, "-c", PROGRAM.replace("STAYS", str(stays))]
    done = subprocess.run(  # a process that adopts must not be the one that runs the tests
        [sys.executable, "-c", MEASURE, group, str(10 if stays else PATIENCE), *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    cost = json.loads(done.stdout)
    assert cost["cpu"] >= 0.3
    assert cost["left"] == stays


def test_a_command_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    command = MeasuredCommand(
        argv=(sys.executable, "-c", "raise SystemExit('no luck')"), folder=tmp_path, environment=dict(os.environ)
    )
    with pytest.raises(BenchmarkFailed, match="no luck"):
        measure(command)


def test_what_a_command_times_itself_counts(tmp_path: Path) -> None:
    code = "import pathlib; pathlib.Path('figures.json').write_text('{\"wall\": 99.0, \"first\": 3.0}')"
    competitor = CompetitorSpec(name="x", environment=OURS, argv=(sys.executable, "-c", code))
    measured = competitor.time(tmp_path)
    assert measured.wall == 99
    assert measured.figures["first"] == 3
    assert measured.cpu < 99


def test_a_round_that_did_something_else_does_not_count(tmp_path: Path) -> None:
    def check(folder: Path) -> None:
        raise BenchmarkFailed((folder / "made").read_text())

    code = "import pathlib; pathlib.Path('made').write_text('the wrong thing')"
    competitor = CompetitorSpec(name="x", environment=OURS, argv=(sys.executable, "-c", code), check=check)
    with pytest.raises(BenchmarkFailed, match="the wrong thing"):
        competitor.time(tmp_path)


@pytest.mark.parametrize("who", [OURS, "joblib"])
@pytest.mark.parametrize(("kind", "size"), [("array", 1000), ("frame", 100), ("model", 2)])
def test_values_come_through_whole_and_both_halves_are_timed(tmp_path: Path, who: str, kind: str, size: int) -> None:
    figures = artifact(who, kind, size).time(tmp_path).figures
    assert figures["wall"] == figures["write"] + figures["read"]
    assert figures["cpu"] == figures["write cpu"] + figures["read cpu"]


def test_the_floor_is_what_one_fork_takes(tmp_path: Path) -> None:
    measured = forks("light", "json", 3).time(tmp_path)
    assert 0 < measured.wall == measured.figures["wall"]


@pytest.mark.kernel
def test_a_live_kernel_is_asked_for_runs_that_have_nothing_to_do(tmp_path: Path) -> None:
    competitor = live(chain(2))
    competitor.prepare(tmp_path)
    assert {"load", "first", "wall", "slowest", "cpu"} == competitor.time(tmp_path).figures.keys()


def test_commands_see_nothing_of_the_settings_of_whoever_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "JUPYTER_PIPELINES_WARM"):
        monkeypatch.setenv(name, "1")
    for name in (OURS, *PEERS):
        assert not [key for key in variables(name) if key.startswith(("PYTHON", "JUPYTER"))]


def test_a_folder_is_new_for_each_round_unless_it_is_kept() -> None:
    counted: list[Path] = []
    fresh = CompetitorSpec(name="fresh", environment=OURS, argv=(), prepare=counted.append)
    kept = replace(fresh, name="kept", keeps_folder=True)
    with folders() as folder:
        first = folder(kept)
        assert folder(kept) == first
        second, third = folder(fresh), folder(fresh)
        assert second != third
        assert [path.exists() for path in (first, second, third)] == [True, False, True]
    assert counted == [first, second, third]
    assert not first.exists()


# From rounds to ratios


def test_the_median_counts_and_the_minimum_where_the_workload_says_so() -> None:
    made = made_up(chain_30={OURS: series(3, 1, 2), "papermill": series(10, 90, 20)})
    (row,) = rows(made, WORKLOADS)
    assert (row.ours.wall, row.theirs.wall, row.decisive_ratio) == (2, 20, 10)
    made = made_up(array={OURS: series(3, 1, 2), "joblib": series(10, 90, 20)})
    (row,) = rows(made, WORKLOADS)
    assert (row.ours.wall, row.theirs.wall) == (1, 10)


def test_what_is_asked_in_cpu_time_is_judged_by_it() -> None:
    made = made_up(cells_1000={OURS: series(1, cpu=2), "papermill": series(100, cpu=30)})
    (row,) = rows(made, WORKLOADS)
    assert (row.ratio, row.decisive_ratio, row.target, row.met) == (RoundCost(wall=100, cpu=15), 15, 20, False)
    assert "**15.0**" in report.line(row)
    assert "20 ✗" in report.line(row)


def test_the_fastest_peer_is_the_one_to_beat() -> None:
    by_name = {"dvc": series(4), "snakemake": series(2), "ploomber": series(9), OURS: series(0.5)}
    compared = rows(made_up(no_op_1000=by_name), WORKLOADS)
    assert {row.peer: (row.target, row.met) for row in compared} == {
        "dvc": (None, None),
        "snakemake": (8, False),
        "ploomber": (None, None),
    }


def test_one_more_step_is_the_slope_between_two_lengths() -> None:
    assert slope(series(10, cpu=5), series(2, cpu=1), 8) == RoundCost(wall=1, cpu=0.5)
    made = made_up(
        heavy_10={OURS: series(2.4), "papermill": series(23)}, heavy_2={OURS: series(1.6), "papermill": series(5)}
    )
    step = next(row for row in rows(made, WORKLOADS) if "one more" in row.title)
    assert step.decisive_ratio == pytest.approx(18 / 0.8)
    assert step.met


def test_what_stands_alone_is_said_in_words() -> None:
    made = made_up(
        no_op_live={OURS: series(0.2, first=0.4)},
        no_op_1={OURS: series(0.1)},
        no_op_100={OURS: series(0.2)},
        no_op_1000={OURS: series(0.3)},
        chain_30={OURS: series(3.0)},
        chain_2={OURS: series(0.2)},
        floor={"light": series(0.002)},
    )
    live, growth, floor = sentences(made)
    assert "**200 ms** after the first (400 ms); asked: under 150 ms (missed)" in live
    assert "**1.50 times**" in growth
    assert "2.0 times beyond" in growth
    assert "(met in all)" in growth
    assert "takes 2.0 ms" in floor
    assert "**100 ms**" in floor


def test_rounds_of_different_runs_are_marked() -> None:
    together = made_up(chain_30={OURS: series(1), "dvc": series(20)})
    apart = made_up(chain_30={OURS: series(1, run="later"), "dvc": series(20)})
    assert "†" not in report.markdown_report(together, WORKLOADS)
    text = report.markdown_report(apart, WORKLOADS)
    assert "dvc † |" in text
    assert "not interleaved" in text
    assert "later, commit abc" in text


def test_only_the_first_row_of_a_workload_says_what_it_is() -> None:
    both = {OURS: series(1), "dvc": series(20), "papermill": replace(series(9), failures=2)}
    text = report.markdown_report(made_up(chain_30=both), WORKLOADS)
    assert text.count("chain of 30 trivial steps") == 1
    assert "| papermill, failed 2 times |" in text


def test_a_peer_gets_another_try_and_we_do_not(tmp_path: Path) -> None:
    code = (
        "import pathlib; here = pathlib.Path('tried'); tried = here.exists(); here.touch(); raise SystemExit(not tried)"
    )
    competitor = CompetitorSpec(name="peer", environment=OURS, argv=(sys.executable, "-c", code))
    measured, failed = time_with_retries(competitor, lambda _: tmp_path)
    assert failed == 1
    assert measured.cpu > 0
    (tmp_path / "tried").unlink()
    with pytest.raises(BenchmarkFailed):
        time_with_retries(replace(competitor, name=OURS), lambda _: tmp_path)


def test_a_partial_run_keeps_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "results" / "results.json"
    assert load(path).series == {}
    save(made_up(chain_30={OURS: series(1, 2), "dvc": series(20)}, plan={OURS: series(3, first=1.0)}), path)
    again = load(path)
    again.put("chain-30", OURS, series(9))
    save(again, path)
    assert load(path) == made_up(chain_30={OURS: series(9), "dvc": series(20)}, plan={OURS: series(3, first=1.0)})


def test_the_report_goes_between_its_marks_in_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{report.BEGIN}\nold\n{report.END}\n\nafter\n")
    for _ in range(2):
        report.write_into(page, "new\n")
    assert page.read_text() == f"before\n\n{report.BEGIN}\n\nnew\n\n{report.END}\n\nafter\n"
    page.write_text("nothing")
    with pytest.raises(ValueError, match="no place"):
        report.write_into(page, "new\n")


def test_the_plot_has_a_bar_for_every_row_and_no_paper_of_its_own(tmp_path: Path) -> None:
    row = ComparisonRow(
        workload="plan",
        title="",
        peer="dvc status",
        ours=RoundCost(wall=1, cpu=1),
        theirs=RoundCost(wall=3, cpu=2),
        target=5,
    )
    bars = [row, replace(row, workload="cells-1000", column="cpu", target=None)]
    draw_chart(bars, tmp_path / "plot.svg")
    text = (tmp_path / "plot.svg").read_text()
    assert all(label(bar) in text for bar in bars)
    assert label(bars[1]).endswith("(CPU)")
    assert "#ffffff" not in text
    draw_chart(bars, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_text() == text


# What is promised


def test_what_is_asked_is_asked_of_somebody_who_takes_part() -> None:
    for workload in WORKLOADS.values():
        names = [competitor.name for competitor in workload.competitors]
        assert len(set(names)) == len(names)
        assert workload.targets.keys() <= {*names, FASTEST} - {OURS}
        assert all(competitor.environment in {OURS, *PEERS} for competitor in workload.competitors)
    assert workloads(QUICK).keys() == WORKLOADS.keys()


@pytest.mark.parametrize("page", ["docs/performance.md", "benchmarks/README.md"])
def test_the_pages_name_every_workload_and_no_other(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    first_cells = re.findall(r"^\| (`[^|]+) \|", text, re.M)
    assert WORKLOADS.keys() <= {name for cell in first_cells for name in re.findall(r"`([^`]+)`", cell)}
    in_commands = [name for names in re.findall(r"--only ([\w,-]+)", text) for name in names.split(",")]
    assert in_commands
    assert set(in_commands) <= WORKLOADS.keys()


def test_the_list_names_every_workload_and_who_takes_part() -> None:
    answer = CliRunner().invoke(main, ["--list"])
    assert answer.exit_code == 0
    listed = answer.output.split()
    assert WORKLOADS.keys() <= set(listed)
    assert "ploomber parallel 16, ours" in answer.output


@pytest.mark.parametrize(
    "options",
    [
        ["--only", "chain-31"],
        ["--only", "chain-30", "--who", "snakemake"],
        ["--rounds", "0"],
        ["--quick", "--write-docs"],
        ["--only", "plan", "--report"],
    ],
)
def test_what_does_not_exist_is_refused_before_anything_is_installed(options: list[str]) -> None:
    answer = CliRunner().invoke(main, options)
    assert answer.exit_code == 2
    assert options[-1] in answer.output
