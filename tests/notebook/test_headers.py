"""The header of a cell: what it says, where its diagnostics point, and the body that remains."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_pipelines.errors import Diagnostic, SourceLocation
from jupyter_pipelines.notebook.headers import units
from jupyter_pipelines.notebook.headers.io_spec import IOSpec, split_item
from jupyter_pipelines.notebook.headers.split import OPTIONS, CellHeader, SplitCell, split_cell
from jupyter_pipelines.notebook.source.document import document_from_script


def header(text: str) -> CellHeader:
    split = split_cell(text, 1)
    assert split.header is not None
    assert split.faults == (), str(split.faults[0])
    return split.header


def diagnostic_of(text: str, number: int = 1) -> Diagnostic:
    (diagnostic,) = split_cell(text, number).faults
    return diagnostic


def place_of(diagnostic: Diagnostic) -> SourceLocation:
    assert diagnostic.place is not None
    return diagnostic.place


def underlined(diagnostic: Diagnostic) -> str:
    place = place_of(diagnostic)
    return place.text[place.column : place.column + place.length]


def names(items: Iterable[IOSpec] | None) -> list[str]:
    return [item.name for item in items or ()]


def triples(items: Iterable[IOSpec] | None) -> list[tuple[str, str | None, str | None]]:
    return [(item.name, item.locator, item.format) for item in items or ()]


class TestStep:
    def test_every_option(self) -> None:
        parsed = header(
            "%%step train -i X y -o model:joblib report:file -p trees, depth --after load --optional y --retries 2 "
            "--timeout 1h30m --no-cache --always --cpus 4 --gpus 1 --memory 8G --on dask --kernel py311"
        )
        assert parsed.kind == "step"
        assert parsed.name == "train"
        assert names(parsed.inputs) == ["X", "y"]
        assert triples(parsed.outputs) == [("model", None, "joblib"), ("report", None, "file")]
        assert names(parsed.parameters) == ["trees", "depth"]
        assert names(parsed.after) == ["load"]
        assert names(parsed.optional) == ["y"]
        assert (parsed.retries, parsed.timeout, parsed.cache, parsed.always) == (2, 5400.0, False, True)
        assert (parsed.cpus, parsed.gpus, parsed.memory) == (4, 1, 8 * 1024**3)
        assert (parsed.on, parsed.kernel, parsed.form) == ("dask", "py311", "magic")

    def test_what_is_left_out_is_none_and_what_is_empty_is_empty(self) -> None:
        parsed = header("%%step train -i")
        assert parsed.inputs == ()
        assert parsed.outputs is None
        assert parsed.parameters is None
        assert (parsed.retries, parsed.timeout, parsed.cache, parsed.always) == (None, None, None, None)

    @pytest.mark.parametrize(
        "text",
        [
            "%%step t -i a -i b",
            "%%step t -i a,b",
            "%%step t -i a, b",
            "%%step t -i a , b",
            "%%step t --in a --in=b",
            "%%step\tt\t-i\ta\tb",
            "%%step t -i a \\\n  b",
            "%%step t \\\n-i a\\\n b # both",
            "%%step 't' -i \"a\" 'b'  # and a comment, with 'a quote",
            "   %%step t -i a b   ",
            "\ufeff%%step t -i a b",
            "%%step t -i a b\r\nx = 1\r\n",
            "# what for\n\n#\n%%step t -i a b\nx = 1",
            "%%time\n%%step t -i a b\nx = 1",
            "%%step t\n#| in: a b",
            "#| step: t\n#| in: a b",
            "#| step: t\n#| in: a\n#| in: b",
            "#|step:t\n#|in:a,b",
            "#| in: a b\n#| step: t",
            "#| step: t -i a b",
            "#| step: t\n#| in: a \\\n#|   b",
        ],
    )
    def test_one_meaning_many_spellings(self, text: str) -> None:
        parsed = header(text)
        assert parsed.name == "t"
        assert names(parsed.inputs) == ["a", "b"]

    def test_comment_form_says_what_the_magic_says(self) -> None:
        magic = header(
            "%%step t -i a=x.csv -o m:joblib -p lr --after s --optional a --retries 2 --timeout 90 --no-cache "
            "--always --cpus 2 --gpus 0 --memory 512M --on dask --kernel k"
        )
        comment = header(
            "#| step: t\n#| in: a=x.csv\n#| out: m:joblib\n#| param: lr\n#| after: s\n#| optional: a\n#| retries: 2\n"
            "#| timeout: 90\n#| no-cache\n#| always: true\n#| cpus: 2\n#| gpus: 0\n#| memory: 512M\n#| on: dask\n"
            "#| kernel: k"
        )
        assert comment.form == "comment"
        for name in ("name", "retries", "timeout", "cache", "always", "cpus", "gpus", "memory", "on", "kernel"):
            assert getattr(magic, name) == getattr(comment, name), name
        for name in ("inputs", "outputs", "parameters", "after", "optional"):
            assert triples(getattr(magic, name)) == triples(getattr(comment, name)), name

    def test_yaml_flags(self) -> None:
        assert header("#| step: t\n#| cache: false").cache is False
        assert header("#| step: t\n#| cache: true").cache is None
        assert header("#| step: t\n#| no_cache: true").cache is False
        assert header("#| step: t\n#| always: false").always is None

    def test_keys_of_other_tools_mean_nothing(self) -> None:
        split = split_cell("#| step: t\n#| echo: false\n#| label: fig-one\n#| fig-cap: A cap\n#| export\nx = 1")
        assert split.faults == ()
        assert split_cell("#| echo: false\n#| timeout: 3\n#| code-fold: true\nx = 1") == SplitCell(
            header=None, body="#| echo: false\n#| timeout: 3\n#| code-fold: true\nx = 1"
        )

    @pytest.mark.parametrize("word", ["{x}", "$x", "${{x}}", '{__import__("os").getpid()}'])
    def test_nothing_is_expanded(self, word: str) -> None:
        quoted = f"'raw={word}'"
        assert triples(header(f"%%step t -i {quoted}").inputs) == [("raw", word, None)]
        diagnostic = split_cell(f"%%step t -i {word}", 1).faults[0]
        assert diagnostic.code == "JP103"
        assert any("never expanded" in note for note in diagnostic.notes)

    def test_item_names_are_what_python_makes_of_them(self) -> None:
        assert names(header("%%step t -i größe \ufb01t").inputs) == ["größe", "fit"]


class TestItems:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("rows", ("rows", None, None)),
            ("model:joblib", ("model", None, "joblib")),
            ("raw=data/x.csv", ("raw", "data/x.csv", None)),
            ("m=train.model", ("m", "train.model", None)),
            ("raw=data/x.csv:arrow", ("raw", "data/x.csv", "arrow")),
            (r"raw=C:\data\x.csv", ("raw", r"C:\data\x.csv", None)),
            (r"raw=C:\data\x.csv:arrow", ("raw", r"C:\data\x.csv", "arrow")),
            ("raw=C:/data/x.csv", ("raw", "C:/data/x.csv", None)),
            ("raw=C:data", ("raw", "C:data", None)),
            (r"raw=\\server\share\x.csv", ("raw", r"\\server\share\x.csv", None)),
            ("raw=https://host:8080/x.csv?a=b", ("raw", "https://host:8080/x.csv?a=b", None)),
            ("raw=s3://bucket/x.parquet:arrow", ("raw", "s3://bucket/x.parquet", "arrow")),
            ("raw=12:30.csv", ("raw", "12:30.csv", None)),
        ],
    )
    def test_parts(self, text: str, expected: tuple[str, str | None, str | None]) -> None:
        assert split_item(text) == expected
        assert triples(header(f"%%step t -i {text}").inputs) == [expected]

    @pytest.mark.parametrize(
        ("written", "path"),
        [
            ("'raw=my data, v2/x #1.csv'", "my data, v2/x #1.csv"),
            ("raw='my data, v2/x #1.csv'", "my data, v2/x #1.csv"),
            ('raw="my data, v2/x #1.csv"', "my data, v2/x #1.csv"),
            (r"raw=my\ data\,\ v2/x\ \#1.csv", "my data, v2/x #1.csv"),
            ("raw=x#1.csv", "x#1.csv"),
            ('"raw=C:\\data\\"', "C:\\data\\"),
            (r'raw="a\"b"', 'a"b'),
            ("raw='it''s'", "its"),
        ],
    )
    def test_quotes_are_taken_away(self, written: str, path: str) -> None:
        assert triples(header(f"%%step t -i {written}").inputs) == [("raw", path, None)]


class TestFaults:
    """Each has a code, the words it is about under its caret, and says what to write."""

    @pytest.mark.parametrize(
        ("text", "code", "caret", "suggestion"),
        [
            ("%%step", "JP101", "%%step", "`%%step NAME`"),
            ("%%step   # train", "JP101", "%%step", "`%%step NAME`"),
            ("%%step ''", "JP103", "''", "write `step`"),
            ("%%step -o m train", "JP101", "train", "`%%step train -o m`"),
            ("%%step --always train", "JP101", "train", "`%%step train --always`"),
            ("%%step --retries 2 train", "JP101", "train", "`%%step train --retries 2`"),
            ("%%step -o m", "JP101", "%%step", "`%%step NAME -o m`"),
            ("%%step my step -i x", "JP101", "step", "`%%step my_step`"),
            ("%%step t -o m --retires 2", "JP101", "--retires", "`--retries`"),
            ("%%step t --input x", "JP101", "--input", "`-i`"),
            ("%%step t --cache", "JP101", "--cache", "`--no-cache`"),
            ("%%step t -ix", "JP101", "-ix", "`-i`"),
            ("%%step t -x", "JP101", "-x", "one of the options"),
            ("%%step t \u2014retries 2", "JP101", "\u2014retries", "`--retries`"),
            ("%%step t \u2013i x", "JP101", "\u2013i", "`-i`"),
            ("%%step t -i 'x", "JP101", "'x", "close it"),
            ('%%step t -i x "y z', "JP101", '"y z', "close it"),
            ("%%step t --retries", "JP101", "--retries", "`--retries N`"),
            ("%%step t --after", "JP101", "--after", "`--after STEP…`"),
            ("%%step t --retries 2 3", "JP101", "3", "take it away"),
            ("%%step t --no-cache x", "JP101", "x", "take it away"),
            ("%%step t --retries two", "JP604", "two", "`--retries 2`"),
            ("%%step t --retries -1", "JP604", "-1", "`--retries 2`"),
            ("%%step t --retries \uff12", "JP604", "\uff12", "`--retries 2`"),
            ("%%step t --cpus 0", "JP604", "0", "`--cpus 2`"),
            ("%%step t --timeout=soon", "JP604", "soon", "`--timeout 30s`"),
            ("%%step t --timeout 0", "JP604", "0", "`--timeout 30s`"),
            ("%%step t --cache-for always", "JP604", "always", "`--cache-for 1d`"),
            ("%%step t --ignore ../x", "JP101", "../x", "`--ignore logs/*.log`"),
            ("%%step t --memory 8", "JP604", "8", "`--memory 8G`"),
            ("%%step t --retries 1 --retries 2", "JP106", "--retries", "take one"),
            ("%%step t -i a -i b a", "JP106", "a", "take one"),
            ("%%step ../x", "JP103", "../x", "write `x`"),
            ("%%step 'my step'", "JP103", "'my step'", "write `my_step`"),
            ("%%step über$blick", "JP103", "über$blick", "write `über_blick`"),
            ("%%step 2nd", "JP103", "2nd", "write `step_2nd`"),
            ("%%step ½", "JP103", "½", "write `step_1_2`"),
            (f"%%step {'x' * 101}", "JP103", "x" * 101, f"write `{'x' * 100}`"),
            ("%%step t --after 'a b'", "JP103", "'a b'", "write `a_b`"),
            ("%%step t -i class", "JP103", "class", "write `class_`"),
            ("%%step t -o my-model", "JP103", "my-model", "write `my_model`"),
            ("%%step t -o 1st", "JP103", "1st", "write `_1st`"),
            ("%%step t -o _step", "JP103", "_step", "write"),
            ("%%step t -i raw = x.csv", "JP101", "raw", "`raw=x.csv`"),
            ("%%step t -i raw= x.csv", "JP101", "raw=", "`raw=x.csv`"),
            ("%%step t -i raw =x.csv", "JP101", "raw", "`raw=x.csv`"),
            ("%%step t -i raw=", "JP101", "raw=", "`raw=data/x.csv`"),
            ("%%step t -i =x.csv", "JP101", "=x.csv", "name of the input first"),
            ("%%step t -o model:", "JP101", "model:", "`model:joblib`"),
            ("%%step t -o model:a.b", "JP101", "model:a.b", "one word"),
            ("%%step t -o model=clf", "JP101", "model=clf", "`model:file`"),
            ("%%step t -p lr=0.1", "JP101", "lr=0.1", "`%%params`"),
            ("%%params lr=1", "JP101", "lr=1", "in the lines below"),
            ("%%setup now", "JP101", "now", "take it away"),
            ("#| step:", "JP101", "step", "`#| step: NAME`"),
            ("#| step train", "JP101", "step", "`#| step: …`"),
            ("#| step: t\n#| retires: 2", "JP101", "retires", "`#| retries:`"),
            ("#| step: t\n#| retries: two", "JP604", "two", "`#| retries: 2`"),
            ("#| step: t\n#| in: 'x", "JP101", "'x", "close it"),
            ("#| step: my step", "JP101", "step", "`#| step: my_step`"),
            ("#| in: x\nx = 1", "JP101", "in", "`#| step: NAME`"),
        ],
    )
    def test_one_fault(self, text: str, code: str, caret: str, suggestion: str) -> None:
        diagnostic = diagnostic_of(text, 7)
        assert diagnostic.code == code
        assert underlined(diagnostic) == caret
        assert suggestion in diagnostic.suggestion
        assert place_of(diagnostic).cell == 7
        assert "?" not in diagnostic.message + diagnostic.suggestion

    @pytest.mark.parametrize(
        ("text", "line", "message"),
        [
            ("x = 1\n\n%%step t\n", 3, "code above it"),
            ("x = 1\n#| step: t\n", 2, "code above it"),
            ("%load_ext foo\n%%step t\n", 2, "code above it"),
            ("%%step a\nx = 1\n%%step b\n", 3, "second header"),
            ("%%step a\n%%params\n", 2, "second header"),
            ("%%step a\n#| step: b\n", 2, "second header"),
            ("#| step: a\nx = 1\n  #| setup\n", 3, "second header"),
            ("%%bash\n# so\n%%step a\n", 3, "takes the whole cell"),
            ("%%stpe a\nx = 1", 1, "no header `%%stpe`"),
            ("%%Params\nx: int = 1", 1, "no header `%%Params`"),
        ],
    )
    def test_misplaced(self, text: str, line: int, message: str) -> None:
        diagnostic = diagnostic_of(text)
        assert place_of(diagnostic).line == line
        assert message in diagnostic.message

    @pytest.mark.parametrize(
        "text",
        [
            '"""\n%%step t\n"""\nx = 1',
            "x = '''\n#| step: t\n'''",
            "# it's here: %%step t\nx = 1",
            "%%writefile demo.txt\n%%step t\nx = 1",
            "%%writefile demo.txt\nx = 1\n%%step t\nx = 1",
            "%%html\n<p>\n%%step",
            "%%system\nls",
            "%%stepwise\nx = 1",
            "x = a %step",
        ],
    )
    def test_no_false_alarm(self, text: str) -> None:
        assert split_cell(text) == SplitCell(header=None, body=text)

    def test_all_at_once_in_order_of_place(self) -> None:
        diagnostics = split_cell("%%step ../t -i class \\\n --retries x --foo\n%%step b", 1).faults
        assert [(place_of(f).line, f.code) for f in diagnostics] == [
            (1, "JP103"),
            (1, "JP103"),
            (2, "JP604"),
            (2, "JP101"),
            (3, "JP101"),
        ]

    def test_unknown_option_lists_them_all(self) -> None:
        (note,) = diagnostic_of("%%step t --foo").notes
        assert all(option.long in note for option in OPTIONS)

    def test_carets_stay_under_their_words_behind_tabs(self) -> None:
        text = str(diagnostic_of("%%step\tt\t--foo"))
        assert "   | %%step t --foo\n   |          ^^^^^" in text


class TestBody:
    @pytest.mark.parametrize(
        ("text", "body", "offset"),
        [
            ("%%step t\nx = 1", "# %%step t\nx = 1", 0),
            ("# c\n%%step t -i a \\\n  b\nx = 1\n", "# c\n# %%step t -i a \\\n  # b\nx = 1\n", 0),
            ("%%step t\r\nx = 1\r\n", "# %%step t\r\nx = 1\r\n", 0),
            ("  %%step t\n  x = 1", "  # %%step t\n  x = 1", 0),
            ("%%time\n%%step t\nx", "%%time\n# %%step t\nx", 0),
            ("%%step t\n%%time\nx", "%%time\n# %%step t\nx", 0),
            ("# c\n%%step t\n\n%%capture out\n%%time\nx", "%%capture out\n%%time\n# c\n# %%step t\n\nx", 0),
            ("%%step t\n%%time", "%%time\n# %%step t", 0),
            ("#| step: t\n#| in: a\nx", "#| step: t\n#| in: a\nx", 0),
            ("#| step: t\n%%time\nx", "%%time\n#| step: t\nx", 0),
            ("%%step t\n#| in: a\n#| echo: false\nx", "# %%step t\n# #| in: a\n#| echo: false\nx", 0),
            ("%%step t\n%%bash\nls", "%%bash\nls", 1),
            ("# c\n%%step t\n%%time\n%%sql\nselect 1", "%%time\n%%sql\nselect 1", 2),
            ("%%params\nx: int = 1", "# %%params\nx: int = 1", 0),
            ("%%step t", "# %%step t", 0),
        ],
    )
    def test_body(self, text: str, body: str, offset: int) -> None:
        split = split_cell(text)
        assert (split.body, split.offset) == (body, offset)

    def test_a_cell_without_header_is_its_own_body(self) -> None:
        for text in ("", "x = 1\n", "%%time\nx = 1", "# c\n%%bash\nls", "print('%%step')"):
            assert split_cell(text) == SplitCell(header=None, body=text)


class TestTags:
    def test_kale(self) -> None:
        split = split_cell("x = 1", 3, ("step:train", "prev:load", "prev:clean"))
        assert split.body == "x = 1"
        assert split.header is not None
        assert (split.header.name, split.header.form) == ("train", "tags")
        assert names(split.header.after) == ["load", "clean"]
        assert split.header.inputs is None

    @pytest.mark.parametrize("tag", ["parameters", "pipeline-parameters"])
    def test_parameters(self, tag: str) -> None:
        parsed = split_cell("x = 1", 3, (tag,)).header
        assert parsed is not None
        assert parsed.kind == "params"

    @pytest.mark.parametrize("tag", ["skip", "imports", "functions", "anything"])
    def test_the_rest_is_a_cell_without_header(self, tag: str) -> None:
        assert split_cell("x = 1", 3, (tag,)) == SplitCell(header=None, body="x = 1")

    def test_faults_name_the_cell(self) -> None:
        (diagnostic,) = split_cell("x = 1", 3, ("step:my step",)).faults
        assert (diagnostic.code, place_of(diagnostic).cell) == ("JP103", 3)

    def test_a_cell_that_is_skipped_is_no_step(self) -> None:
        assert split_cell("x = 1", 3, ("skip", "block:train")) == SplitCell(header=None, body="x = 1")

    @pytest.mark.parametrize(
        ("tags", "code", "suggestion"),
        [
            (("block:a", "block:b"), "JP101", "keep one of these tags, or split the cell"),
            (("step:a", "block:b"), "JP101", "keep one of these tags, or split the cell"),
            (("block:-a",), "JP103", "write the tag `block:a`"),
            (("step:a b",), "JP103", "write the tag `step:a_b`"),
            (("block:a", "prev:-b"), "JP103", "write the tag `prev:b`"),
        ],
    )
    def test_faults_are_told_in_the_words_of_tags(self, tags: tuple[str, ...], code: str, suggestion: str) -> None:
        (diagnostic,) = split_cell("x = 1", 3, tags).faults
        assert (diagnostic.code, diagnostic.suggestion) == (code, suggestion)

    @pytest.mark.parametrize(
        "tags",
        [
            ":tags: [block:x, prev:load]",
            ":tags: ['block:x', 'prev:load']",
            ":tags: [block: x, prev: load]",
            ":tags: block:x, prev:load",
            "---\ntags:\n- block:x\n- prev: load\n---",
        ],
    )
    def test_tags_in_markdown_are_those_of_notebooks(self, tags: str) -> None:
        head = "---\nkernelspec:\n  name: python3\n  display_name: Python\n---\n\n"
        cells = f"+++\n\n```{{code-cell}} ipython3\n{tags}\n\nn = 1\n```\n"
        (cell,) = [cell for cell in document_from_script(head + cells, Path("book.md")).cells if cell.kind == "code"]
        header = split_cell(cell.source, cell.number, cell.tags).header
        assert header is not None
        assert (header.name, names(header.after)) == ("x", ["load"])

    def test_text_beats_tags(self) -> None:
        parsed = split_cell("%%step a\nx = 1", 3, ("step:b",)).header
        assert parsed is not None
        assert parsed.name == "a"


class TestAmounts:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("90", 90),
            ("1.5", 1.5),
            ("30s", 30),
            ("10m", 600),
            ("2h", 7200),
            ("1h30m", 5400),
            ("1d", 86400),
            ("2H", 7200),
        ],
    )
    def test_duration(self, text: str, seconds: float) -> None:
        assert units.parse_duration(text) == seconds

    @pytest.mark.parametrize("text", ["", "0", "0s", "s", "1h30", "30m1h", "-1", "1e3", "soon", "\u0663", "1 h", "inf"])
    def test_no_duration(self, text: str) -> None:
        assert units.parse_duration(text) is None

    @pytest.mark.parametrize(
        ("text", "size"), [("512M", 512 * 1024**2), ("8G", 8 * 1024**3), ("2GiB", 2 * 1024**3), ("1.5kb", 1536)]
    )
    def test_size(self, text: str, size: int) -> None:
        assert units.parse_size(text) == size

    @pytest.mark.parametrize("text", ["", "8", "G", "0G", "8 G", "8GG", "-1G", "8X"])
    def test_no_size(self, text: str) -> None:
        assert units.parse_size(text) is None

    @given(st.text(max_size=300))
    def test_proposals_can_be_used(self, text: str) -> None:
        assert units.is_step_name(units.propose_step_name(text))
        assert units.parse_identifier(units.propose_identifier(text)) is not None


# Properties: pieces that make headers, errors and everything between them likely.
PIECES = st.sampled_from(
    [
        *("%%step", "%%params", "%%setup", "%%time", "%%capture out", "%%bash", "%%stpe", "%%", "#|", "# c"),
        *("#| step:", "#| step: a", "#| in:", "#| in: b", "#| params", "#| echo: no", "#| step a"),
        *("train", "-i", "-o", "--retries", "--retries=2", "--foo", "a", "b=x.csv", "m:file", "=", "{x}", "$x"),
        *("'", '"', '"""', ",", "\\", "\\\n", "\n", "\r\n", "\r", " ", "\t", "\x0c", "\ufeff", "\u2028", "\u2014r"),
        *("x = 1", "  ", "\n\n", "\n%%step a\n"),
    ]
)
CELLS = st.one_of(st.lists(PIECES, max_size=14).map("".join), st.lists(PIECES, max_size=14).map(" ".join), st.text())


