"""The command line itself: help, mistakes in commands, exit codes, JSON. Nothing here starts a kernel."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest

from jupyter_pipelines import __version__
from jupyter_pipelines.errors import Diagnostic, PlanError, StepFailed
from jupyter_pipelines.interfaces import strict_json
from jupyter_pipelines.interfaces.cli import command, main
from jupyter_pipelines.interfaces.common_options import (
    parameter_arguments,
    read_values,
    selection_arguments,
    texts_of,
)
from jupyter_pipelines.interfaces.usage_errors import as_fault

ROOT = Path(__file__).parents[2]
CODES_OF_HELP = ["--help", "-h"]


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Call the command line as a shell does; returns exit code, standard output and standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main.call(arguments)
        return code, *capfd.readouterr()

    return call


CliCall = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("option", CODES_OF_HELP)
def test_help_lists_every_command(cli: CliCall, option: str) -> None:
    code, out, _ = cli(option)
    assert code == 0
    for name, (_, text) in main.COMMANDS.items():
        assert f"  {name} " in out
        assert text in out
    assert cli()[:2] == (code, out)


def test_the_version_is_told(cli: CliCall) -> None:
    assert cli("--version") == (0, f"jupyter pipelines, version {__version__}\n", "")


OTHERS = {"serve": "[FOLDER]", "explain": "CODE", "keys": "[COMMAND] [ARGS]...", "store": "[COMMAND] [ARGS]..."}
"""Commands that are not about one notebook."""


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_has_help_with_an_example(cli: CliCall, name: str) -> None:
    code, out, _ = cli(name, "-h")
    assert code == 0
    assert f"Usage: jupyter pipelines {name} [OPTIONS] {OTHERS.get(name, 'NOTEBOOK')}" in out
    assert f"  jupyter pipelines {name}" in out.partition("Examples:")[2]
    if name not in OTHERS:
        assert f"jupyter pipelines {name} churn.ipynb" in out
        for option in ("--store", "--json"):
            assert option in out


def test_the_list_of_commands_says_what_their_help_says() -> None:
    context = click.Context(main.commands)
    for name, (_, text) in main.COMMANDS.items():
        command = main.commands.get_command(context, name)
        assert command is not None
        assert command.name == name
        first = (command.help or "").splitlines()[0]
        assert first.split()[0] == text.split()[0]


def test_the_docs_name_every_option() -> None:
    page = (ROOT / "docs" / "running.md").read_text()
    context = click.Context(main.commands)
    for name in main.COMMANDS:
        command = main.commands.get_command(context, name)
        assert command is not None
        assert f"`{name}`" in page
        for option in command.params:
            if isinstance(option, click.Option) and option.name != "help":
                assert any(f"`{spelling}" in page or f" {spelling}" in page for spelling in option.opts), (
                    name,
                    option.opts,
                )


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []])
def test_help_and_version_import_click_and_little_else(arguments: list[str]) -> None:
    script = (
        "import sys; from jupyter_pipelines.interfaces.cli import main\n"
        f"code = main.call({arguments!r})\n"
        "print('\\n'.join(sys.modules), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    ours = {name for name in done.stderr.split() if name.startswith("jupyter_pipelines")}
    assert ours == {
        *("jupyter_pipelines", "jupyter_pipelines.errors"),
        *("jupyter_pipelines.interfaces", "jupyter_pipelines.interfaces.cli", "jupyter_pipelines.interfaces.cli.main"),
    }
    heavy = {"rich", "nbformat", "papermill", "pandas", "numpy", "IPython", "yaml", "json", "sqlite3", "asyncio"}
    assert not heavy & set(done.stderr.split())


MISTAKES = {
    ("rnu", "a.ipynb"): ("there is no command `rnu`", "write `run`"),
    ("run", "a.ipynb", "--jbos", "3"): ("there is no option `--jbos`", "write `--jobs`"),
    ("--jsn",): ("there is no option `--jsn`", "write it behind the command: `--json` is an option of `run`,"),
    ("--xyz",): ("there is no option `--xyz`", "`jupyter pipelines --help`"),
    ("plan", "a.ipynb", "--jobs", "2"): ("there is no option `--jobs`", "leave it out: `--jobs` is an option of `run`"),
    ("plan", "a.ipynb", "--detatch"): ("there is no option `--detatch`", "`--detach` is an option of `run`"),
    ("show", "a.ipynb", "--to", "b"): ("there is no option `--to`", "`--to` is an option of `run`, `plan`"),
    ("run", "a.ipynb", "-o", "x"): ("there is no option `-o`", "`-o` is an option of `show`, `output`, `convert`"),
    ("run", "a.ipynb", "-j", "2"): ("there is no option `-j`", "write `--jobs`"),
    ("run", "a.ipynb", "-z", "2"): ("there is no option `-z`", "`jupyter pipelines run --help`"),
    ("run", "a.ipynb", "--job", "2"): ("there is no option `--job`", "write `--jobs`"),
    ("run", "a.ipynb", "--param", "a=1"): ("there is no option `--param`", "write `-p`"),
    ("run", "a.ipynb", "--parallel", "2"): ("there is no option `--parallel`", "`jupyter pipelines run --help`"),
    ("gc", "a.ipynb", "--version"): ("there is no option `--version`", "is an option of `jupyter pipelines`"),
    ("keys", "new", "--detach"): ("there is no option `--detach`", "leave it out: `--detach` is an option of `run`"),
    ("run",): ("`jupyter pipelines run` lacks `NOTEBOOK`", "usage: jupyter pipelines run [OPTIONS] NOTEBOOK"),
    ("why", "a.ipynb"): ("`jupyter pipelines why` lacks `STEP`", "NOTEBOOK STEP"),
    ("run", "a.ipynb", "--jobs", "many"): ("`many`", "`jupyter pipelines run --help`"),
    ("run", "a.ipynb", "--jobs", "0"): ("invalid value for `--jobs`", "usage: jupyter pipelines run"),
    ("show", "a.ipynb", "--format", "gif"): ("`gif` is not one of", "`jupyter pipelines show --help`"),
    ("run", "a.ipynb", "b.ipynb"): ("unexpected extra argument", "`jupyter pipelines run --help`"),
    ("plan", "a.ipynb", "-p"): ("`-p` requires an argument", "`jupyter pipelines plan --help`"),
    ("run", "a.ipynb", "--continue=yes"): ("`--continue` does not take a value", "usage: jupyter pipelines run"),
}


@pytest.mark.parametrize("arguments", MISTAKES)
def test_mistakes_in_commands_are_faults_like_any_other(cli: CliCall, arguments: tuple[str, ...]) -> None:
    message, help_text = MISTAKES[arguments]
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error[JP60")
    assert message in err
    assert help_text in err
    assert "= help: " in err.splitlines()[-2]


@pytest.mark.parametrize("arguments", MISTAKES)
def test_mistakes_are_one_document_with_json(cli: CliCall, arguments: tuple[str, ...]) -> None:
    code, out, err = cli(*arguments[:1], "--json", *arguments[1:])
    assert code == 2
    document = json.loads(out)
    assert document["schema"] == "jupyter-pipelines/check/1"
    assert [fault["severity"] for fault in document["faults"]] == ["error"]
    assert document["faults"][0]["message"] in err


def test_a_notebook_that_is_not_there(cli: CliCall, tmp_path: Path) -> None:
    for name in main.COMMANDS.keys() - OTHERS:
        more = {"why": ["a"], "diff": ["last~1"], "output": ["a.b"]}.get(name, [])
        code, out, err = cli(name, str(tmp_path / "none.ipynb"), *more, "--json")
        assert code == 2, name
        assert json.loads(out)["faults"][0]["code"] == "JP104"
        assert "none.ipynb" in err
        assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


class _FailingProject:
    """Project whose ``plan_to_run`` raises an error."""

    error: BaseException = RuntimeError()

    def __init__(self, store: str | None = None) -> None:
        pass

    def plan_to_run(self, source: str, **options: Any) -> Any:
        raise self.error


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Let the project fail with an error."""

    def fail(error: BaseException) -> None:
        monkeypatch.setattr("jupyter_pipelines.project.Project", type("Failing", (_FailingProject,), {"error": error}))

    return fail


