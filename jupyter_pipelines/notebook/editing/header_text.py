"""Conversion between the text of a header and its fields."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from jupyter_pipelines.notebook.code.cell_code import parse_code
from jupyter_pipelines.notebook.headers.cell_layout import MAGICS, CellLayout, read_layout
from jupyter_pipelines.notebook.headers.lexer import HeaderToken, header_word
from jupyter_pipelines.notebook.headers.options import BY_KEY, BY_SPELLING, OPTIONS, HeaderOption
from jupyter_pipelines.notebook.headers.split import split_cell

Form = Literal["magic", "comment"]
SECTIONS: Mapping[str, str] = {"in": "inputs", "out": "outputs", "param": "parameters"}
MAX_WIDTH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderFields:
    """The fields of a step's header.

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


def header_fields(source: str) -> HeaderFields | None:
    """Return the fields of the header of a cell; None for a cell that is no step."""
    layout = read_layout(source, 0)
    span = layout.marks[0] if layout.marks else None
    if span is None or span.kind != "step":
        return None
    form: Form = "comment" if span.form == "comment" else "magic"
    name = span.words[0].text if span.words and not span.words[0].text.startswith("-") else ""
    options: dict[str, list[str]] = {}
    for option, words in options_with_words(span.words[1 if name else 0 :]):
        options.setdefault(option.name, []).extend(
            value for word in words for value in _separate(option, word) if value
        )
    return HeaderFields(name=name, options=options, form=form)


def options_with_words(words: Sequence[HeaderToken]) -> Iterator[tuple[HeaderOption, list[HeaderToken]]]:
    """Yield each option with the words that follow it; words that no option takes are passed over."""
    current: tuple[HeaderOption, list[HeaderToken]] | None = None
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


def _separate(option: HeaderOption, word: HeaderToken) -> list[str]:
    if option.takes == "axes":
        return [word.shown]  # whether a value stands in quotes makes a difference
    text = word.text
    if word.shown[:1] in ("'", '"'):
        return [text]  # a comma in quotes belongs to the name, as for the parser of headers
    return text.split(",") if option.many and "=" not in text else [text.rstrip(",") if option.many else text]


def header_lines(header: HeaderFields) -> list[str]:
    """Return the lines of a header."""
    parts = [(BY_KEY[option.name], header.options[option.name]) for option in OPTIONS if option.name in header.options]
    if header.form == "comment":
        lines = [f"#| step: {header_word(header.name)}"]
        return lines + [f"#| {option.name}: {_value(option, values)}".rstrip() for option, values in parts]
    words = [f"%%step {header_word(header.name)}"]
    for option, values in parts:
        following = () if option.takes == "nothing" else values
        words.append(" ".join([option.short or option.long, *_words(option, following)]))
    return _wrapped(words)


def _value(option: HeaderOption, values: Sequence[str]) -> str:
    return "true" if option.takes == "nothing" else " ".join(_words(option, values))


def _words(option: HeaderOption, values: Sequence[str]) -> list[str]:
    if option.takes != "axes":
        return [header_word(value) for value in values]
    words: list[str] = []
    for value in values:
        text = value if value[-1:] in ("'", '"') else ",".join(map(header_word, value.split(",")))
        if words and "=" not in value:
            words[-1] += f",{text}"
        else:
            words.append(text)
    return words


def _wrapped(words: Sequence[str]) -> list[str]:
    """Return the words as lines of limited length; each line but the last ends with a continuation."""
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + len(word) + 1 > MAX_WIDTH:
            lines[-1] += " \\"
            lines.append(f"    {word}")
        else:
            lines[-1] += f" {word}"
    return lines


def bound_names(source: str) -> list[str]:
    """Return the names that the code of a cell binds, in order of occurrence; none if it cannot be read."""
    code = parse_code(split_cell(source).body, 0)
    nodes = ast.walk(code.tree) if code.tree is not None else ()
    names = [node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    return [name for name in dict.fromkeys(names) if not name.startswith("_")]


def with_header(source: str, header: HeaderFields | None) -> str:
    """Return a cell with another header in the place of its own; without a header for None.

    What stands above the header, magics such as ``%%time`` and the body stay as they are.
    """
    layout = read_layout(source, 0)
    texts = [line.text for line in layout.lines]
    own_lines = _own_lines(layout)
    first = min(own_lines, default=max((n + 1 for n, role in enumerate(layout.roles) if role in MAGICS), default=0))
    if header is not None and header.form == "magic" and not own_lines:
        first = 0  # a cell magic stands first
    kept = [text for number, text in enumerate(texts) if number not in own_lines]
    place = sum(1 for number in range(first) if number not in own_lines)
    lines = header_lines(header) if header is not None else []
    if not lines and place == 0:
        # Blank lines below the header were there to separate it.
        while kept and not kept[0].strip():
            kept.pop(0)
    return "\n".join([*kept[:place], *lines, *kept[place:]])


def _own_lines(layout: CellLayout) -> set[int]:
    """Return the indices of the lines that make up the header, continuation lines included."""
    if not layout.marks:
        return set()
    span = layout.marks[0]
    header_role = "header" if span.form == "magic" else "option"
    return {number for number, role in enumerate(layout.roles) if role == header_role}
