"""Help lines can be pasted: into a shell, behind ``%pipeline``, and into a header."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_pipelines.errors import Diagnostic, shell_path, shell_word
from jupyter_pipelines.interfaces.cli import main
from jupyter_pipelines.notebook.headers.lexer import header_word, lines_of, read_words
from jupyter_pipelines.pipeline.ignored_paths import ignore_pattern, is_ignored
from tests.e2e.notebook_project import NotebookProject

CliCall = Callable[..., tuple[int, str, str]]
FOLDERS = ("my notes", 'it\'s "odd"', "[x] & $HOME; {a,b}", "größe 日本", "-p", "a`b")
NOTEBOOKS = ("two words.ipynb", "it's.ipynb", "a[1]*.ipynb", "größe.ipynb", "-x.ipynb", "$HOME;ls.ipynb", "~a#b!.ipynb")
NEAR_FILES = (
    ("sales of mai.csv", "sales of may.csv"), ("it's x.csv", "it's y.csv"), ("a[1] x.csv", "a[1] y.csv"),
    ("$HOME x.csv", "$HOME y.csv"), ("größe ä.csv", "größe ö.csv"), ("-x1.csv", "-x2.csv"), ("a#b1.csv", "a#b2.csv"),
    ("q\"uote's.csv", "q\"uote'z.csv"), ("a,b1.csv", "a,b2.csv"), ("back\\slash1.csv", "back\\slash2.csv"),
    ("x=1y.csv", "x=1z.csv"), ("दिल्ली 1.csv", "दिल्ली 2.csv"),
)  # fmt: skip
DECLARED = (
    ("kind: Literal['a b', \"it's\", '$x', '-y', 'ä`b', '[1]'] = 'a b'", "kind=none", 6),
    ("größe: list[str] = [\"it's\", 'a b', '$x']", "größe=x", 1),
    ("größe: dict[str, str] = {\"it's\": '\"'}", "größe=x", 1),
    ("दर: list[int]", "दर=x", 1),
    ("café: int = 3", "cafe\u0301=x", 1),
    ("on: bool = True", "on=x", 1),
    ("n: int | None = None", "n=x", 1),
)
WORDS = ("", "a", "a b", "it's", '"', "\\", "$x", "{a,b}", "=x", "%x", "größe", "日本", "a\nb", "*", "!", "~", "a#b")


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> CliCall:
    """Call the command line as a shell does; returns exit code, standard output and standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main.call(arguments)
        return code, *capfd.readouterr()

    return call


def proposed_commands(text: str) -> list[list[str]]:
    """Return the commands in help lines, as bash splits them."""
    commands = re.findall(r"`jupyter pipelines ((?:'[^']*'|\"[^\"]*\"|[^`'\"])*)`", text)
    return [shell_arguments(command) for command in commands]


def shell_arguments(command: str) -> list[str]:
    """Return the arguments that bash hands over for what was pasted."""
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, text=True, check=True)
    return done.stdout.split("\0")[:-1]


@pytest.mark.parametrize("word", WORDS)
def test_a_word_is_what_a_shell_and_the_magic_read(word: str) -> None:
    quoted = shell_word(word)
    assert shlex.split(quoted) == ([word] if word else [])
    assert shell_arguments(quoted) == [word]


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1))
def test_any_word_of_a_header_is_what_the_header_means(text: str) -> None:
    words = read_words(lines_of(header_word(text), 1)[0], 0)
    assert [word.text for word in words.words] == [text]
    assert not words.faults


