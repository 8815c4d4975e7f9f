"""Files of parameters: values are what is written in them, and what may mean two things is refused with its place."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.e2e.notebook_project import NotebookProject

CELLS = (
    """%%params
rate: float = 0.5
flag: bool = False
code: str = ''
mode: Literal['on', 'off'] = 'off'
items: list = []
extra: dict = {}""",
    "%%step a -p rate flag code mode items extra -o x\nx = [rate, flag, code, mode, items, extra]",
)
VALUES = {  # YAML, and Python's spelling of what it means
    "1e-3": "0.001",
    "1E5": "100000.0",
    ".5e3": "500.0",
    "-1.": "-1.0",
    "1_000": "1000",
    "1_": "'1_'",
    "0o17": "15",
    "0x1F": "31",
    "0b11": "3",
    "+12": "12",
    "0": "0",
    "1.5e+3": "1500.0",
    "-.Inf": "-inf",
    "12:30:00": "'12:30:00'",
    "2024-01-31": "'2024-01-31'",
    "2024-01-31 10:00:00": "'2024-01-31 10:00:00'",
    "'001'": "'001'",
    "!!str 001": "'001'",
    "~": "None",
    "0.05": "0.05",
    "0e0": "0.0",
    "{'1': 1, \"01\": 2, 1_: 3}": "{'1': 1, '01': 2, '1_': 3}",
    "y": "'y'",
    "[no, NO, true, 1e-3]": "['no', 'NO', True, 0.001]",
    "{on: 1, off: 2e0}": "{'on': 1, 'off': 2.0}",
}


def test_values_are_what_is_written(book: NotebookProject) -> None:
    (book.folder / "p.yaml").write_text("flag:\n" + "".join(f"- {text}\n" for text in VALUES))
    answer = book.write(*CELLS).call("plan", "--params-file", "p.yaml")
    assert answer.code == 2
    assert f"expected true or false, got [{', '.join(VALUES.values())}]\n" in answer.err


@pytest.mark.parametrize(
    "text",
    [
        "rate: 1e-3\nflag: yes\ncode: no\nmode: on\nitems: [no, 1e5]\nextra: {on: 1}",
        'flag: Off\ncode: "001"\nmode: off',
        "flag: true\ncode: 2024-01-31\nitems: [{a: 1}, {a: 2}]",
        "# nothing",
        "code: 12:30\nrate: 1_000.5",
    ],
)
def test_what_fits_its_parameter_is_taken(book: NotebookProject, text: str) -> None:
    (book.folder / "p.yaml").write_text(text)
    answer = book.write(*CELLS).call("check", "--params-file", "p.yaml")
    assert (answer.code, answer.err) == (0, "")


REFUSED = {  # name, text: line, what is underlined, what the help offers
    ("p.yaml", "rate: 1\ncode: 001"): (2, "001", '"001"'),
    ("p.yaml", "items:\n- 7\n- 017"): (3, "017", '"017"'),
    ("p.yaml", "extra: {a: [08]}"): (1, "08", '"08"'),
    ("p.yaml", "items: [08.5]"): (1, "08.5", '"08.5"'),
    ("p.yaml", "rate: 1\nextra: {a: {b: -00.50e3}}"): (2, "-00.50e3", "-0.50e3"),
    ("p.yaml", "rate: 07e-1"): (1, "07e-1", "7e-1"),
    ("p.yaml", "extra: {08.5: 1}"): (1, "08.5", '"08.5"'),
    ("p.yaml", "extra:\n  a: 1\n  2: b"): (3, "2", '"2"'),
    ("p.yaml", "items: [{a: 1, 1: 2, '1': 3}]"): (1, "1", '"1"'),
    ("p.yaml", "extra: {a: 1, null: 2}"): (1, "null", '"null"'),
    ("p.yaml", "rate: 1\n2: 3"): (2, "2", None),
    ("p.yaml", "extra: {[1]: 2}"): (1, "[1]", None),
    ("p.yml", "rate: 1e999"): (1, "1e999", '"1e999"'),
    ("p.yaml", "rate: 1\nflag: true\nrate: 2"): (3, "rate", "rate"),
    ("p.yaml", "extra:\n  a: 1\n  b:\n    c: 1\n    c: 2"): (5, "c", "c"),
    ("p.yaml", "items: [{a: 1, a: 2}]"): (1, "a", "a"),
    ("p.json", '{"rate": 1,\n\t"rate": 2}'): (2, '"rate"', "rate"),
    ("p.json", '{"extra": {"a": 1, "a": 1}}'): (1, '"a"', "a"),
    ("p.json", '{"extra": {"a": 1},}'): (1, None, None),
    ("p.yaml", "rate: 1\ncode: a: b"): (2, None, None),
    ("p.yaml", "extra: &x {a: 1}\nitems: *x"): (2, "*x", None),
}


@pytest.mark.parametrize(("name", "text"), REFUSED)
def test_what_may_mean_two_things_is_refused(book: NotebookProject, name: str, text: str) -> None:
    line, underlined, offered = REFUSED[name, text]
    (book.folder / name).write_text(text)
    answer = book.write(*CELLS).call("check", "--params-file", name)
    assert answer.code == 2
    assert answer.err.startswith(f"error[JP508]: the file of parameters `{name}` cannot be read: ")
    assert f"\n  --> {name}, line {line}\n   | " in answer.err
    _, _, shown, caret, *_, suggestion = answer.err.strip().split("\n")
    assert underlined in (None, shown[caret.index("^") : caret.rindex("^") + 1])
    assert offered is None or f"`{offered}`" in suggestion


def test_keys_are_the_same_only_if_their_values_are(book: NotebookProject) -> None:
    (book.folder / "p.yaml").write_text("extra: {true: 1, True: 2, 'true': 3, \"true\": 4}")
    answer = book.write(*CELLS).call("check", "--params-file", "p.yaml")
    heads = re.findall(r"error.*read: (.*)", answer.err)
    assert heads == [
        "`true` is given twice in line 1",
        "the key `true` is a truth value, and keys are texts",
        "the key `True` is a truth value, and keys are texts",
    ]


FREE = (
    "%%params\nfree = None\nlabels: dict = {}\nrows: list = []",
    "%%step a -p free labels rows -o x\nx = [free, labels]",
)


@pytest.mark.parametrize("text", ['["a", ...]', "{1, 2}", "[b'a']", "{(1, 2): 3}", "[a-z]", "{a}", "(1 + 2)", "[1j]"])
def test_what_is_no_value_is_a_text_for_a_parameter_of_any_type(book: NotebookProject, text: str) -> None:
    assert book.write(*FREE).plan("-p", f"free={text}").document["parameters"]["free"] == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("free={1: 'one'}", {"1": "one"}),
        ("free=[{1: {2.5: (3,)}}, None]", [{"1": {"2.5": [3]}}, None]),
        ("labels={True: 'yes', 'no': None}", {"true": "yes", "no": None}),
        ('rows=[{1: "it\'s"}]', [{"1": "it's"}]),
    ],
)
def test_keys_that_are_no_texts_are_refused_and_the_help_gives_those_that_are(
    book: NotebookProject, text: str, value: object
) -> None:
    answer = book.write(*FREE).call("plan", "-p", text)
    assert answer.code == 2
    assert "got a dict with keys that are not text" in answer.err
    (pasted,) = re.findall("= help: write `(.*)`$", answer.err, re.M)
    name = text.partition("=")[0]
    assert book.plan(*shlex.split(pasted)).document["parameters"][name] == value


def test_all_faults_of_a_file_are_told_with_both_lines(book: NotebookProject) -> None:
    (book.folder / "p.yaml").write_text("rate: 1\ncode: 007\nrate: 2\nextra: {a: 1,\n a: 2}\n")
    answer = book.write(*CELLS).call("check", "--params-file", "p.yaml")
    heads = re.findall(r"error.*: (`.*)", answer.err)
    assert heads == [
        "`007` may be a text or the number 7",
        "`rate` is given twice, in line 1 and in line 3",
        "`a` is given twice, in line 4 and in line 5",
    ]


def test_json_that_is_no_yaml_is_refused_without_a_line(book: NotebookProject) -> None:
    (book.folder / "p.json").write_text('{"rate": 1, "extra": ' + '{"a":' * 70 + "1" + "}" * 70 + ', "rate": 2}')
    answer = book.write(*CELLS).call("check", "--params-file", "p.json")
    assert answer.code == 2
    assert "cannot be read: `rate` is given twice\n" in answer.err


def test_a_file_of_steps_is_read_likewise(tmp_path: Path) -> None:
    book = NotebookProject(tmp_path).write("rows = [1]", "print(rows)")
    (tmp_path / "cuts.yaml").write_text("load: 1\nload: 2\n")
    answer = book.call("convert", "--static", "--steps", "cuts.yaml")
    assert answer.code == 2
    assert "the file of steps `cuts.yaml` cannot be read: `load` is given twice, in line 1 and in line 2" in answer.err
