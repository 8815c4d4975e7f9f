"""Everything that can be written or met is in the docs, and what the docs show works."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import get_args

import click
import pytest

from jupyter_pipelines import plugins
from jupyter_pipelines.errors import CODES
from jupyter_pipelines.interfaces.cli.main import commands as shell
from jupyter_pipelines.interfaces.jupyter.magics import PipelineMagics
from jupyter_pipelines.interfaces.jupyter.pipeline_magic import pipeline as magic
from jupyter_pipelines.notebook.headers.options import KINDS, OPTIONS
from jupyter_pipelines.pipeline import state_names
from jupyter_pipelines.planning.reasons import Code, Decision
from jupyter_pipelines.reporting.step_status import STATE_STYLES, style_of
from tests.e2e.notebook_project import NotebookProject

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


@pytest.fixture
def book(tmp_path: Path) -> NotebookProject:
    (tmp_path / "pyproject.toml").write_text("")
    return NotebookProject(tmp_path)


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def commands_of(group: click.Group) -> dict[str, click.Command]:
    context = click.Context(group)
    return {name: group.get_command(context, name) for name in group.list_commands(context)}


def test_every_error_code_has_its_paragraph_and_title() -> None:
    assert "errors.md" in page("errors")
    text = (ROOT / "jupyter_pipelines" / "errors.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\((JP\d+)\)=$", text, re.M)) == CODES.keys()
    for code, title in CODES.items():
        paragraph = re.search(rf"^\*\*{code}\*\* (.*)$", text, re.M)
        assert paragraph, code
        assert paragraph[1].startswith(title), code


def test_every_command_and_option_of_the_shell_is_in_the_docs() -> None:
    text = page("running")
    for name, command in commands_of(shell).items():
        assert f"`{name}`" in text
        spelled = [option for parameter in command.params for option in parameter.opts if option.startswith("-")]
        assert [option for option in spelled if f"`{option}" not in text] == []


def test_every_command_of_the_magic_is_in_its_help() -> None:
    text = PipelineMagics.pipeline.__doc__
    assert [name for name in commands_of(magic) if name not in text] == []


def test_every_option_of_a_header_is_in_the_docs() -> None:
    text = page("headers")
    for option in OPTIONS:
        assert f"`{option.long}" in text
        assert not option.short or f"`{option.short}`" in text
    assert [kind for kind in KINDS if f"`%%{kind}`" not in text] == []
    described = PipelineMagics.step.__doc__
    assert [option.long for option in OPTIONS if (option.short or option.long) not in described] == []


def test_every_reason_is_in_the_docs() -> None:
    assert [code for code in get_args(Code) if f"`{code}`" not in page("documents")] == []


def missing_states(text: str) -> list[str]:
    """Return the states that no row of `text` has together with its word and both of its symbols."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    shown = {
        state: (style_of(state).word, f"{style_of(state).sign} (`{style_of(state).plain}`)")
        for state in {*STATE_STYLES, *get_args(Decision), *state_names.FINISHED, *state_names.UNDER_WAY}
    }
    return sorted(
        state
        for state, (word, symbols) in shown.items()
        if not any(f"`{state}`" in row[0] and symbols in row and (word == state or word in row) for row in rows)
    )


def test_every_state_is_in_the_docs_with_its_word_and_symbols() -> None:
    section = page("running").partition("## The words for states")[2].partition("\n## ")[0]
    assert missing_states(section) == []
    broken = section.replace("| trying again |", "| retrying |").replace("△", "▲").replace("`lost`", "`gone`")
    assert missing_states(broken) == ["lost", "retrying", "stale"]
    runs = section.partition("**A run** has a state.")[2]
    for state in {*state_names.FINISHED_RUNS, "running"}:
        assert f"| `{state}` | {style_of(state).sign} (`{style_of(state).plain}`) |" in runs


@pytest.mark.parametrize("kind", plugins.BUILT_IN)
def test_every_plug_in_point_and_its_built_ins_are_in_the_docs(kind: str) -> None:
    assert f"jupyter_pipelines.{kind}" in page("plugins")
    text = page("plugins") + page("headers") + page("running")
    assert [name for name in plugins.names(kind) if f"`{name}`" not in text] == []


def test_every_page_is_reached_from_the_index() -> None:
    index = page("index")
    assert "*" in index.splitlines()


def test_the_readme_begins_with_what_it_is_a_picture_and_two_commands() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    screen = "\n".join(lines[:12])
    assert re.search(r"!\[.+\]\(docs/images/lab-reused\.png\)", screen)
    assert "$ make demo" in screen
    assert "$ make test" in screen
    for target in re.findall(r"\]\((?!http)([^)#]+)", "\n".join(lines)):
        assert (ROOT / target).exists(), target


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


@pytest.mark.kernel
@pytest.mark.parametrize("source", ["README.md", "docs/tutorial.md"])
def test_what_the_words_show_works(book: NotebookProject, source: str) -> None:
    """The cells make a notebook; every ``jupyter pipelines`` line runs; Python blocks run where they are Python."""
    text = (ROOT / source).read_text(encoding="utf-8")
    python = blocks(text, "python")
    cells = [block for block in python if block.startswith("%") and not block.startswith("%pipeline")]
    assert cells
    prices = NotebookProject(book.folder, "prices.ipynb").write(*cells)
    ran = 0
    for line in "".join(blocks(text, "console")).splitlines():
        if not line.startswith("$ jupyter pipelines"):
            continue
        _, _, _, command, notebook, *options = shlex.split(line)
        answer = NotebookProject(book.folder, notebook).call(command, *options)
        assert answer.code == 0, answer.err
        ran += 1
    assert ran
    assert set(prices.run().steps("state").values()) == {"reused"}
    for block in python:
        if "jp." in block:
            code = compile(block, source, "exec")
            names: dict[str, object] = {}
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(book.folder)
                exec(code, names)
