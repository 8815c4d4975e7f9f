"""``%pipeline check --live``: values in a real kernel, compared with the stored outputs of the same code."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.e2e.notebook_project import NotebookProject
from tests.interfaces.test_live_kernel import CellReply, LiveKernel

pytestmark = pytest.mark.kernel

CELLS = (
    "import numpy as np\nimport pandas as pd\nimport scales",
    "%%params\ncount: int = 5000",
    "LIMIT = 20",
    "%%step load -o rows -p count\nrows = pd.DataFrame({'a': range(count), 'b': 1.0})",
    "%%step clean -i rows -o cleaned\ncleaned = rows[rows.a >= LIMIT]",
    (
        "%%step fit -i cleaned -o model\nclass Fitted:\n    pass\n\n"
        "model = Fitted()\nmodel.names = set('abcdefgh')\nmodel.mean = scales.FACTOR * cleaned.a.mean()"
    ),
    "%%step squares --foreach n=1,2,3 -o square\nsquare = n**2",
    "%%step write -o chart:file\nchart.write_text('a chart')",
    "%%step again -i rows -o rows total\nrows = rows + 1\ntotal = int(rows.a.sum())",
    "%%step order -o pair\npair = [np.arange(3), {'x': 1, 'y': np.float32(2)}]",
)


def ask_table(live: LiveKernel, options: str = "") -> dict[str, tuple[str, str, list[str]]]:
    """Return what `%pipeline check --live` says of each output: state, text and details."""
    return table_of(live.ask(f"%pipeline check --live {options}"))


def table_of(answer: CellReply) -> dict[str, tuple[str, str, list[str]]]:
    assert answer.status == "ok", answer.error
    table: dict[str, tuple[str, str, list[str]]] = {}
    for line in answer.text.splitlines():
        row = re.match(r"  (\S+\.\w+)\s+(equal|differs|missing|not compared|not stored yet)\s*(.*)$", line)
        if row:
            table[row[1]] = (row[2], row[3], [])
        elif line.startswith("    ") and table:
            list(table.values())[-1][2].append(line.strip())
    return table


def states(table: dict[str, tuple[str, str, list[str]]]) -> dict[str, str]:
    return {name: state for name, (state, _, _) in table.items()}


@pytest.fixture
def opened(book: NotebookProject) -> Iterator[tuple[NotebookProject, LiveKernel]]:
    """A saved notebook, and a kernel that knows it."""
    book.write(*CELLS)
    (book.folder / "scales.py").write_text("FACTOR = 2\n")
    kernel = LiveKernel(book.folder, book.path)
    yield book, kernel
    kernel.close()


def execute(live: LiveKernel, *numbers: int) -> None:
    for number in numbers:
        answer = live.ask(CELLS[number], f"c{number}")
        assert answer.status == "ok", answer.error


def test_the_values_of_the_kernel_beside_the_stored_ones(opened: tuple[NotebookProject, LiveKernel]) -> None:
    _, live = opened
    assert set(states(ask_table(live)).values()) == {"not stored yet"}
    assert live.ask("%pipeline run").text == ""
    table = ask_table(live)
    assert set(states(table).values()) == {"missing"}
    assert table["fit.model"][1] == "the kernel has no `model`"

    execute(live, *range(len(CELLS)))
    before = live.value("[id(rows), id(model), rows.a.tolist(), sorted(vars(model))]")
    answer = live.ask("%pipeline check --live")
    table = table_of(answer)
    # The later of two steps that make a name is the one whose value the kernel has.
    assert states(table) == dict.fromkeys(table, "equal") | {"load.rows": "not compared"}, answer.text
    assert "step `again` makes `rows` again" in table["load.rows"][1]
    assert "none of 7 values in the kernel differs from what is stored" in answer.text
    assert "squares[n=1].square" in table
    assert live.value("[id(rows), id(model), rows.a.tolist(), sorted(vars(model))]") == before

    # Changed afterwards, under the same name or in place; a setting; another file.
    live.ask("cleaned = cleaned.head(4000)", "c90")
    live.ask("pair[1]['x'] = 2", "c91")
    live.ask("np.set_printoptions(precision=2)\nscales.FACTOR = 'not to be shown'", "c92")
    live.ask("chart.write_text('another')", "c93")
    table = ask_table(live)
    shapes = "in the kernel: DataFrame, 4,000 rows x 2; stored: DataFrame, 4,980 rows x 2"
    assert table["clean.cleaned"][:2] == ("differs", shapes)
    cause = "the unsaved cell `cleaned = cleaned.head(4000)`, executed after it, changes `cleaned`"
    assert table["clean.cleaned"][2][0] == cause
    assert table["order.pair"][:2] == ("differs", "both: list of 2")
    assert "changes `pair`" in table["order.pair"][2][0]
    # Without the values of settings, which may be passwords.
    assert table["order.pair"][2][1:] == [
        "an unsaved cell makes a setting of this kernel: `np.set_printoptions(…)`",
        "an unsaved cell makes a setting of this kernel: `scales.FACTOR`",
    ]
    assert table["write.chart"][:2] == ("differs", "the files differ")
    # The model was made of the values as they were.
    assert table["fit.model"][0] == "equal"

    # A run says so in a line; `%pipeline load` takes the stored value over.
    # With time enough on a busy machine, too.
    live.ask("from jupyter_pipelines.interfaces.jupyter import live_check\nlive_check.QUICK_SECONDS = 600")
    note = live.ask("%pipeline run").text
    assert (
        note
        == "`cleaned`, `pair` in the kernel differ from the results of this run: `%pipeline check --live` shows more\n"
    )
    live.ask("%pipeline load clean.cleaned")
    assert ask_table(live)["clean.cleaned"][0] == "equal"
    note = live.ask("%pipeline run -p count=5000").text
    assert note.startswith(
        "the kernel's `pair` differs from the result of step `order`: `%pipeline load order.pair` takes"
    )
    assert note.endswith("over, `%pipeline check --live -p count=5000` shows more\n")
    live.ask("%pipeline load order.pair")
    assert live.ask("%pipeline run").text == ""


def test_why_a_value_of_the_kernel_may_differ(opened: tuple[NotebookProject, LiveKernel]) -> None:
    book, live = opened
    book.write(*CELLS[:6])
    assert live.ask("%pipeline run").status == "ok"
    execute(live, 0, 1, 2)
    # A parameter that was set by hand, and what follows from its value.
    live.ask("count = 100", "c90")
    execute(live, 3, 4, 5)
    table = ask_table(live)
    shapes = "in the kernel: DataFrame, 100 rows x 2; stored: DataFrame, 5,000 rows x 2"
    assert table["load.rows"][:2] == ("differs", shapes)
    assert table["load.rows"][2] == ["parameter `count` is 100 in the kernel, and 5000 in the pipeline"]
    assert table["clean.cleaned"][2] == ["its input `rows` differs as well"]
    assert table["fit.model"][:2] == ("differs", "both: Fitted; different: attribute `mean`")
    assert live.ask("%pipeline run -p count=100").status == "ok"
    assert set(states(ask_table(live, "-p count=100")).values()) == {"equal"}

    # Executed in another order.
    live.ask("count = 5000", "c90")
    execute(live, 3)
    table = ask_table(live)
    assert states(table) == {"load.rows": "equal", "clean.cleaned": "differs", "fit.model": "differs"}
    assert table["clean.cleaned"][2] == ["step `clean` follows `load`, which is newer"]
    execute(live, 4, 5)
    assert set(states(ask_table(live)).values()) == {"equal"}

    # Edited and saved, and not executed here.
    book.edit("model = Fitted()", "model = Fitted()\nmodel.more = 1")
    assert ask_table(live)["fit.model"][0] == "not stored yet"
    assert live.ask("%pipeline run").status == "ok"
    assert ask_table(live)["fit.model"][2] == ["step `fit` was edited since it was executed here"]
    # A constant that was executed again, and not what uses it.
    live.ask("LIMIT = 30", "c2")
    assert live.ask("%pipeline run").status == "ok"
    assert ask_table(live)["clean.cleaned"][2] == ["cell 3 with `LIMIT` was executed after step `clean`"]
    # A module, of which the kernel has the older form.
    (book.folder / "scales.py").write_text("FACTOR = 3\n")
    assert live.ask("%pipeline run").status == "ok"
    cause = "module `scales` was edited while this kernel ran, which may have the older one"
    assert cause in ask_table(live)["fit.model"][2]
    # Nothing is compared while the notebook has errors.
    book.edit("rows[rows.a", "unknown_rows[rows.a")
    answer = live.ask("%pipeline check --live")
    assert ("unknown_rows" in answer.text, "in the kernel" in answer.text) == (True, False)
