"""What a step asked while it ran is asked again before its result is reused."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from jupyter_pipelines.planning.dependencies import dependencies_document, dependencies_summary, dependencies_text
from jupyter_pipelines.planning.keys.traces import (
    TraceReader,
    details_of,
    environment_answer,
    for_shared_store,
    path_in_trace,
    path_on_disk,
    question,
    variable_answer,
)
from jupyter_pipelines.planning.plan import PlannedStep
from jupyter_pipelines.planning.traced_records import beyond_key
from jupyter_pipelines.storage.blobs.digests import digest_bytes
from jupyter_pipelines.storage.signing.keyring import TeamKey, UserKeyring
from jupyter_pipelines.storage.step_record import RecordSignature, StepRecord, traced_key
from tests.planning.planning_fakes import FOLDER, PlanSimulation, artifact, module, pipeline, step

STEP = step("load", "", "rows")
BOOK = pipeline(STEP)
DATA = question("file", "data.csv")


def reader(root: Path, **environment: str) -> TraceReader:
    def digests(names: Iterable[str]) -> dict[str, str]:
        return {name: digest_bytes(Path(name).read_bytes()) for name in names if Path(name).is_file()}

    return TraceReader(root, digests, environment)


def stored(simulation: PlanSimulation, trace: dict[str, str] | None, **changes: object) -> StepRecord:
    """Run the step, and give its record a trace."""
    planned = simulation.plan(BOOK)["load"]
    simulation.store.put(planned, {"rows": artifact(str(trace))})
    key = str(planned.key)
    record = simulation.store.records[key] = replace(simulation.store.records[key], trace=trace, **changes)
    return record


def planned_after(trace: dict[str, str] | None) -> PlannedStep:
    simulation = PlanSimulation()
    stored(simulation, trace)
    return simulation.plan(BOOK)["load"]


def test_paths_are_those_of_the_project() -> None:
    home = str(Path.home())
    for path in ("/project/data/x.csv", "/project", "/projects/x.csv", f"{home}/x.csv", "/etc/x"):
        named = path_in_trace(path, "/project")
        assert path_on_disk(named, "/project") == path
        assert named.startswith(("/", "~", ".", "data"))
    assert path_in_trace("/project/data/x.csv", "/project") == "data/x.csv"
    assert path_in_trace(f"{home}/x.csv", "/project") == "~/x.csv"


def _write(name: str, text: str = "1") -> Callable[[Path], object]:
    return lambda root: (root / name).write_text(text)


def _other_owner() -> tuple[int, int]:
    """Return owner and group that this user may give to a file."""
    groups = [group for group in os.getgroups() if group != os.getgid()]
    if os.getuid() == 0:
        return 1, 1
    if not groups:
        pytest.skip("only root, or a member of several groups, can give a file away")
    return -1, groups[0]


@pytest.mark.parametrize(
    ("asked", "change"),
    [
        (question("file", "data/a.csv"), _write("data/a.csv", "2")),
        (question("file", "data/a.csv"), lambda root: (root / "data" / "a.csv").unlink()),
        (question("file", "none"), _write("none")),
        (question("file", "none"), lambda root: (root / "none").mkdir()),
        (question("module", "data/a.csv"), _write("data/a.csv", "2")),
        (question("listing", "data", []), _write("data/b.csv")),
        (question("listing", "none", []), lambda root: (root / "none").mkdir()),
        (question("glob", "*.csv", "data", False, []), _write("data/b.csv")),
        (question("path-glob", "*.csv", "data", "glob", []), _write("data/b.csv")),
        (question("path-glob", "*.csv", ".", "rglob", []), _write("data/b.csv")),
        (question("kind", "none"), _write("none")),
        (question("kind", "data"), lambda root: (root / "data").rename(root / "other")),
        (question("size", "data/a.csv"), _write("data/a.csv", "22")),
        (question("times", "data/a.csv"), lambda root: os.utime(root / "data" / "a.csv", (1, 1))),
        (question("status", "data/a.csv"), lambda root: (root / "data" / "a.csv").chmod(0o755)),
        (question("status", "data/a.csv"), lambda root: os.chown(root / "data" / "a.csv", *_other_owner())),
        (question("rights", "data/a.csv", os.X_OK), lambda root: (root / "data" / "a.csv").chmod(0o755)),
        (question("searched", ".", ["ut", "none"]), _write("ut.py")),
        (question("searched", ".", ["*"]), _write("json.py")),
        (question("searched", ".", ["ut"]), lambda root: (root / "ut").mkdir()),
        (question("searched", "none", ["ut"]), lambda root: (root / "none" / "ut").mkdir(parents=True)),
        (
            question("listing", "data", []),
            lambda root: (root / "data" / "a.csv").unlink() or (root / "data" / "a.csv").mkdir(),
        ),
    ],
)
def test_an_answer_follows_what_is_there(asked: str, change: Callable[[Path], object], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("1")
    before = reader(tmp_path).answer(asked)
    assert reader(tmp_path).answer(asked) == before
    change(tmp_path)
    assert reader(tmp_path).answer(asked) != before


@pytest.mark.parametrize(
    ("asked", "change"),
    [
        (question("file", "data/a.csv"), lambda root: os.utime(root / "data" / "a.csv", (1, 1))),
        (question("listing", "data", ["out"]), _write("data/out")),
        (question("listing", "data", []), lambda root: (root / "data" / ".ipynb_checkpoints").mkdir()),
        (question("listing", "data", []), _write("data/a.csv", "2")),
        (question("glob", "*.csv", "data", False, ["data/out.csv"]), _write("data/out.csv")),
        (question("glob", "*.csv", "data", False, []), _write("data/b.txt")),
        (question("path-glob", "*.csv", "data", "glob", []), _write("data/b.txt")),
        (question("kind", "data/a.csv"), _write("data/a.csv", "22")),
        (question("size", "data/a.csv"), _write("data/a.csv", "2")),
        (question("times", "data/a.csv"), lambda root: (root / "data" / "a.csv").chmod(0o755)),
        (question("searched", ".", ["ut"]), _write("utils.py")),
        (question("searched", ".", ["*"]), _write("utils.py")),
        (question("searched", ".", ["ut"]), _write("ut.csv")),
    ],
)
def test_an_answer_stays_as_long_as_it_may(asked: str, change: Callable[[Path], object], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("1")
    before = reader(tmp_path).answer(asked)
    change(tmp_path)
    assert reader(tmp_path).answer(asked) == before


def test_values_of_variables_are_not_in_answers(tmp_path: Path) -> None:
    asked = question("variable", "TOKEN")
    answers = [reader(tmp_path, TOKEN=value).answer(asked) for value in ("hunter2", "hunter2", "other")]
    assert answers[0] == answers[1] == variable_answer("TOKEN", "hunter2")
    assert answers[0] != answers[2]
    assert "hunter2" not in answers[0]
    assert reader(tmp_path).answer(asked) == "unset"


def test_what_every_kernel_gets_is_a_variable_that_is_not_set(tmp_path: Path) -> None:
    """A plan in a kernel of Jupyter and one in a terminal say the same."""
    given = {"PYTHONHASHSEED": "0", "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    asked = question("unset", *given)
    answers = [TraceReader(tmp_path, dict.fromkeys, environment).answer(asked) for environment in ({}, given)]
    assert answers == ["", ""]
    own = {"PYTHONHASHSEED": "2", "MPLBACKEND": "svg"}
    assert TraceReader(tmp_path, dict.fromkeys, own).answer(asked) == "PYTHONHASHSEED MPLBACKEND"


def test_names_of_variables(tmp_path: Path) -> None:
    asked = question("variables", ["OWN"])
    before = reader(tmp_path, A="1").answer(asked)
    assert reader(tmp_path, A="2", OWN="1", SSH_CLIENT="1", TERM="x").answer(asked) == before
    assert reader(tmp_path, A="1", B="1").answer(asked) != before
    assert reader(tmp_path, B="1").answer(question("unset", "A", "B", "C")) == "B"


@pytest.mark.parametrize(
    ("trace", "code", "text"),
    [
        ({DATA: "sha256:old"}, "file", "file `data.csv`, which it read, is missing now"),
        ({question("module", "ut.py"): "x"}, "module", "module file `ut.py`, which it imported, is missing now"),
        ({question("listing", "/none", []): "1 names x"}, "file", "folder `/none`, which it listed, is missing now"),
        ({question("kind", "none"): "file"}, "file", "file `none`, which it looked at, is missing now"),
        ({question("variable", "NO"): "hmac 1"}, "environment-variable", "environment variable `NO` is no longer set"),
        ({question("rights", "/none", 1): "yes"}, "file", "the permissions of `/none`, which it asked for, changed"),
        ({question("searched", "/none", ["a"]): "a.py"}, "module", "what in `/none` is imported as `a` changed"),
        ({question("searched", "/none", ["*"]): "re.py"}, "module", "what in `/none` is imported as `re` changed"),
        ({question("unwatched", "why"): "why"}, "unwatched", "what it read cannot be determined: why"),
        (None, "untraced", "what it reads is not known yet: its stored result is older than traces"),
    ],
)  # fmt: skip
def test_a_reason_says_what_is_another_now(trace: dict[str, str] | None, code: str, text: str) -> None:
    planned = planned_after(trace)
    assert (planned.decision, planned.reason.code, planned.reason.text) == ("run", code, text)
    assert planned.previous is not None


def test_a_reason_names_three_and_counts_the_others() -> None:
    planned = planned_after({question("file", f"{number}.csv"): "sha256:old" for number in range(5)})
    assert planned.reason.text.endswith("file `2.csv`, which it read, is missing now, and 2 more")
    assert len(planned.reason.details) == 2


def test_a_trace_that_holds_is_reused() -> None:
    simulation = PlanSimulation()
    simulation.store.files[f"{FOLDER}/data.csv"] = "1"
    record = stored(simulation, {DATA: artifact("1").digest})
    planned = simulation.plan(BOOK)["load"]
    assert (planned.decision, planned.origin) == ("reuse", record)


def test_an_older_trace_that_holds_again_is_reused() -> None:
    simulation = PlanSimulation()
    simulation.store.files[f"{FOLDER}/data.csv"] = "1"
    older = stored(simulation, {DATA: artifact("1").digest})
    key = traced_key(older.key, older.trace or {})
    simulation.store.records[key] = older = replace(older, key=key)
    stored(simulation, {DATA: artifact("2").digest})
    planned = simulation.plan(BOOK)["load"]
    assert (planned.decision, planned.origin, planned.key) == ("reuse", older, key)
    simulation.store.files[f"{FOLDER}/data.csv"] = "3"
    planned = simulation.plan(BOOK)["load"]
    assert (planned.decision, planned.reason.text) == ("run", "file `data.csv`, which it read, changed")


def test_other_questions_under_the_key_are_asked_too() -> None:
    simulation = PlanSimulation()
    other = {question("file", "b.csv"): artifact("b").digest}
    simulation.store.files[f"{FOLDER}/b.csv"] = "b"
    record = stored(simulation, other)
    key = traced_key(record.key, other)
    simulation.store.records[key] = kept = replace(record, key=key)
    stored(simulation, {DATA: "sha256:gone"}, asked=(tuple(other),))
    assert simulation.plan(BOOK)["load"].origin == kept


def test_a_forged_answer_under_another_key_is_not_reused() -> None:
    simulation = PlanSimulation()
    simulation.store.files[f"{FOLDER}/data.csv"] = "1"
    newest = stored(simulation, {DATA: artifact("2").digest})
    forged = replace(newest, key=traced_key(newest.key, {DATA: artifact("1").digest}))
    simulation.store.records[forged.key] = forged  # its own trace is another
    assert simulation.plan(BOOK)["load"].decision == "run"


def test_records_kept_beside_the_newest_are_tried_from_the_newest_to_the_oldest() -> None:
    simulation = PlanSimulation()
    simulation.store.files[f"{FOLDER}/data.csv"] = "1"
    newest = stored(simulation, {DATA: artifact("2").digest})
    contents = {"a": "1", "b": "1", "c": "3"}
    kept = {
        f"{newest.key}.{name}": replace(
            newest, key=f"{newest.key}.{name}", created=f"2026-01-01-{name}", trace={DATA: artifact(content).digest}
        )
        for name, content in contents.items()
    }
    simulation.store.records |= kept
    planned = simulation.plan(BOOK)["load"]
    assert (planned.decision, planned.origin) == ("reuse", kept[f"{newest.key}.b"])
    # A record that is not trusted, or damaged, hides none of them.
    del simulation.store.records[newest.key]
    assert simulation.plan(BOOK)["load"].decision == "run"
    simulation.store.refusals[newest.key] = "it is not signed"
    assert simulation.plan(BOOK)["load"].origin == kept[f"{newest.key}.b"]
    simulation.store.files[f"{FOLDER}/data.csv"] = "4"
    assert simulation.plan(BOOK)["load"].reason.code == "untrusted"
    simulation.store.records[newest.key] = replace(newest, created="2025")
    assert simulation.plan(BOOK)["load"].reason.text == "file `data.csv`, which it read, changed"
    newer = replace(newest, key=f"{newest.key}.d", created="2027", trace={question("file", "new.csv"): "sha256:1"})
    simulation.store.records[newer.key] = newer
    assert simulation.plan(BOOK)["load"].reason.text == "file `new.csv`, which it read, is missing now"
    del simulation.store.records[newest.key], simulation.store.records[newer.key]
    simulation.store.refusals.clear()
    simulation.store.damage[newest.key] = "corrupt"
    simulation.store.files[f"{FOLDER}/data.csv"] = "3"
    assert simulation.plan(BOOK)["load"].origin == kept[f"{newest.key}.c"]


def test_other_traces_are_looked_for_only_if_the_newest_does_not_hold() -> None:
    simulation = PlanSimulation()
    simulation.store.files[f"{FOLDER}/data.csv"] = "1"
    stored(simulation, {DATA: artifact("1").digest})
    simulation.plan(BOOK)
    assert simulation.store.asked["others"] == 0
    assert PlanSimulation().plan(BOOK)["load"].reason.code == "never-run"


TOKEN = question("variable", "TOKEN")


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UserKeyring:
    """The keys of a user, who has none yet."""
    monkeypatch.setenv("JUPYTER_PIPELINES_KEYS", str(tmp_path / "keys"))
    return UserKeyring.of_user()


def test_a_team_compares_digests_of_variables_and_others_cannot(keys: UserKeyring, tmp_path: Path) -> None:
    environment = {"TOKEN": "secret", "TZ": "UTC", "GONE": "x"}
    own = {
        TOKEN: variable_answer("TOKEN", "secret"),
        question("variable", "TZ"): "UTC",
        question("variable", "GONE"): variable_answer("GONE", "another value"),
        question("environment"): environment_answer(environment),
        DATA: "sha256:1",
    }
    personal = for_shared_store(own, environment)
    team = TeamKey.new()
    keys.join(team)
    shared = for_shared_store(own, environment)
    # What is not known any more, and what is no digest, stays as it is.
    rest = {question("variable", "TZ"): "UTC", question("variable", "GONE"): own[question("variable", "GONE")]}
    assert {text: answer for text, answer in shared.items() if team.id not in text} == {
        **rest,
        DATA: "sha256:1",
    }
    assert not set(shared.values()) & (set(own.values()) - set(rest.values()) - {"sha256:1"})
    del shared[DATA], personal[DATA]
    for trace in (personal, shared):
        assert [details_of(text)[1] for text, *_ in reader(tmp_path, **environment).differing(trace)] == ["GONE"]
    # An earlier key of the team still checks.
    keys.join(TeamKey.new())
    assert len(reader(tmp_path, **environment).differing(shared)) == 1
    for path in keys.folder.iterdir():
        path.unlink()
    differing = reader(tmp_path, **environment).differing(shared)
    assert {new for text, _, new in differing if "team-" in text} == {"unchecked"}
    assert len(reader(tmp_path, **environment).differing(personal)) == 1


def test_reasons_say_what_cannot_be_compared_here_and_what_to_do(keys: UserKeyring) -> None:
    signature = RecordSignature(version=1, key="of another user", value=b"")
    team, user = (question("variable", "PATH", f"{kind}-0123") for kind in ("team", "user"))

    def reason(trace: dict[str, str], **changes: object) -> tuple[str, str]:
        simulation = PlanSimulation()
        stored(simulation, trace, **changes)
        planned = simulation.plan(BOOK)["load"].reason
        assert planned.code in ("environment-variable", "file")
        return planned.text, " ".join(planned.details)

    compared = "environment variable `PATH` cannot be compared on this machine"
    of_all = "environment variables cannot be compared on this machine"
    assert reason({team: "hmac 1"})[0] == compared
    assert "the team-0123 key" in reason({team: "hmac 1"})[1]
    assert "keys join" in reason({question("environment", "team-0123"): "hmac 1"})[1]
    assert reason({question("environment", "user-0123"): "hmac 1"})[0] == of_all
    for trace in ({user: "hmac 1"}, {question("variable", "PATH"): "hmac 1"}, {question("environment"): "hmac 1"}):
        text, details = reason(trace, signature=signature)
        assert text in (compared, of_all)
        assert "keys share" in details
    # The user's own result: the value has changed, or is gone.
    assert reason({question("variable", "PATH"): "hmac 1"})[0] == "environment variable `PATH` changed"
    assert reason({question("variable", "NOT_SET"): "hmac 1"})[0] == "environment variable `NOT_SET` is no longer set"
    assert reason({question("variable", "NOT_SET", "team-1"): "1"})[0] == "environment variable `NOT_SET` is not set"
    for path in ("/elsewhere/x.csv", "~/x.csv"):
        trace = {question("file", path): "sha256:1"}
        assert reason(trace, signature=signature)[0] == f"file `{path}`, which it read, is missing on this machine"
        assert reason(trace)[0] == f"file `{path}`, which it read, is missing now"
    inside = {question("file", "x.csv"): "sha256:1"}
    assert reason(inside, signature=signature)[0] == "file `x.csv`, which it read, is missing now"


def test_variables_are_shown_by_name_whatever_key_their_digests_have() -> None:
    simulation = PlanSimulation()
    trace = {question("variable", "TOKEN", "team-1"): "1", question("environment", "team-1"): "1"}
    record = stored(simulation, {**trace, question("unset", "A", "B"): ""})
    assert dependencies_document(record)["environment"] == ["A", "B", "TOKEN"]


def test_what_the_key_holds_is_no_question() -> None:
    declared = step("load", "raw=/project/raw.csv", "rows", modules=(module("helpers", "x = 1"),), files=("b.csv",))
    trace = {
        question("file", "raw.csv"): "x",
        question("file", "b.csv"): "x",
        question("module", "helpers.py"): "x",
        question("module", "other.py"): "x",
        question("file", "c.csv"): "x",
        question("file", "helpers.py"): "x",
        question("file", "book.ipynb"): "x",
    }
    kept = dict(beyond_key(trace, declared, pipeline(declared), {"module:helpers": "x"}))
    assert list(kept) == [question("module", "other.py"), question("file", "c.csv"), question("file", "helpers.py")]


def test_dependencies_are_a_document_and_a_text() -> None:
    simulation = PlanSimulation()
    trace = {
        DATA: "sha256:1",
        question("listing", "data", []): "2 names x",
        question("kind", "none"): "missing",
        question("file", "late.csv"): "missing",
        question("module", "lib/ut.py"): "sha256:2",
        question("variable", "DATA"): "hmac 1",
        question("unset", "TZ", "PYTHONUTF8"): "",
    }
    document = dependencies_document(stored(simulation, trace))
    assert document["files"] == [
        {"path": "data.csv", "digest": "sha256:1", "how": "read"},
        {"path": "data", "digest": "2 names x", "how": "listed"},
        {"path": "none", "digest": "missing", "how": "looked-for"},
        {"path": "late.csv", "digest": "missing", "how": "looked-for"},
    ]
    assert (document["modules"], document["environment"]) == ([{"path": "lib/ut.py"}], ["DATA", "TZ"])
    record = stored(simulation, trace)
    with_module = dependencies_document(replace(record, parts={**record.parts, "module:score": "sha256:3"}))
    assert with_module["modules"] == [{"name": "score"}, {"path": "lib/ut.py"}]
    assert "  it imported score" in dependencies_text(with_module).splitlines()
    assert dependencies_text(document).splitlines() == [
        "  it read data.csv",
        "  it listed data",
        "  it looked for none",
        "  it looked for late.csv",
        "  it imported lib/ut.py",
        "  it asked for the environment variables DATA, TZ",
    ]


def test_packages_that_are_not_installed_stand_in_one_line() -> None:
    versions = {"pandas": "3.0", "numexpr": "not installed", "bottleneck": "not installed"}
    trace = {question("package", name): version for name, version in versions.items()}
    document = dependencies_document(stored(PlanSimulation(), trace))
    assert document["packages"] == versions
    assert dependencies_text(document).splitlines() == [
        "  it uses pandas 3.0",
        "  it looked for packages that are not installed: numexpr, bottleneck",
    ]


def test_a_summary_of_many_dependencies_has_some_of_each_kind() -> None:
    simulation = PlanSimulation()
    files = {question("file", f"{number:02}.csv"): "sha256:1" for number in range(30)}
    few = {question("module", "ut.py"): "sha256:2", question("variable", "DATA"): "hmac 1"}
    summary = dependencies_summary(dependencies_document(stored(simulation, {**files, **few})))
    assert summary == [
        *(f"it read {number:02}.csv" for number in range(8)),
        "it imported ut.py",
        "it asked for the environment variables DATA",
        "and 22 more",
    ]
    assert dependencies_summary(dependencies_document(stored(simulation, few))) == summary[8:10]
    nothing = dependencies_document(stored(simulation, {}))
    assert dependencies_summary(nothing) == ["it depends on nothing but its code, parameters and inputs"]
