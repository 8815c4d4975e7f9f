"""What crosses between steps is what it is in one namespace, or an error before there is another value.

The steps of all cases stand in one notebook. Its pipeline computes what its cells compute in one Python process.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest

from tests.e2e.notebook_project import NotebookProject
from tests.waiting import PATIENCE

MODULES = {
    "table.py": "entries = {}\ndef register(f):\n    entries[f.__name__] = f\n    return f\n",
    "extras.py": "import table\n\ntable.entries['zero'] = lambda x: 0\n",
    "plugins.py": "from table import entries\nnames = []\ndef task(f):\n    entries['task'] = f\n    return f\n"
    "class Plugin:\n    def __init_subclass__(cls): names.append(cls.__name__)\n",
}
SHARED = {
    "a model and its optimizer": (
        "class Model:\n    def __init__(self): self.w = [1.0, 2.0]",
        "class Sgd:\n    def __init__(self, w): self.w = w\n    def step(self): self.w[0] -= 1",
        "%%step build -o model sgd\nmodel = Model()\nsgd = Sgd(model.w)",
        "%%step train -i model sgd -o model\nsgd.step()",
        "%%step weights -i model -o r_model\nr_model = model.w",
    ),
    "a figure and its axes": (
        "import matplotlib\nmatplotlib.use('agg')\nfrom matplotlib.figure import Figure",
        "%%step draw -o fig ax\nfig = Figure()\nax = fig.subplots()",
        "%%step title -i fig ax -o fig\nax.set_title('T')",
        "%%step show_title -i fig -o r_fig\nr_fig = fig.axes[0].get_title()",
    ),
    "a list in a mapping": (
        "%%step plain -o settings ids\nids = [1]\nsettings = {'ids': ids}",
        "%%step extend -i settings ids -o settings ids\nids.append(2)",
        "%%step look -i settings -o r_plain\nr_plain = settings",
    ),
    "an array and a part of it": (
        "import numpy as np",
        "%%step zeros -o base start\nbase = np.zeros(3)\nstart = base[:2]",
        "%%step set_part -i base start -o base start\nstart[0] = 1",
        "%%step look_at_base -i base -o r_base\nr_base = base.tolist()",
    ),
    "a frame in an object": (
        "import pandas as pd",
        "%%step frames -o table_of holder\ntable_of = pd.DataFrame({'a': [1, 2]})\nholder = {'t': table_of}",
        "%%step scale -i table_of holder -o table_of holder\ntable_of['a'] *= 10",
        "%%step sum_up -i holder -o r_frame\nr_frame = holder['t']['a'].tolist()",
    ),
}
CLASSES = {
    "nested": (
        "from enum import Enum\nclass Job:\n    class State(Enum):\n        A = 1\n    class Part:\n        pass",
        "%%step nest -o state part\nstate, part = Job.State.A, Job.Part()",
        "%%step nested -i state part -o r_nested\nr_nested = [state is Job.State.A, type(part) is Job.Part]",
    ),
    "generic": (
        "from dataclasses import dataclass\nfrom typing import Generic, TypeVar\nT = TypeVar('T')",
        "@dataclass\nclass Box(Generic[T]):\n    v: T",
        "%%step fill -o box\nbox = Box(3)",
        "%%step unbox -i box -o r_box\nr_box = [isinstance(box, Box), box == Box(3)]",
    ),
    "of pydantic": (
        "from pydantic import BaseModel",
        "class Item(BaseModel, Generic[T]):\n    name: str\n    value: T",
        "class Cart(BaseModel):\n    item: Item",
        "%%step pick -o item\nitem = Item[int](name='x', value=1)",
        "%%step cart -i item -o r_item\nr_item = [isinstance(item, Item[int]), Cart(item=item).item.value]",
    ),
    "with a counter": (
        "class Counted:\n    count = 0\n    seen = {}\n    def __init__(self): Counted.count += 1",
        "%%step count -o first\nfirst = Counted()\nCounted()\nfirst.seen['x'] = 1",
        "%%step count_on -i first -o r_count\nlast = Counted()\nr_count = [isinstance(first, Counted), last.count]",
    ),
    "with a base": (
        "from abc import ABC, abstractmethod\nclass Shape(ABC):\n    @abstractmethod\n    def area(self): ...",
        "class Square(Shape):\n    def area(self):\n        'Documented.'\n        return 4",
        "%%step shape -o square\nsquare = Square()",
        "%%step area -i square -o r_area\nr_area = [isinstance(square, Shape), type(square) is Square, square.area()]",
    ),
}
REGISTRATIONS = {
    "in a mapping": (
        "KNOWN = {}\ndef note(f): KNOWN[f.__name__] = f\ndef known(f):\n    note(f)\n    return f",
        "@known\ndef double(x): return 2 * x",
        "%%step use_known -o r_known\nr_known = [sorted(KNOWN), KNOWN['double'](2)]",
    ),
    "by type": (
        "from functools import singledispatch\n@singledispatch\ndef kind(x): return 'any'",
        "@kind.register\ndef _(x: int): return 'int'\n@kind.register(str)\ndef _(x): return 'str'",
        "%%step use_kind -o r_kind\nr_kind = [kind(1), kind('a'), kind(1.5)]",
    ),
    "of subclasses": (
        "NAMES = []\nclass Plugin:\n    def __init_subclass__(cls): NAMES.append(cls.__name__)",
        "class First(Plugin): pass\nclass Second(First): pass",
        "%%step use_names -o r_names\nr_names = NAMES",
    ),
    "that Python keeps": (
        "class Root: pass",
        "class Leaf(Root): pass",
        "%%step use_leaves -o r_leaves\nr_leaves = [c.__name__ for c in Root.__subclasses__()]",
    ),
    "in a module": (
        "import extras\nfrom table import entries, register",
        "@register\ndef triple(x): return 3 * x",
        "%%step use_entries -o r_entries\nr_entries = {name: f(2) for name, f in entries.items()}",
    ),
    "through what a module defines": (
        "import plugins",
        "@plugins.task\ndef square(x): return x * x\nclass Third(plugins.Plugin): pass",
        "%%step use_plugins -o r_plugins\nr_plugins = [plugins.names, plugins.entries['task'](3)]",
    ),
}


def test_steps_compute_what_one_namespace_does(book: NotebookProject) -> None:
    cells = list(chain.from_iterable((SHARED | CLASSES | REGISTRATIONS).values()))
    for name, text in MODULES.items():
        (book.folder / name).write_text(text)
    book.write(*cells)
    run = book.run()
    assert run.code == 0, run.out
    results = {name: f"{step}.{name}" for step, name in results_of(cells)}
    values = {name: book.value(place) for name, place in results.items()}
    assert values == in_one_namespace(book, cells, list(results))
    assert set(book.run().steps("decision").values()) == {"reuse"}


def results_of(cells: list[str]) -> list[tuple[str, str]]:
    """Return the steps that make a result, each with the name of it."""
    headers = [cell.split("\n")[0].split() for cell in cells if cell.startswith("%%step")]
    return [(words[1], words[-1]) for words in headers if words[-1].startswith("r_")]


def in_one_namespace(book: NotebookProject, cells: list[str], names: list[str]) -> dict[str, object]:
    """Return what the cells compute without their headers, one after another in a process of their own."""
    bodies = [cell.partition("\n")[2] if cell.startswith("%%step") else cell for cell in cells]
    shown = ", ".join(f"{name!r}: {name}" for name in names)
    program = "\n".join([*bodies, f"import json\nprint(json.dumps({{{shown}}}))"])
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=book.folder, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    values: dict[str, object] = json.loads(ended.stdout)
    return values


@pytest.mark.parametrize(
    ("cells", "code", "words"),
    [
        pytest.param(
            ("%%step make -o a b\na = b = [1]", "%%step change -i a -o a\na.append(2)", "%%step use -i b -o r\nr = b"),
            "JP307",
            "`b`, and step `use` takes `b` as it was before",
            id="a step changes what a later step takes by another name",
        ),
        pytest.param(
            ("%%step make -o a b\na = [1]\nb = {'a': a}", "%%step change -i a b -o n\nn = getattr(a, 'append')(2)"),
            "JP307",
            "changed its input `a`",
            id="a step changes what it does not leave",
        ),
        pytest.param(
            (
                "class C:\n    def f(self): return 1",
                "%%step make -o c\nC.f = lambda self: 2\nc = C()",
                "%%step use -i c -o r\nr = [c.f(), C().f()]",
            ),
            "JP212",
            "step `make` changes `C`",
            id="a class is changed by name",
        ),
        pytest.param(
            (
                "class C:\n    def f(self): return 1\ndef patch(cls, f):\n    cls.f = f",
                "%%step make -o c\nother = [C][0]\npatch(other, lambda self: 2)\nc = other()",
                "%%step use -i c -o r\nr = [c.f(), C().f()]",
            ),
            "JP310",
            "its class `C` is not the class `C` that this step defines",
            id="a class is changed behind its name",
        ),
        pytest.param(
            (
                "class C:\n    n = 0\n    def __init__(self): type(self).n += 1",
                "%%step one -o a\na = C()",
                "%%step two -o b\nb = [C(), C()]",
                "%%step use -i a b -o r\nr = C.n",
            ),
            "JP310",
            "steps before it left different values in `C.n`",
            id="two steps count in a class",
        ),
        pytest.param(
            (
                "from abc import ABC\nclass Shape(ABC): pass\nclass Dot: pass",
                "Shape.register(Dot)",
                "%%step use -o r\nr = isinstance(Dot(), Shape)",
            ),
            "JP208",
            "which exploration changes",
            id="exploration registers",
        ),
    ],
)
def test_what_would_differ_is_refused(book: NotebookProject, cells: tuple[str, ...], code: str, words: str) -> None:
    run = book.write(*cells).run()
    assert run.code != 0
    assert f'"{code}"' in run.out
    assert words in run.out + run.err


def test_a_later_step_that_is_new_is_noticed(book: NotebookProject) -> None:
    made = (
        "%%step make -o a b\na = [1]\nb = {'a': a}",
        "%%step change -i a b -o a\na.append(2)",
        "%%step use -i a -o n\nn = len(a)",
    )
    assert book.write(*made).run().code == 0
    assert set(book.plan().steps("decision").values()) == {"reuse"}
    planned = book.write(*made, "%%step late -i b -o r\nr = b").plan()
    assert planned.steps("reason")["change"]["text"] == (
        "it changed its input `a`, and `late` takes `b` as it was before"
    )
    run = book.run()
    assert run.code != 0
    assert "and step `late` takes `b` as it was before" in run.out
    repaired = book.write(
        made[0], "%%step change -i a b -o a b\na.append(2)", *made[2:], "%%step late -i b -o r\nr = b"
    )
    assert repaired.run().code == 0
    assert book.value("late.r") == {"a": [1, 2]}


def test_a_part_that_stays_as_it_was_may_be_taken_later(book: NotebookProject) -> None:
    book.write(
        "%%step make -o model settings\nsettings = {'depth': 3}\nmodel = {'settings': settings, 'w': [1]}",
        "%%step train -i model -o model\nmodel['w'].append(2)",
        "%%step report -i model settings -o r\nr = [model['w'], settings['depth']]",
    )
    assert book.run().code == 0
    assert book.value("report.r") == [[1, 2], 3]


def test_equal_items_are_values_of_their_own(book: NotebookProject) -> None:
    book.write(
        "%%step each -o model sgd --foreach k=1,2\nmodel = {'w': [1.0]}\nsgd = {'w': model['w']}",
        "%%step all -i model sgd -o r\n"
        "r = [model[0] is model[1], model[0]['w'] is sgd[0]['w'], model[0]['w'] is sgd[1]['w']]",
    )
    run = book.run()
    assert run.code == 0, run.out + run.err
    assert book.value("all.r") == [False, True, False]


def test_an_output_of_a_group_is_written_alone(book: NotebookProject) -> None:
    assert book.write("%%step make -o a b\na = [1]\nb = {'a': a}").run().code == 0
    assert book.value("make.a") == [1]
    assert book.value("make.b") == {"a": [1]}
    target = book.folder / "b.json"
    assert book.call("output", "make.b", "-o", str(target)).code == 0
    assert json.loads(target.read_text()) == {"a": [1]}


def test_an_object_of_a_class_of_the_project_is_shown(book: NotebookProject) -> None:
    book.write("import shapes_of_mine", "%%step a -o x\nx = shapes_of_mine.Shape()")
    (book.folder / "shapes_of_mine.py").write_text("class Shape:\n    def __repr__(self):\n        return 'a shape'\n")
    assert book.run().code == 0
    assert book.call("output", "a.x").out == "a shape\n"


PLACES = (
    "%%step as_path -o p\nfrom pathlib import Path\np = Path('data').resolve()",
    "%%step as_text -o t\nimport os\nt = os.getcwd()",
    "%%step in_list -o l\nimport os\nl = [{'file': os.path.abspath('data/x.csv')}]",
    "%%step in_object -o o\nfrom pathlib import Path\no = {'f': {Path.cwd() / 'data'}}",
    "%%step in_table -o f\nimport os\nimport pandas as pd\nf = pd.DataFrame({'file': [os.path.abspath('data/x.csv')]})",
    "%%step in_file -o w:file\nimport os\nw.write_text(os.path.abspath('data'))",
    "%%step twice -o q\nfrom pathlib import Path\nq = [Path('/data/project'), Path('data').resolve()]",
    "%%step in_array -o a\nimport os\nimport numpy as np\na = np.array([os.path.abspath('data/x.png')])",
    "%%step relative -o r\nfrom pathlib import Path\nr = Path('data/x.csv')",
    "%%step number -o n\nn = 7",
)


def test_a_path_into_the_project_counts_with_where_the_project_is(book: NotebookProject, tmp_path: Path) -> None:
    """In a copy of the project, a stored path would lead to the files of the original."""
    book.folder /= "prü fung"
    book.write(*PLACES)
    (book.folder / "pyproject.toml").touch()
    store = ("--store", str(tmp_path / "store"))
    assert book.run(*store).code == 0
    assert set(book.plan(*store).steps("decision").values()) == {"reuse"}
    copy = NotebookProject(tmp_path / "copy", book.name, book.environment)
    shutil.copytree(book.folder, copy.folder)
    plan = copy.plan(*store)
    again = {name for name, decision in plan.steps("decision").items() if decision == "run"}
    assert again == {"as_path", "as_text", "in_list", "in_object", "in_table", "in_file", "twice", "in_array"}
    assert plan.steps("reason")["as_path"] == {
        "code": "file",
        "text": "the project is in another folder now, and `p` contains the path of the old one",
        "details": [],
    }