DIAGNOSTIC = Diagnostic(code="JP501", message="there is no parameter `tres`", suggestion="write `trees`")


@pytest.mark.parametrize(
    ("error", "code", "shown_code"),
    [
        (PlanError(DIAGNOSTIC), 2, "JP501"),
        (StepFailed(DIAGNOSTIC), 1, "JP501"),
        (KeyboardInterrupt(), 130, "JP306"),
        (RuntimeError("boom"), 70, "JP901"),
        (RecursionError("deep"), 70, "JP901"),
    ],
)
def test_exit_codes(
    cli: CliCall, failing: Callable[[BaseException], None], error: BaseException, code: int, shown_code: str
) -> None:
    failing(error)
    exit_code, out, err = cli("plan", "a.ipynb", "--json")
    assert exit_code == code
    assert shown_code in err
    assert "Traceback" not in err
    assert [fault["code"] for fault in json.loads(out)["faults"]] == [shown_code]


def test_faults_name_the_notebook(cli: CliCall, failing: Callable[[BaseException], None]) -> None:
    failing(PlanError(DIAGNOSTIC))
    assert "  --> a.ipynb" in cli("plan", "a.ipynb")[2]


def test_developers_can_ask_for_the_traceback(
    cli: CliCall, failing: Callable[[BaseException], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JP_DEBUG", "1")
    failing(PlanError(DIAGNOSTIC))
    assert "Traceback" in cli("plan", "a.ipynb")[2]


def test_a_fault_cannot_steer_the_terminal(cli: CliCall, failing: Callable[[BaseException], None]) -> None:
    failing(PlanError(Diagnostic(code="JP501", message="\x1b]52;c;aGk=\x07\u202e", suggestion="\x1b[2J")))
    err = cli("plan", "a.ipynb")[2]
    assert err.replace("\n", "").isprintable()
    assert r"\x1b]52" in err


def test_a_reader_that_goes_away_is_no_failure_of_a_step() -> None:
    script = f"{sys.executable} -c 'from jupyter_pipelines.interfaces.cli.main import main; main()' --help | true; "
    script += "echo ${PIPESTATUS[0]}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() in ("0", "141")
    assert "Traceback" not in done.stderr


class TestForce:
    """``--force`` may stand without a step, wherever it stands."""

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["a.ipynb"], []),
            (["a.ipynb", "--force"], True),
            (["--force", "a.ipynb"], True),
            (["--force", "./a"], True),
            (["a.ipynb", "--force", "train"], ["train"]),
            (["--force", "train", "a.ipynb"], ["train"]),
            (["a.ipynb", "--force=train", "--force", "load,split"], ["train", "load", "split"]),
            (["a.ipynb", "--force", "--json"], True),
            (["a.ipynb", "--force", "train", "--force"], True),
        ],
    )
    def test_in_any_place(self, arguments: list[str], expected: Any) -> None:
        command = main.commands.get_command(click.Context(main.commands), "plan")
        assert command is not None
        options = command.make_context("plan", list(arguments)).params
        names = ("to", "start", "only", "force")
        assert selection_arguments(**{name: options[name] for name in names})["force"] == expected
        assert Path(options["notebook"]).stem == "a"


