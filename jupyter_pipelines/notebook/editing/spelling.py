"""What a header says, taken apart and spelled again."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from jupyter_pipelines.notebook.code import parse_code
from jupyter_pipelines.notebook.headers import split_cell
from jupyter_pipelines.notebook.layout import MAGICS, Layout, lay_out
from jupyter_pipelines.notebook.options import BY_KEY, BY_SPELLING, OPTIONS, Option
from jupyter_pipelines.notebook.words import Word

Form = Literal["magic", "comment"]
SECTIONS: Mapping[str, str] = {"in": "inputs", "out": "outputs", "param": "parameters"}
WIDEST = 100
_PLAIN = set("\"'\\ \t,#")


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the header of a step says.

    Parameters
    ----------
    name : str
        The step.
    options : Mapping of str to sequence of str
        What follows each option, by its long name without hyphens; an interface that is left out is not there.
    form : {"magic", "comment"}
        How it is written.
    """

    name: str
    options: Mapping[str, Sequence[str]] = field(default_factory=dict)
    form: Form = "magic"


def said_by(source: str) -> Said | None:
    """Return what the header of a cell says; None for a cell that is no step."""
    layout = lay_out(source, 0)
    mark = layout.marks[0] if layout.marks else None
    if mark is None or mark.kind != "step":
        return None
    form: Form = "comment" if mark.form == "comment" else "magic"
    name = mark.words[0].text if mark.words and not mark.words[0].text.startswith("-") else ""
    found: dict[str, list[str]] = {}
    for option, words in grouped(mark.words[1 if name else 0 :]):
        found.setdefault(option.name, []).extend(one for word in words for one in _separate(option, word) if one)
    return Said(name=name, options=found, form=form)


def grouped(words: Sequence[Word]) -> Iterator[tuple[Option, list[Word]]]:
    """Yield each option with the words that follow it; words that no option takes are passed over."""
    current: tuple[Option, list[Word]] | None = None
    for word in words:
        key, equals, _ = word.text.partition("=")
        option = BY_SPELLING.get(key) if word.shown[:1] not in "\"'" else None
        if option is not None:
            if current:
                yield current
            current = (option, [word.rest(len(key) + 1)] if equals else [])
        elif current:
            current[1].append(word)
    if current:
        yield current


def _separate(option: Option, word: Word) -> list[str]:
    if option.takes == "axes":
        return [word.shown]  # whether a value stands in quotes makes a difference
    text = word.text
    return text.split(",") if option.many and "=" not in text else [text.rstrip(",") if option.many else text]


def spelled(said: Said) -> list[str]:
    """Return the lines of a header."""
    parts = [(BY_KEY[one.name], said.options[one.name]) for one in OPTIONS if one.name in said.options]
    if said.form == "comment":
        lines = [f"#| step: {quoted(said.name)}"]
        return lines + [f"#| {option.name}: {_value(option, values)}".rstrip() for option, values in parts]
    words = [f"%%step {quoted(said.name)}"]
    for option, values in parts:
        following = () if option.takes == "nothing" else values
        words.append(" ".join([option.short or option.long, *_words(option, following)]))
    return _wrapped(words)


def _value(option: Option, values: Sequence[str]) -> str:
    return "true" if option.takes == "nothing" else " ".join(_words(option, values))


def _words(option: Option, values: Sequence[str]) -> list[str]:
    if option.takes != "axes":
        return [quoted(one) for one in values]
    found: list[str] = []
    for value in values:
        text = value if value[-1:] in ("'", '"') else ",".join(map(quoted, value.split(",")))
        if found and "=" not in value:
            found[-1] += f",{text}"
        else:
            found.append(text)
    return found


def _wrapped(words: Sequence[str]) -> list[str]:
    """Return the words in as many lines as it takes; each line but the last goes on."""
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + len(word) + 1 > WIDEST:
            lines[-1] += " \\"
            lines.append(f"    {word}")
        else:
            lines[-1] += f" {word}"
    return lines


def quoted(text: str) -> str:
    """Return a word as a header has to write it."""
    if text and not set(text) & _PLAIN:
        return text
    name, equals, rest = text.partition("=")
    if equals and name.isidentifier() and rest:
        return f"{name}={_in_quotes(rest)}"
    return _in_quotes(text)


def _in_quotes(text: str) -> str:
    mark = "'" if "'" not in text else '"'
    escaped = text.replace("\\", "\\\\").replace(mark, f"\\{mark}") if mark in text else text
    return f"{mark}{escaped}{mark}"


def bound_by(source: str) -> list[str]:
    """Return the names that the code of a cell binds, as they come; none if it cannot be read."""
    code = parse_code(split_cell(source).body, 0)
    nodes = ast.walk(code.tree) if code.tree is not None else ()
    names = [one.id for one in nodes if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)]
    return [name for name in dict.fromkeys(names) if not name.startswith("_")]


def with_header(source: str, said: Said | None) -> str:
    """Return a cell with another header in the place of its own; without one for None.

    What stands above the header, magics such as ``%%time`` and the body stay as they are.
    """
    layout = lay_out(source, 0)
    texts = [line.text for line in layout.lines]
    own = _own_lines(layout)
    first = min(own, default=max((n + 1 for n, role in enumerate(layout.roles) if role in MAGICS), default=0))
    if said is not None and said.form == "magic" and not own:
        first = 0  # a cell magic stands first
    kept = [text for number, text in enumerate(texts) if number not in own]
    place = sum(1 for number in range(first) if number not in own)
    lines = spelled(said) if said is not None else []
    if not lines and place == 0:
        while kept and not kept[0].strip():
            kept.pop(0)
    return "\n".join([*kept[:place], *lines, *kept[place:]])


def _own_lines(layout: Layout) -> set[int]:
    """Return the indices of the lines that make up the header, those that it goes on in included."""
    if not layout.marks:
        return set()
    mark = layout.marks[0]
    wanted = "header" if mark.form == "magic" else "option"
    return {number for number, role in enumerate(layout.roles) if role == wanted}
