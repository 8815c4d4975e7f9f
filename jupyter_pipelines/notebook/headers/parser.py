"""The parser of headers: words in, a :class:`CellHeader` and every fault out."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from jupyter_pipelines.errors import Diagnostic, SourceLocation
from jupyter_pipelines.notebook.headers import foreach_spec, units
from jupyter_pipelines.notebook.headers.cell_layout import Form, RawHeader
from jupyter_pipelines.notebook.headers.io_spec import IOSpec, is_format, split_item
from jupyter_pipelines.notebook.headers.lexer import HeaderToken, header_word
from jupyter_pipelines.notebook.headers.options import BY_SPELLING, USAGE, HeaderOption, Kind, closest_option
from jupyter_pipelines.pipeline.foreach import ForeachAxis
from jupyter_pipelines.pipeline.identifiers import normal_name
from jupyter_pipelines.pipeline.ignored_paths import empty_range, ignored_path
from jupyter_pipelines.pipeline.url_inputs import hide_credentials


@dataclass(frozen=True, slots=True, kw_only=True)
class CellHeader:
    """The header of a cell, parsed.

    Parameters
    ----------
    kind : {"step", "params", "setup"}
        Which header; the fields below belong to ``step``.
    name : str
        Name of the step; empty where it is missing or the header is another.
    inputs, outputs, parameters : tuple of IOSpec or None
        The declared interface; None where the option is left out, empty where it stands without items.
    after, optional : tuple of IOSpec
        Steps to wait for; inputs that may be missing.
    retries, cpus, gpus : int or None
        Counts; None where left out.
    timeout : float or None
        Seconds.
    memory : int or None
        Bytes.
    cache_for : float or None
        Seconds for which its result is accepted; infinite for ``forever``.
    ignore : tuple of str
        Files that do not count: paths and patterns relative to the project's root.
    cache, always : bool or None
        False for ``--no-cache``, True for ``--always``, None where left out.
    on, kernel : str or None
        Where it runs, and in which kernel.
    foreach : tuple of ForeachAxis
        Names that are bound to another value in each item of the step.
    at_once : int or None
        How many items may run at once.
    allow_failed : str or None
        How many items may fail: ``3`` or ``10%``.
    place : SourceLocation
        Where ``%%step`` or ``step:`` stands.
    form : {"magic", "comment", "tags"}
        How it is written: ``%%step``, ``#| step:``, or tags such as Kale's.
    """

    kind: Kind
    name: str = ""
    inputs: tuple[IOSpec, ...] | None = None
    outputs: tuple[IOSpec, ...] | None = None
    parameters: tuple[IOSpec, ...] | None = None
    after: tuple[IOSpec, ...] = ()
    optional: tuple[IOSpec, ...] = ()
    retries: int | None = None
    timeout: float | None = None
    cache_for: float | None = None
    ignore: tuple[str, ...] = ()
    cache: bool | None = None
    always: bool | None = None
    cpus: int | None = None
    gpus: int | None = None
    memory: int | None = None
    on: str | None = None
    kernel: str | None = None
    foreach: tuple[ForeachAxis, ...] = ()
    at_once: int | None = None
    allow_failed: str | None = None
    place: SourceLocation
    form: Form


# Word processors and chat programs turn hyphens into dashes: these words count as options, to be reported as such.
_OPTION = re.compile(r"--?[A-Za-z]|--|[\u2012-\u2015\u2212][A-Za-z]?")
_ASSIGNED = re.compile(r"(-{1,2}[A-Za-z][A-Za-z-]*)=")
_DASHES = re.compile(r"[\u2012-\u2015\u2212]+")
RESERVED = frozenset({"_step"})


def parse_header(raw_header: RawHeader) -> tuple[CellHeader, tuple[Diagnostic, ...]]:
    """Return what `raw_header` means as far as it can be read, and what is wrong with it, in order of place."""
    parser = _HeaderParser(raw_header)
    header = parser.step() if raw_header.kind == "step" else parser.bare()
    return header, tuple(sorted(parser.faults, key=_position))


def _position(fault: Diagnostic) -> tuple[int, int]:
    return (fault.place.line, fault.place.column) if fault.place else (0, 0)


class _HeaderParser:
    """Parses a header."""

    def __init__(self, raw_header: RawHeader) -> None:
        self.raw_header = raw_header
        # `--on=local` is one word to the lexer, and two to everything below.
        self.words = list(_separated(raw_header.words))
        self.faults: list[Diagnostic] = []
        self.seen: dict[str, HeaderToken] = {}
        self.items: dict[str, list[IOSpec]] = {}
        self.values: dict[str, Any] = {}
        self.axes: list[ForeachAxis] = []
        self.ignored: dict[str, None] = {}

    def bare(self) -> CellHeader:
        """Read ``%%params`` or ``%%setup``, which take nothing."""
        kind = self.raw_header.kind
        if self.words:
            self.fault(
                f"`{self.words[0].shown}` is not expected: this header takes nothing",
                "take it away" if kind == "setup" else "declare parameters in the lines below: `name: int = 1`",
                self.words[0],
            )
        return CellHeader(kind=kind, place=self.raw_header.place, form=self.raw_header.form)

    def step(self) -> CellHeader:
        """Read ``%%step``."""
        name = self._name()
        for option, values in self._groups():
            self._read(option, values)
        fields: dict[str, Any] = {_FIELDS[key]: tuple(items) for key, items in self.items.items()}
        fields |= {key.replace("-", "_"): value for key, value in self.values.items()}
        return CellHeader(
            kind="step",
            name=name,
            place=self.raw_header.place,
            form=self.raw_header.form,
            foreach=tuple(self.axes),
            ignore=tuple(self.ignored),
            **fields,
        )

    def fault(
        self, message: str, suggestion: str, word: HeaderToken | None = None, *, code: str = "JP101", **fields: Any
    ) -> None:
        place = word.place if word else self.raw_header.place
        message, suggestion = hide_credentials(message), hide_credentials(suggestion)
        self.faults.append(Diagnostic(code=code, message=message, suggestion=suggestion, place=place, **fields))

    # The name

    def _name(self) -> str:
        leading = list(takewhile(lambda word: not _is_option(word), self.words))
        self.words = self.words[len(leading) :]
        if not leading:
            return self._missing_name()
        for word in leading[1:2]:
            self._not_expected(word, leading)
        self.check_step_name(leading[0], "step")
        return normal_name(leading[0].text)

    def _missing_name(self) -> str:
        position = self._swallowed()
        name = self.words.pop(position) if position else None
        words = [] if any(map(_is_key, self.words)) else [word.shown for word in self.words]
        message = "the step has no name"
        if name:
            message = f"the name of the step comes first; here `{name.shown}` was taken for another item"
        elif words:
            message = "the name of the step comes first, and here is none"
        header = _written(self.raw_header.form, " ".join([name.shown if name else "NAME", *words]))
        self.fault(message, f"write `{header}`", name)
        return normal_name(name.text) if name else ""

    def _swallowed(self) -> int:
        """Return the position of the word that was probably meant as the name but follows an option, or 0."""
        last = len(self.words) - 1
        # Keys of the comment form stand on lines of their own, where no name can be among their words.
        if last < 1 or any(map(_is_key, self.words)) or not units.is_step_name(self.words[last].text):
            return 0
        option, values = list(self._split())[-1]
        return last if len(values) > (0 if _is_flag(option) else 1) else 0

    def _not_expected(self, word: HeaderToken, leading: list[HeaderToken]) -> None:
        joined = units.propose_step_name("_".join(leading_word.text for leading_word in leading))
        form = self.raw_header.form
        self.fault(
            f"`{word.shown}` is not expected behind the name of the step",
            f"write `{_written(form, joined)}` if it belongs to the name, or put `-i` or `-o` in front of it",
            word,
        )

    def check_step_name(self, word: HeaderToken, noun: str) -> None:
        if units.is_step_name(word.text):
            return
        notes = [units.STEP_NAME_RULE]
        if re.search(r"[{}$]", word.text):
            notes.append("`{}` and `$` are never expanded in a header")
        self.fault(
            f"`{_short(word.text)}` cannot be the name of a {noun}",
            f"write `{units.propose_step_name(word.text)}`",
            word,
            code="JP103",
            notes=tuple(notes),
        )

    # The options

    def _split(self) -> Iterator[tuple[HeaderToken, list[HeaderToken]]]:
        """Yield every option with the words that follow it."""
        starts = [number for number, word in enumerate(self.words) if _is_option(word)]
        for start, stop in zip(starts, [*starts[1:], len(self.words)], strict=False):
            yield self.words[start], self.words[start + 1 : stop]

    def _groups(self) -> Iterator[tuple[HeaderOption, list[HeaderToken]]]:
        for word, values in self._split():
            option = BY_SPELLING.get(word.text)
            if option is None:
                self._unknown(word)
            elif self._is_new(option, word):
                yield option, values

    def _unknown(self, word: HeaderToken) -> None:
        dashes = _DASHES.match(word.text)
        plain = _DASHES.sub("-" if len(word.text) == 2 else "--", word.text)
        if dashes and plain in BY_SPELLING:
            self.fault(f"`{word.shown}` begins with a dash that is not a hyphen", f"write `{plain}`", word)
            return
        closest = closest_option(word.text)
        spelling = _spelling(closest, self.raw_header.form) if closest else ""
        self.fault(
            f"there is no option `{word.shown}`",
            f"write `{spelling}`" if closest else "use one of the options below",
            word,
            notes=(f"options: {USAGE}",),
        )

    def _is_new(self, option: HeaderOption, word: HeaderToken) -> bool:
        first = self.seen.setdefault(option.name, word)
        if option.many or first is word:
            return True
        self.fault(
            f"`{word.shown}` stands twice",
            "take one of the two away",
            word,
            code="JP106",
            notes=(f"the first is in line {first.place.line}",),
        )
        return False

    def _read(self, option: HeaderOption, values: list[HeaderToken]) -> None:
        if option.takes == "items":
            self._items(option, values)
        elif option.takes == "names":
            self._names(option, values)
        elif option.takes == "axes":
            self._axes(option, values)
        elif option.takes == "paths":
            self._paths(option, values)
        elif option.takes == "nothing":
            self._unexpected_values(option, values[:1])
            self.values.update({"cache": False} if option.name == "no-cache" else {option.name: True})
        else:
            self._value(option, values)

    def _unexpected_values(self, option: HeaderOption, words: list[HeaderToken]) -> None:
        for word in words:
            takes = "nothing" if option.takes == "nothing" else "one value"
            self.fault(
                f"`{word.shown}` is not expected: `{self.seen[option.name].shown}` takes {takes}",
                "take it away; the name of the step comes first, items follow `-i`, `-o` or `-p`",
                word,
            )

    def _value(self, option: HeaderOption, values: list[HeaderToken]) -> None:
        if not values:
            self._lacking(option)
            return
        self._unexpected_values(option, values[1:2])
        value = _VALUE_PARSERS[option.takes](values[0].text, option)
        if value is None:
            self.fault(
                f"`{self.seen[option.name].shown}` takes {_EXPECTED[option.takes].format(option.minimum)}, "
                f"not `{_short(values[0].text)}`",
                f"write {_EXAMPLES[option.takes].format(_spelling(option, self.raw_header.form))}",
                values[0],
                code="JP604",
            )
        self.values[option.name] = value

    def _lacking(self, option: HeaderOption) -> None:
        word = self.seen[option.name]
        usage = f"{_spelling(option, self.raw_header.form)} {option.metavar}"
        self.fault(f"`{word.shown}` lacks its value", f"write `{usage}`", word, notes=(option.help,))

    def _axes(self, option: HeaderOption, values: list[HeaderToken]) -> None:
        if not values:
            self._lacking(option)
        try:
            for raw_axis in foreach_spec.split_axes(values):
                self._axis(option, self._parsed_axis(raw_axis))
        except foreach_spec.AxisParseError as error:
            self._axis(option, self._faulty_axis(error, error.word.text))

    def _parsed_axis(self, raw_axis: foreach_spec.RawAxis) -> ForeachAxis:
        try:
            return foreach_spec.parse_axis(raw_axis)
        except foreach_spec.AxisParseError as error:
            return self._faulty_axis(error, raw_axis.name)

    def _faulty_axis(self, error: foreach_spec.AxisParseError, name: str) -> ForeachAxis:
        """Report what is wrong with an axis, and return one of its name: that the code uses it is no fault as well."""
        self.fault(error.message, error.suggestion, error.word)
        return ForeachAxis(name=name, kind="values", values=("",), place=error.word.place)

    def _axis(self, option: HeaderOption, axis: ForeachAxis) -> None:
        if any(earlier.name == axis.name for earlier in self.axes):
            spelling = _spelling(option, self.raw_header.form)
            message = f"`{axis.name}` stands twice behind `{spelling}`"
            suggestion = f"write all its values behind one `{axis.name}=`"
            self.faults.append(Diagnostic(code="JP106", message=message, suggestion=suggestion, place=axis.place))
        else:
            self.axes.append(axis)

    def _paths(self, option: HeaderOption, values: list[HeaderToken]) -> None:
        if not values:
            self._lacking(option)
        for word, text in _paths_in(values):
            path, empty = ignored_path(text), empty_range(text)
            if empty is not None:
                self.fault(f"no character fits `{_short(empty)}`", "write the lower end first, as in `[a-z]`", word)
            elif path is None:
                self.fault(
                    f"`{_short(text)}` is not in the project: only its own files can be left out",
                    f"write the path as it is seen from the project's folder, as in `{option.long} logs/*.log`",
                    word,
                )
            else:
                self.ignored.setdefault(path)

    # Names and items

    def _names(self, option: HeaderOption, values: list[HeaderToken]) -> None:
        if not values:
            self._lacking(option)
        for word in values:
            if option.name == "after":
                self.check_step_name(word, "step")
            else:
                self._check_identifier(word.text, word, "input")
            self._add(option, IOSpec(name=normal_name(word.text), place=word.place))

    def _items(self, option: HeaderOption, values: list[HeaderToken]) -> None:
        self.items.setdefault(option.name, [])
        for word in self._unbroken_items(values):
            self._item(option, word)

    def _unbroken_items(self, values: list[HeaderToken]) -> Iterator[HeaderToken]:
        """Yield the words that are whole items; an item torn into words by spaces around ``=`` is one fault."""
        remaining = list(values)
        while remaining:
            word = remaining.pop(0)
            torn_count = 0 if word.shown.partition("=")[2] else 2 if remaining and remaining[0].shown == "=" else 1
            if torn_count and (word.shown.endswith("=") or (remaining and remaining[0].shown.startswith("="))):
                self._torn([word, *remaining[:torn_count]])
                del remaining[:torn_count]
            else:
                yield word

    def _torn(self, words: list[HeaderToken]) -> None:
        joined = "".join(word.shown for word in words)
        if joined.startswith("=") or joined.endswith("="):
            self._unfinished(words[0], "=")
            return
        self.fault(
            f"`{words[0].shown}` and what belongs to it are apart: an item has no spaces around `=`",
            f"write `{joined}`",
            words[0],
        )

    def _item(self, option: HeaderOption, word: HeaderToken) -> None:
        noun = _SINGULAR[option.name]
        name, locator, format_ = split_item(word.text)
        if not name:
            self.fault(f"`{word.shown}` lacks a name", f"write the name of the {noun} first, as in `name:format`", word)
            return
        if locator == "" or format_ == "":
            self._unfinished(word, "=" if locator == "" else ":")
            return
        self._check_identifier(name, word, noun)
        self._check_parts(option, word, locator, format_)
        self._add(
            option, IOSpec(name=units.parse_identifier(name) or name, locator=locator, format=format_, place=word.place)
        )

    def _unfinished(self, word: HeaderToken, sign: str) -> None:
        noun = "a path or `step.name`" if sign == "=" else "a format"
        example = "`raw=data/x.csv`, without spaces around `=`" if sign == "=" else "`model:joblib`"
        self.fault(f"`{word.shown}` lacks {noun} behind `{sign}`", f"write it like {example}", word)

    def _check_parts(self, option: HeaderOption, word: HeaderToken, locator: str | None, format_: str | None) -> None:
        if option.name == "param" and (locator is not None or format_ is not None):
            self.fault(
                f"`{word.shown}`: a parameter is only named here",
                f"write `{word.text.partition('=')[0].partition(':')[0]}`, and its value into a `%%params` cell",
                word,
            )
        elif option.name == "out" and locator is not None:
            self.fault(
                f"`{word.shown}`: an output has a name and a format, but no `=`",
                f"write `{word.text.partition('=')[0]}:file` and write to that path, or give the value that name",
                word,
            )
        elif format_ is not None and not is_format(format_):
            self.fault(
                f"`{_short(format_)}` cannot be a format", "write one word behind `:`, as in `model:joblib`", word
            )

    def _check_identifier(self, name: str, word: HeaderToken, noun: str) -> None:
        identifier = units.parse_identifier(name)
        if identifier is not None and identifier not in RESERVED:
            return
        notes = ("`{}` and `$` are never expanded in a header",) if re.search(r"[{}$]", name) else ()
        reason = "rendered notebooks use it" if identifier else "it is not a Python name"
        self.fault(
            f"`{_short(name)}` cannot be the name of {_ARTICLE[noun]} {noun}: {reason}",
            self._name_advice(name, noun, is_word=identifier is not None),
            word,
            code="JP103",
            notes=notes,
        )

    def _name_advice(self, name: str, noun: str, *, is_word: bool) -> str:
        proposed = units.propose_identifier(name)
        # `-i data.csv`: a file is meant, and a name for it is missing.
        if noun == "input" and re.search(r"\w\.\w+$|/", name):
            return f"write `{header_word(f'{proposed}={name}')}`, and read the file at the path `{proposed}`"
        return f"write `{proposed}`" + ("" if is_word else ", and call it so in the code")

    def _add(self, option: HeaderOption, item: IOSpec) -> None:
        items = self.items.setdefault(option.name, [])
        if any(earlier.name == item.name for earlier in items):
            self.faults.append(
                Diagnostic(
                    code="JP106",
                    message=f"`{item.name}` stands twice behind `{_spelling(option, self.raw_header.form)}`",
                    suggestion="take one of the two away",
                    place=item.place,
                )
            )
            return
        items.append(item)


def _separated(words: tuple[HeaderToken, ...]) -> Iterator[HeaderToken]:
    """Yield the words, with ``--option=value`` as two words."""
    for word in words:
        match = _ASSIGNED.match(word.shown)
        # Compared with the text as well: in `'--a=b'` the quotes make it a value.
        if match and word.text.startswith(match[0]):
            yield HeaderToken(match[1], match[1], word.place)
            yield word.rest(match.end())
        else:
            yield word


def _is_option(word: HeaderToken) -> bool:
    # The keys of the comment form are spelt as options, but shown as they stand there.
    return _OPTION.match(word.text) is not None and word.shown[:1] not in "\"'"


def _is_key(word: HeaderToken) -> bool:
    """Return whether `word` is an option that was written as a ``#|`` line."""
    return _is_option(word) and word.shown.endswith(":")


