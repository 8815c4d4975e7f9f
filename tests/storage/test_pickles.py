"""Pickles: definitions of the notebook are stored along, load as the same class, and give the same bytes."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines.errors import NotStorable, StoreError
from jupyter_pipelines.pipeline.foreach import GatheredResults
from jupyter_pipelines.storage import serializers

CODE = """
    import dataclasses, enum, functools

    class Colour(enum.Enum):
        RED = 1
        BLUE = "b"

    @dataclasses.dataclass
    class Model:
        weights: list
        colour: Colour = Colour.RED

        def predict(self, x):
            return [scale(weight) * x for weight in self.weights]

        def itself(self):
            return Model

    class Better(Model):
        __slots__ = ()

    @functools.lru_cache
    def scale(weight):
        return weight * FACTOR

    FACTOR = 2
    model = Better([1, 2], Colour.BLUE)
"""
SAVE = """
    from pathlib import Path
    from jupyter_pipelines.storage import serializers
    saved = serializers.save(model, Path({path!r}))
    print(saved.digest)
"""
LOAD = """
    from pathlib import Path
    from jupyter_pipelines.storage import serializers
    model = serializers.load(Path({path!r}), "pickle")
"""


def python(*parts: str, path: Path, blank_lines: int = 0, name: str = "cell.py") -> str:
    """Run the parts as one program, which lies at another place and begins at another line each time."""
    program = path.parent / name
    program.write_text(
        "\n" * blank_lines
        + "\n".join(
            textwrap.dedent(part).format(path=str(path)) if "{path" in part else textwrap.dedent(part) for part in parts
        )
    )
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_processes_pickle_what_a_notebook_defines_to_the_same_bytes(tmp_path: Path) -> None:
    first = python(CODE, SAVE, path=tmp_path / "1")
    again = python(CODE, SAVE, path=tmp_path / "2", blank_lines=7, name="another.py")
    assert first == again


def test_other_code_gives_other_bytes(tmp_path: Path) -> None:
    first = python(CODE, SAVE, path=tmp_path / "1")
    changed = python(CODE.replace("FACTOR = 2", "FACTOR = 3"), SAVE, path=tmp_path / "2")
    assert first != changed


def test_a_process_without_the_class_can_read_it(tmp_path: Path) -> None:
    python(CODE, SAVE, path=tmp_path / "1")
    check = "print(model.predict(10), model.colour.name, type(model).__name__)"
    assert python(LOAD, check, path=tmp_path / "1").split("\n")[0] == "[20, 40] BLUE Better"


def test_a_process_with_the_same_class_takes_its_own(tmp_path: Path) -> None:
    python(CODE, SAVE, path=tmp_path / "1")
    check = """
        assert type(model) is Better
        assert isinstance(model, Model)
        assert model.colour is Colour.BLUE
        assert model == Better([1, 2], Colour.BLUE)
        assert model.itself() is Model
        FACTOR = 5  # its methods still look at the notebook's own names
        assert model.predict(1) == [5, 10]
        print("checked")
    """
    program = (CODE.replace("model =", "other ="), LOAD, check)
    shown = python(*program, path=tmp_path / "1", blank_lines=3, name="another.py")
    assert shown == "checked\n"


LOAD_IN_STEP = """
    from pathlib import Path
    from jupyter_pipelines.storage import serializers
    model = serializers.load(Path({path!r}), "pickle", in_step=True)
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("self.w = 1", "'Documented.'\n        self.w = 1"),
        ("with lock: return 1", "with lock:\n            return 1"),
        ("while True: return 1", "while True:\n            return 1"),
        (
            "try: return 1\n        except ValueError: return 2",
            "try:\n            return 1\n        except ValueError:\n            return 2",
        ),
        (
            "return [x for x in (1, 2) if x in {1, 2, 3}]",
            "return [\n            x for x in (1, 2) if x in {1, 2, 3}\n        ]  # as before",
        ),
        (
            "return self.f() if self else lambda x: x",
            "return (\n            self.f()\n            if self\n            else lambda x: x\n        )",
        ),
    ],
)
def test_a_class_is_the_same_however_it_is_written(tmp_path: Path, before: str, after: str) -> None:
    imports = "import contextlib\nlock = contextlib.nullcontext()\n"
    code = imports + "class Model:\n    def f(self, k=2):\n        {}\nmodel = Model()"
    python(code.format(before), SAVE, path=tmp_path / "1")
    check = "print(type(model) is Model)"
    shown = python(code.format(after).replace("model =", "other ="), LOAD_IN_STEP, check, path=tmp_path / "1")
    assert shown == "True\n"


@pytest.mark.parametrize(("before", "after"), [("return k", "return k + 1"), ("k=2", "k=3"), ("return k", "return 2")])
def test_a_step_does_not_take_an_instance_of_another_class(tmp_path: Path, before: str, after: str) -> None:
    code = "class Model:\n    def f(self, k=2):\n        return k\nmodel = Model()"
    python(code, SAVE, path=tmp_path / "1")
    with pytest.raises(AssertionError, match="is not the class `Model` that this step defines"):
        python(code.replace(before, after).replace("model =", "other ="), LOAD_IN_STEP, path=tmp_path / "1")