@pytest.mark.parametrize("path", ["a[1].csv", "what?.csv", "*.csv", "[!a].csv", "plain.csv", "a]b[c.csv"])
def test_a_proposed_pattern_leaves_out_the_file_and_no_other(path: str) -> None:
    assert is_ignored(path, [ignore_pattern(path)])
    assert not is_ignored("a1.csv", [ignore_pattern(path)])


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_a_help_line_names_notebook_and_step(notebook: str) -> None:
    help_text = "compute it again: `jupyter pipelines run NOTEBOOK --to STEP`, or `STEP.x`"
    fault = Diagnostic(code="JP405", message="m", suggestion=help_text, notebook=notebook, step="größe[1]")
    path = f"./{notebook}" if notebook.startswith("-") else notebook
    assert proposed_commands(str(fault)) == [["run", path, "--to", "größe[1]"]]
    assert shell_arguments(shell_path(notebook)) == [path]
    assert fault.to_dict()["suggestion"] in str(fault)


@pytest.mark.parametrize("name", NOTEBOOKS)
@pytest.mark.parametrize("folder", FOLDERS)
def test_proposed_commands_work(
    cli: CliCall, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, name: str
) -> None:
    home = tmp_path / folder
    (home / "odd ' store").mkdir(parents=True)
    (home / "odd ' store" / "mine.txt").write_text("mine")
    monkeypatch.chdir(home)
    NotebookProject(home, name).write("%%params\nlabel: str = 'it\\'s'", "%%step größe -o x -p label\nx = label")
    path = f"./{name}" if name.startswith("-") else name
    mistakes = [
        ("output", path, "größe.x"),
        ("output", path, "größe.x", "--store", "new ' store"),
        ("output", path, "größe.x", "--store", "odd ' store"),
        ("diff", path, "nope"),
        ("convert", path, "--static"),
        ("plan", path, "--nope"),
        ("run", path, "--jobs", "0"),
    ]
    proposed = []
    for arguments in mistakes:
        code, _, err = cli(*arguments)
        assert code, arguments
        proposed += [(arguments, command) for command in proposed_commands(err)]
    assert len(proposed) >= 5
    for arguments, command in proposed:
        # What would start kernels is planned instead: its arguments are the same.
        code, _, err = cli("plan" if command[0] == "run" and "--help" not in command else command[0], *command[1:])
        assert code == 0, (arguments, command, err)
        assert "--help" in command or path in command or str(home / name) in command
        assert ("--store" in arguments) == ("--store" in command)


@pytest.mark.parametrize(("written", "there"), NEAR_FILES)
def test_a_proposed_file_can_be_written_into_the_header(cli: CliCall, tmp_path: Path, written: str, there: str) -> None:
    (tmp_path / there).touch()
    book = NotebookProject(tmp_path).write(f"%%step a -i {header_word(f'größe={written}')} -o x\nx = größe")
    code, out, _ = cli("check", str(book.path))
    assert code == 2
    help_line = next(line for line in out.splitlines() if "= help: write " in line)
    book.write(f"%%step a -i {help_line.split('`', 1)[1][:-1]} -o x\nx = größe")
    assert cli("check", str(book.path)) == (0, "no faults\n", "")


@pytest.mark.parametrize(("declaration", "given", "count"), DECLARED)
def test_a_proposed_value_is_taken(cli: CliCall, tmp_path: Path, declaration: str, given: str, count: int) -> None:
    names = declaration.partition(":")[0]
    book = NotebookProject(tmp_path).write(f"%%params\n{declaration}", f"%%step a -o x\nx = {names}")
    code, _, err = cli("plan", str(book.path), "-p", given)
    assert code == 2
    proposed = re.findall(r"`(-p (?:'[^']*'|\"[^\"]*\"|[^`'\"])*)`", err)
    assert len(proposed) == count, err
    for option in proposed:
        assert cli("plan", str(book.path), *shell_arguments(option))[0] == 0, option


