"""Which tests belong to `make check`, `make test` and `make test-all`.

`make check` leaves out what is marked ``kernel``, ``browser``, ``cluster``, ``process`` or ``rare``; `make test` leaves
out what is ``rare``; `make test-all`, and so CI, has everything. A test that is rare tries one more error, package,
size or front end of a kind that `make test` tries in another one: `RARE` names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

HERE = Path(__file__).parent

RARE = {
    # Other errors, and other places at which they come.
    r"faults/test_file_faults.py::test_what.*\[(?!(put-crash|put-short|gc-ENOSPC|read-EIO|heal-EMFILE)-once)": (
        "the same harness on four of its operations, with five errors"
    ),
    r"faults/test_file_faults.py::test_the_harness_finds_a_writer_that_is_not_atomic_on_a_full_disk": (
        "test_the_harness_finds_a_writer_that_is_not_atomic[in place]"
    ),
    r"faults/test_power_cuts.py::test_after.*\[(?!keep a run|upgrade)": "the same tests of a run and of a mark",
    r"faults/test_kills.py::.*\[(?!.*(RecordStore.put:be|publish:af|execute:be|_save_one:be|_receive:af))": (
        "the same test at a point in the runner, the worker, the zygote, the kernel and the store"
    ),
    r"storage/test_crashes.py::test_refused_at_any_call_to_the_system\[(?!ENOSPC-False)": "the same with ENOSPC, once",
    r"storage/test_crashes.py::test_killed_at_random_moments": "test_killed_before_any_call_to_the_system",
    r"e2e/test_hard_conditions.py::test_an_interrupt_at_a_named_point\[(?!.*RecordStore.put:before)": (
        "the same test at the point where a record is about to be written"
    ),
    r"e2e/test_faults.py::test_a_killed_runner_loses_nothing\[20\]": "the same test with three moments",
    r"e2e/test_reuse_cases.py::test_what_is_missed": "test_traces.py, which tries each reader under each watch",
    # Other packages and notebooks.
    r"golden/test_goldens.py::test_the_pipeline_shows_the_same\[(?![acmu])": (
        "the same test of the notebooks that begin with a, c, m or u"
    ),
    r"execution/test_isolation.py::test_packages_compute_the_same.*\[(?!numpy|pandas)": "the same test of two packages",
    r"execution/test_isolation.py::test_many_steps_leak_nothing": "execution/test_prefork.py, which counts processes",
    r"execution/test_isolation.py::test_(nothing_that_a_step|a_step_that_dies).*\[ordinary": "the same, forked",
    r"execution/test_papermill_engine.py::test_papermill_and_the_engine.*\[(?!papermill)": "the same, papermill first",
    r"execution/test_value_memory.py::test_a_large_value_is_never_held_twice\[frame": "the same test of an array",
    r"test_benchmarks.py::test_values_come_through_whole_and_both_halves_are_timed\[(?!array)": "the same of arrays",
    r"e2e/test_examples.py::.*\[flights": "the quickstart; e2e/test_foreach_runs.py",
    # Other sizes, and journeys on clusters beside the contract of executors.
    r"e2e/test_two_users.py::test_steps_are_computed_once_each\[198\]": "the same test of 28 items",
    r"e2e/test_shared_traces.py::.*environment\[bucket": "the same in a folder; the other test in both",
    r"e2e/test_dask_cluster.py::test_the_flights": "test_the_results_are_those_of_a_local_run",
    r"e2e/test_dask_cluster.py::test_items_are_computed_on_workers_of_two_kinds\[20": "the same test of fewer items",
    r"e2e/test_dask_cluster.py::test_a_worker_is_killed_while_it_runs_a_step\[1": "the same without a retry",
    r"e2e/test_ray_cluster.py::test_(the_results|traces|a_demand|a_node)": "all of them on Dask; contracts/test_ray.py",
    r"e2e/test_traces.py::test_what_is_asked_of_files\[.*(inotify|none)": "the same test with fanotify",
    r"e2e/test_reuse_cases.py::.*\[(code|environment|harmless)": "the cases of files; planning/ for code and variables",
    r"e2e/test_undeclared_reads.py::test_a_file_that_a_parameter_names_counts\[(?!x = open\(path\))": (
        "the same test of open(path); planning/test_undeclared_files.py"
    ),
    r"browser/test_cells.py::test_badges_come_in_long_notebooks": "the same of short ones; the rest of that file",
    # The other front end, and the other theme.
    r"browser/(?!test_loading|test_cells).*\[notebook": "the same in JupyterLab; test_loading and test_cells in both",
    r"browser/.*\[(JupyterLab )?Dark": "the same test of the light theme",
}
"""Test by test: a pattern of their names, and what `make test` has of the same kind."""


PROCESS = (
    r"execution/test_access_log\.py",
    r"attacks/",
    r"faults/",
    r"fuzz/",
    r"storage/test_buckets\.py",
    r"storage/test_claimed_leases\.py",
    r"storage/test_concurrent_processes\.py",
    r"storage/test_crashes\.py",
    r"storage/test_store_model\.py",
    r"storage/test_team_database\.py",
    r"execution/test_papermill_engine\.py",
    r"interfaces/test_cli_convert\.py",
    r"planning/test_(plan_scale\.py|plan\.py::test_the_length_of_a_chain|environment\.py::test_everything_installed)",
    r"reporting/test_crossings\.py::test_over_several_graphs",
    r"storage/test_(large_values|store|record_store)\.py::test_(a_collection_keeps|many_)",
    r"storage/test_memory_map\.py::test_a_large_pickle",
    r"planning/test_canonical_code\.py::test_(black|comments_blank_lines|depth_is|every_python)",
    r"execution/test_mutation_guard\.py::test_reading_a_stored_value_changes_nothing\[model",
    r"storage/test_leases\.py::test_a_lease_whose_file_is_removed",
    r"storage/test_serializers\.py::test_the_same_value_gives_the_same_bytes\[array-many-fields",
    r"test_benchmarks\.py",
    r"test_scaling\.py",
)
"""Tests without a kernel that start databases, object stores or other processes all the time, or take long."""


SHARED = (
    r"e2e/test_ray_cluster\.py",
    r"e2e/test_dask_cluster\.py",
    r"browser/",
    r"contracts/test_ray\.py",
    r"e2e/test_two_users\.py",
    r"e2e/test_shared_traces\.py",
    r"e2e/test_reuse\.py",
    r"execution/test_isolation\.py",
    r"contracts/test_dask\.py",
    r"faults/test_(kills|cache_attacks)\.py",
    r"server/",
    r"storage/test_(buckets|team_database|claimed_leases)\.py",
    r"execution/test_(prefork|provisioner)\.py",
    r"e2e/test_store_upkeep\.py",
    r"interfaces/test_cli_commands\.py",
)
"""Files whose tests share what takes long to start, and so run in one process each; those that take longest first."""


def _rank(name: str) -> int:
    """Return the position of a test's file in `SHARED`; its length for other files."""
    path = name.removeprefix("tests/").partition("::")[0]
    return next((rank for rank, pattern in enumerate(SHARED) if re.match(pattern, path)), len(SHARED))


