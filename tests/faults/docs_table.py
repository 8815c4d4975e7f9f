"""Make the table of faults and attacks in docs/reliability.md from the tests: ``python -m tests.faults.docs_table``.

A test says which rows it is for: in its name (``test_s17_...``), in its docstring or that of its module (``R33``), or
in `ALSO`, for tests that were there before. Rows without a test have their reason in `NOT_YET`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- made by tests/faults/docs_table.py -->\n", "<!-- end -->\n"
_ROW = re.compile(r"(?<![A-Za-z0-9])([RrSs][0-9]{2})(?![0-9])")

ROWS = {
    "R01": "a step raises",
    "R02": "a kernel is killed",
    "R03": "a kernel is killed for want of memory",
    "R04": "a kernel crashes in C",
    "R05": "a step ends its process, also with status 0",
    "R06": "a step leaves early: `sys.exit`, `quit`",
    "R07": "a step hangs",
    "R08": "a step hangs and does not listen",
    "R09": "a kernel does not start",
    "R10": "a kernel is restarted from outside",
    "R11": "an output is declared and never set",
    "R12": "an output is of another type than declared",
    "R13": "an output cannot be stored",
    "R14": "an input is changed in place",
    "R15": "a name is used that is defined nowhere",
    "R16": "an input without a producer",
    "R17": "steps that wait for each other",
    "R18": "two steps of one name, two producers of one output",
    "R19": "names that are no names for files",
    "R20": "very much printed, very large outputs",
    "R21": "very large things shown",
    "R22": "processes that a step leaves behind",
    "R23": "a step changes folder, environment, signals, streams",
    "R24": "a step asks for input",
    "R25": "a step that comes to something else each time",
    "R26": "retries",
    "R27": "progress bars and floods of warnings",
    "R30": "the runner is killed",
    "R31": "killed while it writes, at every operation",
    "R32": "power cut, after every operation",
    "R33": "disk full, quota, limit on file size",
    "R34": "the store is read-only",
    "R35": "the store goes away, the disk reports errors",
    "R36": "too many open files",
    "R37": "one pipeline twice in a process",
    "R38": "one pipeline twice in two processes",
    "R39": "different pipelines in one store",
    "R40": "an entry is truncated, flipped, swapped, a folder, a link",
    "R41": "a record whose outputs are gone",
    "R42": "gc while others work",
    "R43": "stores on network disks",
    "R44": "clocks that jump, times of files that say nothing",
    "R45": "restart of the machine, a pid that is used again",
    "R46": "10,000 steps, 100 MB of notebook",
    "R47": "a store of another version",
    "R48": "strange paths; a notebook that is moved",
    "R49": "packages that are missing, no folder of one's own to write to",
    "R60": "files that are no notebooks",
    "R61": "notebooks of all versions and dialects",
    "R62": "headers that cannot be read",
    "R63": "magics, `await`, shell lines in cells",
    "R64": "syntax errors, at the line of the cell",
    "R65": "a notebook that is edited while it runs",
    "R70": "Ctrl-C",
    "R71": "an interrupt at every point",
    "R72": "the browser is closed",
    "R73": "the user's kernel is restarted",
    "R74": "the server ends",
    "R75": "cancelling, of a run and of a step, more than once",
    "R76": "a slow client, very many updates",
    "R77": "schedules",
    "R78": "the same request twice",
    "R79": "the terminal goes away, SIGTERM",
    "S01": "looking at a hostile notebook",
    "S02": "markup in names and texts",
    "S03": "markup in outputs",
    "S04": "names that deceive the eye",
    "S05": "paths that lead out",
    "S06": "an entry that executes code",
    "S07": "entries that are changed, swapped, old, stripped",
    "S08": "keys that others can read",
    "S09": "requests from other pages",
    "S10": "other host names",
    "S11": "websockets without a token",
    "S12": "callers of a published pipeline",
    "S13": "code in names and values of parameters",
    "S14": "code in what is generated",
    "S15": "code in arguments of magics",
    "S16": "templates in paths",
    "S17": "addresses in place of files",
    "S18": "YAML and JSON that explode",
    "S19": "notebooks that explode",
    "S20": "secrets",
    "S21": "other users and the kernels' messages",
    "S22": "other users and the files of a run",
    "S23": "modules and settings beside a hostile notebook",
    "S24": "artifacts in the browser",
    "S25": "components from elsewhere",
    "S26": "control characters in what a step prints",
    "S27": "archives that explode",
    "S28": "the supply chain",
    "S29": "anything sent anywhere",
    "S30": "rights on a shared server",
}

E2E, NOTEBOOK, EXECUTION = "tests/e2e/", "tests/notebook/", "tests/execution/"
REFUSED = "tests/server/test_refused_requests.py::"
ALSO: dict[str, tuple[str, ...]] = {
    E2E + "test_faults.py::test_a_step_that_dies_never_succeeds_and_a_plain_rerun_completes": (
        "R01",
        "R02",
        "R04",
        "R05",
        "R06",
        "R07",
        "R22",
    ),
    E2E + "test_faults.py::test_ctrl_c_cancels_cleanly": ("R70",),
    E2E + "test_faults.py::test_a_killed_runner_loses_nothing": ("R30",),
    E2E + "test_faults.py::test_two_runs_at_once_compute_every_step_once": ("R38",),
    E2E + "test_faults.py::test_every_flushed_line_is_in_the_log": ("R20",),
    E2E + "test_faults.py::test_a_hundred_megabytes_printed_stay_out_of_memory_and_notebook": ("R20",),
    E2E + "test_bad_input.py::test_files_that_are_no_pipeline": ("R60",),
    E2E + "test_bad_input.py::test_nbformat_3_is_read": ("R61",),
    E2E + "test_bad_input.py::test_headers_that_cannot_be_meant": ("R62",),
    E2E + "test_bad_input.py::test_two_steps_that_make_the_same_name": ("R18",),
    E2E + "test_bad_input.py::test_a_full_store_loses_nothing": ("R33",),
    E2E + "test_bad_input.py::test_a_read_only_store_is_refused_before_anything_runs": ("R34",),
    E2E + "test_reuse.py::test_a_moved_project_keeps_its_results": ("R48",),
    E2E + "test_detached.py::test_a_run_goes_on_when_a_server_ends_with_its_whole_process_group": ("R74",),
    E2E + "test_detached.py::test_a_run_goes_on_when_the_kernel_that_started_it_is_restarted": ("R73",),
    E2E + "test_detached.py::test_a_terminal_that_goes_away_is_none_of_its_business": ("R79",),
    E2E + "test_detached.py::test_cancel_of_one_step_leaves_the_others_alone": ("R75",),
    E2E
    + "test_detached.py::test_a_run_whose_process_was_killed_is_lost_at_the_next_look_and_a_plain_rerun_completes": (
        "R30",
        "R45",
    ),
    E2E + "test_secrets.py::test_a_key_that_others_can_read_is_not_used": ("S08",),
    EXECUTION + "test_isolation.py::test_nothing_that_a_step_does_is_seen_by_the_next": ("R23",),
    EXECUTION + "test_isolation.py::test_a_daemon_of_a_step_ends_with_it": ("R22",),
    EXECUTION + "test_kernels.py::test_a_death_while_it_starts_is_noticed": ("R09",),
    "tests/storage/test_pickles.py::test_what_cannot_be_stored_is_named_with_the_way_to_it": ("R13",),
    "tests/storage/test_concurrent_processes.py::test_the_same_things_are_put_by_all_of_them": ("R38",),
    "tests/storage/test_crashes.py::test_killed_at_random_moments": ("R31",),
    "tests/errors/test_error_texts.py::test_the_page_shows_what_is_said": (
        "R11",
        "R13",
        "R15",
        "R16",
        "R17",
        "R18",
        "R24",
        "R62",
        "R64",
    ),
    EXECUTION + "test_worker.py::test_progress_bars_collapse": ("R27",),
    EXECUTION + "test_kernels.py::test_every_process_is_ended_even_a_deaf_one": ("R08",),
    EXECUTION + "test_worker.py::test_a_syntax_error_has_its_line": ("R64",),
    EXECUTION + "test_loop_kernels.py::test_a_retry_gets_a_fresh_kernel": ("R26",),
    EXECUTION + "test_papermill_engine.py::test_top_level_await_magics_and_plots_work_as_in_a_notebook": ("R63",),
    "tests/planning/test_plan_scale.py::test_a_chain_of_ten_thousand_is_planned_and_decided": ("R46",),
    "tests/storage/test_garbage_collection.py::test_nothing_a_live_run_might_need_is_touched": ("R42",),
    "tests/storage/test_store.py::test_a_store_that_a_newer_version_wrote": ("R47",),
    "tests/storage/test_digests.py::test_one_byte_changed_with_size_and_mtime_kept_is_found": ("R44",),
    "tests/storage/test_leases.py::test_a_clock_that_goes_back_gives_greater_numbers_all_the_same": ("R44",),
    "tests/execution/test_mutation_guard.py::test_changing_a_stored_value_is_noticed": ("R14",),
    EXECUTION + "test_diagnosis.py::test_memory_is_blamed_only_with_evidence": ("R03",),
    EXECUTION + "test_worker.py::test_a_flood_of_figures_is_cut": ("R21",),
    "tests/server/test_run_routes.py::test_the_same_key_gets_the_same_run_also_at_once_and_after_a_restart": ("R78",),
    "tests/server/test_html_views.py::test_what_others_wrote_is_text": ("S02",),
    "tests/browser/test_graph_safety.py::test_no_text_becomes_markup_anywhere": ("S02", "S03"),
    "tests/server/test_json_answers.py::test_what_others_wrote_comes_back_as_json_only": ("S24",),
    REFUSED + "test_ids_and_names_lead_nowhere": ("S05",),
    REFUSED + "test_pages_of_other_sites_are_refused_even_with_the_token": ("S09",),
    REFUSED + "test_a_page_needs_the_xsrf_token": ("S09",),
    REFUSED + "test_another_host_is_refused": ("S10",),
    REFUSED + "test_a_guest_reads_and_cannot_run": ("S30",),
}
NOT_YET = {
    "R10": "kernels are our own processes; no gateway is used",
    "R77": "there are no schedules yet",
    "S12": "pipelines are not published yet",
    "S25": "there is no registry yet",
    "S28": "there is no release yet",
}
UNNAMED = "a test that names it is still to come"


def tests_by_row() -> dict[str, set[str]]:
    """Return, for every row, the files of the tests that name it."""
    rows: dict[str, set[str]] = {row: set() for row in ROWS}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        name = path.relative_to(ROOT).as_posix()
        for row in _named(ast.parse(path.read_text(encoding="utf-8"))):
            if row in rows:
                rows[row].add(name)
    for test, ids in ALSO.items():
        for row in ids:
            rows[row].add(test.partition("::")[0])
    return rows


def _named(tree: ast.Module) -> Iterator[str]:
    """Yield the rows that a module's docstring names, and those of its tests."""
    texts = [ast.get_docstring(tree) or ""]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            texts += [node.name.replace("_", " "), ast.get_docstring(node) or ""]
    for text in texts:
        yield from (row.upper() for row in _ROW.findall(text))


def table() -> str:
    """Return the table as Markdown."""
    rows = tests_by_row()
    lines = ["| row | what goes wrong | tested in |", "|---|---|---|"]
    for row, title in ROWS.items():
        where = ", ".join(f"`{name.removeprefix('tests/')}`" for name in sorted(rows[row]))
        lines.append(f"| {row} | {title} | {where or 'not yet: ' + NOT_YET.get(row, UNNAMED)} |")
    count = sum(1 for where in rows.values() if where)
    return "\n".join([f"{count} of {len(ROWS)} rows are named by a test.", "", *lines, ""])


def written(page: str) -> str:
    """Return the page with the table in its place."""
    head, _, rest = page.partition(BEGIN)
    return head + BEGIN + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
