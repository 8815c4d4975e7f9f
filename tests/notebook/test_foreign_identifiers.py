"""Names of steps and variables in any script, and in any spelling that Python takes for the same."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_pipelines.errors import PlanError
from jupyter_pipelines.notebook.converting.step_names import name_of_heading
from jupyter_pipelines.notebook.editing.completion import complete, explain
from jupyter_pipelines.notebook.editing.rename import rename_output, rename_step
from jupyter_pipelines.notebook.reader import read
from jupyter_pipelines.notebook.source.document import NotebookDocument
from jupyter_pipelines.pipeline.foreach import item_labels
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.identifiers import file_stem, normal_name, only_names

NAMES = (
    "größe",
    "данные",
    "数据",
    "हिन्दी",
    "शृंखला",
    "بيانات",
    "ข้อมูล",
    "데이터",
    "π",
    "\u210c",
    "ﬁt",
    "cafe\u0301",
    "\u00b5",
    "a‿b",
)
LETTERS = st.characters(exclude_categories=["Cs"])


def book(*texts: str) -> NotebookDocument:
    return NotebookDocument.of_texts([(f"c{number}", text) for number, text in enumerate(texts)])


def pipeline_of(*texts: str) -> Pipeline:
    reading = read(book(*texts))
    assert reading.pipeline is not None, [str(fault) for fault in reading.faults]
    return reading.pipeline


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_the_same_wherever_it_stands(name: str) -> None:
    plain = normal_name(name)
    first = f"%%step {name} -o {name}\n{plain} = 1"
    pipeline = pipeline_of(
        first,
        f"%%step by_name -i {name} -o n\nn = {plain}",
        f"%%step by_locator -i m={name}.{name} -o k\nk = m",
        f"%%step inferred\nr = {name}",
        f"#| step: later-{name}\n#| after: {name}\n#| in: m={name}.{name}\nprint(m)",
    )
    assert [step.name for step in pipeline] == [plain, "by_name", "by_locator", "inferred", f"later-{plain}"]
    for step in ("by_name", "by_locator", "inferred", f"later-{plain}"):
        assert [str(step_input.source) for step_input in pipeline[step].inputs] == [f"{plain}.{plain}"]
    assert pipeline[f"later-{plain}"].after == (plain,)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_the_same_in_a_text_that_pandas_reads(name: str) -> None:
    first = f"%%params\n{name}: int = 3"
    pipeline = pipeline_of(first, f"%%step a -o x\nimport pandas as pd\nx = pd.DataFrame().query('n > @{name}')")
    assert pipeline["a"].parameters == (normal_name(name),)


@pytest.mark.parametrize("name", NAMES)
def test_what_the_shell_says_is_bound(name: str) -> None:
    pipeline = pipeline_of(f"%%step a -o {name}\n{normal_name(name)} = !ls")
    assert [output.name for output in pipeline["a"].outputs] == [normal_name(name)]


@pytest.mark.parametrize("name", NAMES)
def test_code_that_cannot_be_read_may_bind_it(name: str) -> None:
    reading = read(book(f"{name} = 1\nx = = 2", f"%%step a -o y\ny = {name}"))
    assert "JP104" in [fault.code for fault in reading.faults] or reading.pipeline is None


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_renamed_in_any_spelling(name: str) -> None:
    plain = normal_name(name)
    step = f"s-{name}"
    document = book(
        f"%%step {step} -o {name}\n{name} = [1]",
        f"%%step two -i {name} -o {name}x\n{name}x = {name}",
        f"%%step three -i m={step}.{name} --after {step}\nprint(m)",
        f"%pipeline run {step} --force={step}\n%pipeline load {step}.{name}",
    )
    assert rename_step(document, step, "grün").cells == {
        "c0": f"%%step grün -o {name}\n{name} = [1]",
        "c2": f"%%step three -i m=grün.{name} --after grün\nprint(m)",
        "c3": f"%pipeline run grün --force=grün\n%pipeline load grün.{name}",
    }
    without_magics = document.with_texts({"c3": f"'{plain}x'.{plain}"})
    assert rename_output(without_magics, f"s-{plain}", plain, "ﬁn").cells == {
        "c0": f"%%step {step} -o fin\nfin = [1]",
        "c1": f"%%step two -i fin -o {name}x\n{name}x = fin",
        "c2": f"%%step three -i m={step}.fin --after {step}\nprint(m)",
    }
    with pytest.raises(PlanError, match="would become one"):
        rename_step(document, "two", step)
    with pytest.raises(PlanError, match="has it in a text"):
        rename_output(book(f"%%step a -o {name}\n{name} = eval('{name}')"), "a", name, "x")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_completed_and_explained(name: str) -> None:
    line = f"%%step b -i m={name}."
    document = book(f"%%step {name} -o {name}\n{name} = 1", f"{line}{name} -o n\nn = m")
    matches = complete(document, "c1", 0, len(line)).matches
    assert f"m={normal_name(name)}.{normal_name(name)}" in [match.text for match in matches]
    assert "taken by b" in explain(document, "c0", 0, len(f"%%step {name} -o {name}"))["text"]


@given(st.lists(st.text(LETTERS, min_size=1, max_size=150), min_size=2, max_size=2, unique_by=normal_name))
def test_two_steps_never_share_a_file(names: list[str]) -> None:
    stems = [file_stem(name) for name in map(normal_name, names) if not name.isascii()]
    assert len({stem.casefold() for stem in stems}) == len(stems)
    assert all(stem.isascii() and len(stem) <= 80 and not set(stem) & set('/\\:*?"<>| .\0') for stem in stems)


@given(st.text(LETTERS))
def test_the_letters_of_names_stay_where_they_are(text: str) -> None:
    plain = only_names(text)
    assert len(plain) == len(text)
    assert all(new in (old, " ") for old, new in zip(text, plain, strict=True))
    assert all(new == old for old, new in zip(text, plain, strict=True) if f"_{old}".isidentifier())


def test_an_item_is_called_by_its_value_in_any_script() -> None:
    keys = [[("ort", text)] for text in ("Köln", "दिल्ली", "a b", "a/“x”", unicodedata.normalize("NFD", "Nürnberg"))]
    assert item_labels(keys) == ["ort=Köln", "ort=दिल्ली", "ort=a_b", "ort=_x_", "ort=Nürnberg"]


@pytest.mark.parametrize(
    ("heading", "name"),
    [
        ("2.1 Größe & Länge", "größe_länge"),
        ("हिन्दी में डेटा", "हिन्दी_में_डेटा"),
        ("読み込み\uff1aデータ", "読み込み_データ"),
        ("**Загрузка** “данных”", "загрузка_данных"),
        ("\u2460 ½", "step_1_1_2"),
    ],
)
def test_a_heading_in_any_script_names_a_step(heading: str, name: str) -> None:
    assert name_of_heading(heading) == name