def _is_flag(word: HeaderToken) -> bool:
    option = BY_SPELLING.get(word.text)
    return option is not None and option.takes == "nothing"


def _spelling(option: HeaderOption, form: Form) -> str:
    return f"#| {option.name}:" if form == "comment" else option.short or option.long


def _written(form: Form, arguments: str) -> str:
    return f"#| step: {arguments}" if form == "comment" else f"%%step {arguments}"


def _paths_in(words: Iterable[HeaderToken]) -> Iterator[tuple[HeaderToken, str]]:
    """Yield the paths in words, each with its word; commas separate paths unless the word is quoted."""
    for word in words:
        is_quoted = word.shown[:1] in ("'", '"')
        texts = [text for text in word.text.split(",") if text and not is_quoted]
        yield from ((word, text) for text in texts or [word.text])


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"


_FIELDS: Mapping[str, str] = {
    "in": "inputs", "out": "outputs", "param": "parameters", "after": "after", "optional": "optional",
}  # fmt: skip
_SINGULAR: Mapping[str, str] = {"in": "input", "out": "output", "param": "parameter"}
_ARTICLE: Mapping[str, str] = {"input": "an", "output": "an", "parameter": "a"}
_VALUE_PARSERS: Mapping[str, Callable[[str, HeaderOption], Any]] = {
    "count": lambda text, option: units.parse_count(text, option.minimum),
    "duration": lambda text, option: units.parse_duration(text),
    "lifetime": lambda text, option: math.inf if text.lower() == "forever" else units.parse_duration(text),
    "size": lambda text, option: units.parse_size(text),
    "text": lambda text, option: text or None,
    "share": lambda text, option: foreach_spec.parse_share(text),
}
_EXPECTED: Mapping[str, str] = {
    "count": "a whole number of at least {}",
    "duration": "a duration",
    "lifetime": "a duration or `forever`",
    "size": "a size with its unit",
    "text": "a text",
    "share": "a whole number, or a part in percent below 100",
}
_EXAMPLES: Mapping[str, str] = {
    "count": "`{} 2`",
    "duration": "`{0} 90` (seconds), `{0} 30s`, `{0} 10m` or `{0} 1h30m`",
    "lifetime": "`{0} 12h`, `{0} 1d` or `{0} forever`",
    "size": "`{0} 512M` or `{0} 8G`",
    "text": "`{} NAME`",
    "share": "`{0} 3` or `{0} 10%`",
}