class TestValues:
    """``-p`` and ``--params-file``."""

    def test_pairs(self) -> None:
        assert texts_of(["a=1", "b=x=y", "c=", "a=2"]) == {"a": "2", "b": "x=y", "c": ""}

    def test_pairs_without_a_value_are_told_all_at_once(self) -> None:
        with pytest.raises(PlanError) as raised:
            texts_of(["a", "b=1", "=2"])
        assert [fault.code for fault in raised.value.faults] == ["JP604", "JP604"]
        assert "-p a=VALUE" in raised.value.faults[0].suggestion

    @pytest.mark.parametrize(
        ("name", "text"), [("p.json", '{"a": 1, "b": [1.5, "x"]}'), ("p.yaml", "a: 1\nb:\n- 1.5\n- x\n")]
    )
    def test_files(self, tmp_path: Path, name: str, text: str) -> None:
        (tmp_path / name).write_text(text)
        assert read_values(tmp_path / name) == {"a": 1, "b": [1.5, "x"]}
        assert parameter_arguments(["a=2"], [str(tmp_path / name)]) == {
            "parameters": {"b": [1.5, "x"]},
            "texts": {"a": "2"},
        }

    def test_an_empty_yaml_file_has_no_values(self, tmp_path: Path) -> None:
        (tmp_path / "p.yml").write_text("# nothing\n")
        assert read_values(tmp_path / "p.yml") == {}

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("p.json", b"{"),
            ("p.json", b"[1]"),
            ("p.json", b"\xff\xfe"),
            ("p.json", b"[" * 100_000),
            ("p.yaml", b"a: [1"),
            ("p.yaml", b"1: 2"),
            ("p.yaml", b"a: &x [1]\nb: *x"),
            ("p.yaml", b"a: !!python/object/apply:os.system ['true']"),
            ("p.toml", b"a = 1"),
            ("p.json", b" " * 1_000_001),
        ],
    )
    def test_files_that_cannot_be_read(self, tmp_path: Path, name: str, content: bytes) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(PlanError) as raised:
            read_values(tmp_path / name)
        assert raised.value.code == "JP508"
        assert name in raised.value.faults[0].message

    def test_files_that_are_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(PlanError, match="no such file"):
            read_values(tmp_path / "p.json")


def test_json_is_json_for_every_reader() -> None:
    document = {"a": float("nan"), "b": [float("inf"), 1.5], "c": Path("x"), "d": {1: "ü"}}
    text = strict_json.as_json(document)
    assert json.loads(text, parse_constant=pytest.fail) == {"a": "nan", "b": ["inf", 1.5], "c": "x", "d": {"1": "ü"}}


def test_terminals_that_know_only_ascii_are_known() -> None:
    assert command.is_plain(SimpleNamespace(encoding="ascii"))  # type: ignore[arg-type]
    assert command.is_plain(SimpleNamespace(encoding="latin-1"))  # type: ignore[arg-type]
    assert command.is_plain(SimpleNamespace(encoding=None))  # type: ignore[arg-type]
    assert not command.is_plain(SimpleNamespace(encoding="utf-8"))  # type: ignore[arg-type]


def test_mistakes_without_a_context_are_told_too() -> None:
    assert as_fault(click.UsageError("Something's odd.")).message == "something`s odd"
    assert as_fault(click.ClickException("Bad.")).code == "JP605"
