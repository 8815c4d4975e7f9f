"""Parser of the values of ``--foreach name=values``, word by word."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from jupyter_pipelines.notebook.headers import units
from jupyter_pipelines.notebook.headers.lexer import HeaderToken
from jupyter_pipelines.pipeline.foreach import ForeachAxis, Scalar

EXAMPLE = "`--foreach depth=2,4,8`, `--foreach part=data/parts/`, or `--foreach depth=depths` for a parameter"
_INT = re.compile(r"[+-]?[0-9]{1,18}")
_FLOAT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_PATTERN = re.compile(r"[*?\[]")
_SHARE = re.compile(r"(?:[0-9]{1,9}|(?:100|[0-9]{1,2})(?:\.[0-9]{1,3})?%)")
_LIST = re.compile(r"[\[({].*[\])}]|range\(.*\)")
_WORDS: dict[str, Scalar] = {"True": True, "true": True, "False": False, "false": False}


@dataclass(slots=True)
class RawAxis:
    """A ``name=value``, with the following words that have no ``=``."""

    name: str
    first: HeaderToken
    values: list[HeaderToken] = field(default_factory=list)


class AxisParseError(ValueError):
    """The words after ``--foreach`` are not a valid axis."""

    def __init__(self, message: str, suggestion: str, word: HeaderToken) -> None:
        super().__init__(message)
        self.message, self.suggestion, self.word = message, suggestion, word


def parse_share(text: str) -> str | None:
    """Return ``3`` or ``10%`` as it stands, or None for any other text."""
    # If all items may fail, there may be nothing to gather.
    return text if _SHARE.fullmatch(text) and text not in ("100%",) else None


def split_axes(words: Sequence[HeaderToken]) -> Iterator[RawAxis]:
    """Yield each name with the words that belong to it.

    Raises
    ------
    AxisParseError
        The first word has no name.
    """
    current: RawAxis | None = None
    for word in words:
        name, equals, _ = word.text.partition("=")
        if equals and units.parse_identifier(name):
            if current:
                yield current
            current = RawAxis(units.parse_identifier(name) or name, word, [word.rest(len(name) + 1)])
        elif current is None:
            lacks = "lacks its values" if units.parse_identifier(word.text) else "has no name"
            raise AxisParseError(f"`{word.shown}` {lacks}", f"write it like {EXAMPLE}, without spaces around `=`", word)
        else:
            current.values.append(word)
    if current:
        yield current


def parse_axis(raw_axis: RawAxis) -> ForeachAxis:
    """Return what the words mean: the name of a parameter, files, or values.

    Raises
    ------
    AxisParseError
        They mean nothing, or values of several types.
    """
    values = [word for word in raw_axis.values if word.text]
    if not values:
        raise AxisParseError(f"`{raw_axis.first.shown}` lacks its values", f"write it like {EXAMPLE}", raw_axis.first)
    _refuse_brackets(raw_axis, values)
    single = values[0] if len(values) == 1 else None
    if single is not None:
        quoted = single.shown[-1:] in ("'", '"')
        if units.parse_identifier(single.text) and single.text not in _WORDS and not quoted:
            return ForeachAxis(name=raw_axis.name, kind="parameter", source=single.text, place=raw_axis.first.place)
        if _PATTERN.search(single.text) or "/" in single.text:
            return ForeachAxis(name=raw_axis.name, kind="files", source=single.text, place=raw_axis.first.place)
    return ForeachAxis(
        name=raw_axis.name, kind="values", values=_same_type_values(raw_axis, values), place=raw_axis.first.place
    )


def _refuse_brackets(raw_axis: RawAxis, values: Sequence[HeaderToken]) -> None:
    """Refuse a list as Python writes it: its values would be texts, the first and the last with a bracket."""
    written = ",".join(word.shown for word in values).removeprefix(f"{raw_axis.name}=")
    if not _LIST.fullmatch(written):
        return
    plain = written[1:-1].strip(" ,")
    # A single word would be the name of a parameter.
    is_list = not written.startswith("range") and bool(plain) and units.parse_identifier(plain) is None
    way = f"`{raw_axis.name}={plain}`" if is_list else f"{EXAMPLE}"
    raise AxisParseError(
        f"the values of `{raw_axis.name}` stand in brackets: `{written}`",
        f"write {way}, or the name of a parameter that holds a list; a text with brackets needs quotes",
        values[0],
    )


def _same_type_values(raw_axis: RawAxis, words: Sequence[HeaderToken]) -> tuple[Scalar, ...]:
    values = [_value(word) for word in words]
    kinds = {type(value) for value in values}
    if kinds == {int, float}:
        return tuple(float(value) for value in values)
    if len(kinds) > 1:
        mismatched = next(word for word, value in zip(words, values, strict=True) if type(value) is not type(values[0]))
        raise AxisParseError(
            f"the values of `{raw_axis.name}` are of several types: `{words[0].shown}` and `{mismatched.shown}`",
            "write values of one type; a text that looks like a number needs quotes",
            mismatched,
        )
    return tuple(values)


def _value(word: HeaderToken) -> Scalar:
    text = word.text
    if word.shown[-1:] in ("'", '"'):
        return text
    if _INT.fullmatch(text):
        plain = str(int(text))
        # Leading zeros: the text may be an identifier in which they count.
        if len(text.lstrip("+-")) > len(plain.lstrip("-")):
            raise AxisParseError(
                f"`{text}` may be a number or a text", f"write `{plain}`, or `'{text}'` in quotes", word
            )
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else _WORDS.get(text, text)