def test_a_path_through_links_is_printed_as_it_was_given(
    cli: CliCall, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = NotebookProject(tmp_path / "real 'folder'", "real book.ipynb").write("%%step a -o x\nx = 1")
    (tmp_path / "-l ink").symlink_to(real.folder)
    (tmp_path / "other $book.ipynb").symlink_to(real.path)
    monkeypatch.chdir(tmp_path)
    for path in ("./-l ink/real book.ipynb", "other $book.ipynb", str(tmp_path / "-l ink" / real.name)):
        code, _, err = cli("output", path, "a.x")
        ((name, *arguments),) = proposed_commands(err)
        assert (code, name, arguments[:1]) == (2, "run", [path])
        assert cli("plan", *arguments)[0] == 0


@pytest.mark.parametrize("folder", ["it's [open]", '$HOME "x"', "größe ä"])
def test_a_store_that_is_open_to_others_is_closed_by_what_is_proposed(
    cli: CliCall, tmp_path: Path, folder: str
) -> None:
    book = NotebookProject(tmp_path).write("%%step a -o x\nx = 1")
    store = tmp_path / folder
    (store / "blobs").mkdir(parents=True)
    store.chmod(0o777)
    code, _, err = cli("plan", str(book.path), "--store", str(store))
    ((command),) = re.findall(r"`(chmod .*)`, or", err)
    assert code == 2
    subprocess.run(["bash", "-c", command], check=True)
    assert cli("plan", str(book.path), "--store", str(store))[0] == 0


def test_a_folder_that_is_no_store_is_told_another_one(cli: CliCall, tmp_path: Path) -> None:
    (tmp_path / "it's mine").mkdir()
    (tmp_path / "it's mine" / "x.txt").write_text("x")
    book = NotebookProject(tmp_path).write("%%step a -o x\nx = 1")
    _, _, err = cli("plan", str(book.path), "--store", str(tmp_path / "it's mine"))
    proposed = re.findall(r"`(--store .*)`\n", err)
    assert shell_arguments(proposed[0]) == ["--store", str(tmp_path / "it's mine" / ".pipelines")]
    assert cli("plan", str(book.path), *shell_arguments(proposed[0]))[0] == 0


ITEMS = (
    "it's 1.csv",
    "two words",
    "a,b",
    "a b",
    "a=b",
    "[x]",
    "x]",
    "-lead",
    "größe",
    'say "hi"',
    "$HOME",
    "",
    "a.b/c",
)


def test_selectors_of_items_can_be_pasted(tmp_path: Path, cli: CliCall) -> None:
    book = NotebookProject(tmp_path).write(
        f"%%params\nfiles: list[str] = {list(ITEMS)!r}\nrates: list[float] = [0.1, 0.25]",
        "%%step é- -o n --foreach datei=files rate=rates\nn = [datei, rate]",
        "%%step last -i n -o m\nm = len(n)",
    )
    path = str(book.path)
    steps = json.loads(cli("plan", path, "--json")[1])["steps"]
    names = [step["name"] for step in steps]
    items = [name for name in names if name.endswith("]")]
    assert len(items) == 2 * len(ITEMS)
    # As printed; as many as a user likes behind one option; and in front of the notebook, where `--force` takes one.
    for start in range(0, len(items), 9):
        printed = items[start : start + 9]
        code, out, err = cli("plan", path, "--only", ", ".join(printed), "--json")
        assert code == 0, err
        selected = [step["name"] for step in json.loads(out)["steps"] if step["decision"] != "skip"]
        assert selected == printed
    for item in items[:2]:
        for arguments in (
            ["--force", item, path],
            [path, "--force", item],
            [path, "--from", item],
            [path, "--to", item],
        ):
            assert cli("plan", *arguments)[0] == 0
        assert cli("why", path, item)[0] == 0
    # With its values as they are, an item is not found, and the help line names it.
    for item, value in zip(items[::2], ITEMS, strict=True):
        code, _, err = cli("plan", path, "--only", f"é-[datei={value},rate=0.1]")
        if code:
            assert err.count("JP603") == 1
            assert f"write `--only {shell_word(item)}`" in err
            assert shell_arguments(shell_word(item)) == [item]