def count_lines(text: str) -> int:
    return len(re.findall(r"\r\n|\r|\n", text))


class TestProperties:
    @given(CELLS)
    def test_any_text_is_split(self, text: str) -> None:
        split = split_cell(text, 1)
        assert count_lines(text) - count_lines(split.body) == split.offset
        for diagnostic in split.faults:
            assert diagnostic.place is not None
            assert 1 <= diagnostic.place.line <= count_lines(text) + 1
            assert 0 <= diagnostic.place.column <= len(diagnostic.place.text)
            assert str(diagnostic)

    @given(CELLS)
    def test_a_body_is_its_own_body(self, text: str) -> None:
        body = split_cell(text).body
        assert split_cell(body).body == body

    @given(CELLS)
    def test_code_keeps_its_lines(self, text: str) -> None:
        lines = text + "\nmarker = 1\n"
        split = split_cell(lines)
        assert split.body.endswith("\nmarker = 1\n") or split.body == "marker = 1\n" or "\\\nmarker" in lines

    @given(CELLS)
    def test_no_header_no_change(self, text: str) -> None:
        split = split_cell(text)
        if split.header is None:
            assert split.body == text

    @given(
        st.lists(
            st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True).filter(
                lambda n: not keyword.iskeyword(n) and n != "_step"
            ),
            unique=True,
            max_size=5,
        ),
        st.text(st.characters(exclude_characters="\r\n'", exclude_categories=["Cs"]), min_size=1).filter(
            lambda path: not path.endswith(":")
        ),
    )
    def test_a_quoted_path_is_kept(self, inputs: list[str], path: str) -> None:
        split = split_cell("%%step t -i " + " ".join([*inputs, f"'zzzzzzzzzz={path}'"]))
        assert split.header is not None
        assert names(split.header.inputs) == [*inputs, "zzzzzzzzzz"]
        item = (split.header.inputs or ())[-1]
        assert ":".join(part for part in (item.locator, item.format) if part is not None) == path