def shares_process(name: str) -> str:
    """Return the file of a test that has to run in one process with the others of its file; nothing for other tests."""
    return name.partition("::")[0] if _rank(name) < len(SHARED) else ""


def in_order(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return tests that share something first, so that a long file does not begin when all others have ended."""
    return sorted(items, key=lambda item: _rank(item.nodeid))


def mark(items: Iterable[pytest.Item]) -> None:
    """Mark tests by the folder in which they are, and by `RARE`."""
    rare, process = (re.compile("|".join(f"(?:{pattern})" for pattern in patterns)) for patterns in (RARE, PROCESS))
    for item in items:
        name = item.nodeid.removeprefix("tests/")
        folder = item.path.relative_to(HERE).parts[0]
        if folder in ("browser", "e2e", "server"):
            item.add_marker(pytest.mark.kernel)
        if folder == "browser":
            item.add_marker(pytest.mark.browser)
        if _shares_what_its_module_starts(item) and not shares_process(item.nodeid):
            raise pytest.UsageError(
                f"tests/tiers.py: SHARED lacks {name.partition('::')[0]}, which has a fixture of a module"
            )
        if process.match(name):
            item.add_marker(pytest.mark.process)
        if rare.match(name):
            item.add_marker(pytest.mark.rare)


def _shares_what_its_module_starts(item: pytest.Item) -> bool:
    """Tell whether a test uses a fixture that is made once in a module: once in each process that runs some of it."""
    fixtures = getattr(item, "_fixtureinfo").name2fixturedefs.values()  # noqa: B009 - pytest shows it in no other way
    return any(definition.scope in ("module", "package") for definitions in fixtures for definition in definitions)


def unused(items: Iterable[pytest.Item]) -> list[str]:
    """Return the patterns that are of no test."""
    names = [item.nodeid.removeprefix("tests/") for item in items]
    return [pattern for pattern in (*RARE, *PROCESS, *SHARED) if not any(re.match(pattern, name) for name in names)]