def test_an_enum_may_have_values_of_any_kind(tmp_path: Path) -> None:
    imports = "from enum import Enum, member\nfrom functools import partial\n"
    code = imports + "class Act(Enum):\n    RELU = member(partial(max, 0))\nmodel = Act.RELU"
    python(code, SAVE, path=tmp_path / "1")
    check = "print(model is Act.RELU)"
    assert python(code.replace("model =", "other ="), LOAD_IN_STEP, check, path=tmp_path / "1") == "True\n"


def test_a_process_with_another_class_of_that_name_keeps_both(tmp_path: Path) -> None:
    python(CODE, SAVE, path=tmp_path / "1")
    check = """
        assert type(model) is not Better
        assert model.predict(1) == [2, 4]
        assert Better([1]).predict(1) == [0]
        print("checked")
    """
    another = CODE.replace("model =", "other =").replace("* x for", "* 0 for")
    assert python(another, LOAD, check, path=tmp_path / "1") == "checked\n"


def test_a_class_of_the_notebook_without_its_like_is_read_twice_as_one(tmp_path: Path) -> None:
    python(CODE, SAVE, path=tmp_path / "1")
    shown = python(LOAD, "first = type(model)", LOAD, "print(type(model) is first)", path=tmp_path / "1")
    assert shown == "True\n"


def test_a_function_of_the_notebook_travels_with_what_it_needs(tmp_path: Path) -> None:
    python(CODE, "model = lambda x: scale(x) + 1", SAVE, path=tmp_path / "1")
    assert python(LOAD, "print(model(4))", path=tmp_path / "1") == "9\n"


class AttributeHolder:
    """An object with the given attributes."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class SlottedObject:
    """An object without a `__dict__`."""

    __slots__ = ("handle", "unset")


def _slotted() -> SlottedObject:
    slotted = SlottedObject()
    slotted.handle = threading.Lock()
    return slotted


def _closure() -> Any:
    lock = threading.Lock()
    return lambda: lock


@pytest.mark.parametrize(
    ("value", "path", "kind"),
    [
        (threading.Lock(), None, "_thread.lock"),
        ((letter for letter in "abc"), None, "generator"),
        ({"a": [1, threading.Lock()]}, "model['a'][1]", "_thread.lock"),
        (
            AttributeHolder(callbacks=[1, 2, AttributeHolder(fh=threading.Lock())]),
            "model.callbacks[2].fh",
            "_thread.lock",
        ),
        (AttributeHolder(ok=1, rows=(row for row in [])), "model.rows", "generator"),
        (_slotted(), "model.handle", "_thread.lock"),
        (AttributeHolder(act=_closure()), "model.act (its variable lock)", "_thread.lock"),
        ({"x" * 99: threading.Lock()}, f"model['{'x' * 36}…]", "_thread.lock"),
    ],
)
def test_what_cannot_be_stored_is_named_with_the_way_to_it(
    value: Any, path: str | None, kind: str, tmp_path: Path
) -> None:
    with pytest.raises(NotStorable) as caught:
        serializers.save(value, tmp_path / "value", name="model")
    (diagnostic,) = caught.value.faults
    assert diagnostic.code == "JP205"
    assert "`model`" in diagnostic.message
    assert (f"`{path}` is a {kind}" in diagnostic.message) if path else (f"({kind})" in diagnostic.message)
    assert any("tried as pickle" in note for note in diagnostic.notes)
    assert diagnostic.suggestion
    assert not (tmp_path / "value").exists()


def test_an_open_file_is_named(tmp_path: Path) -> None:
    with (
        (tmp_path / "log").open("w") as file,
        pytest.raises(NotStorable, match=r"`model\.log` is a _io\.TextIOWrapper"),
    ):
        serializers.save(AttributeHolder(log=file), tmp_path / "value", name="model")


def test_a_value_that_holds_itself_does_not_keep_the_search_going(tmp_path: Path) -> None:
    value: dict[str, Any] = {"lock": threading.Lock()}
    value["itself"] = [value]
    with pytest.raises(NotStorable, match=r"`model\["):
        serializers.save(value, tmp_path / "value", name="model")


def test_an_error_while_reading_is_told_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "value").write_bytes(b"\x80\x05cno_such_package\nThing\n.")
    with pytest.raises(StoreError, match="no_such_package") as caught:
        serializers.load(tmp_path / "value", "pickle")
    assert caught.value.code == "JP405"


def test_joblib_on_request(tmp_path: Path) -> None:
    pytest.importorskip("joblib")
    saved = serializers.save(AttributeHolder(a=1), tmp_path / "value", "joblib")
    assert saved.format == "joblib"
    assert serializers.load(tmp_path / "value", "joblib").a == 1


def test_a_cached_function_stored_under_the_name_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    stored = b"cjupyter_pipelines.storing.serializers.objects\n_wrap\n(cbuiltins\nlen\nI8\nI00\ntR."
    (tmp_path / "value").write_bytes(stored)
    function = serializers.load(tmp_path / "value", "pickle")
    assert (function("abc"), function.cache_info().maxsize) == (3, 8)


def test_results_of_items_stored_under_the_name_of_an_earlier_version_are_read(tmp_path: Path) -> None:
    (tmp_path / "value").write_bytes(b"cjupyter_pipelines.pipeline.foreach\nGathered\n((lI7\na(l(ltR.")
    assert serializers.load(tmp_path / "value", "pickle") == GatheredResults([7])
