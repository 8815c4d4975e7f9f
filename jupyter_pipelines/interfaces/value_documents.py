"""Names and values written as YAML or JSON: what each value means, and where a value may mean two things."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from jupyter_pipelines.errors import SourceLocation

_MAX_DEPTH = 64
_LONGEST = 80
_WORD, _LEADING_ZERO = "!unquoted-word", "!leading-zero"
_TEXT, _FLOAT = "tag:yaml.org,2002:str", "tag:yaml.org,2002:float"
_OTHER_KEYS = {
    "tag:yaml.org,2002:int": "a number",
    _FLOAT: "a number",
    "tag:yaml.org,2002:bool": "a truth value",
    "tag:yaml.org,2002:null": "no value",
}


class UnquotedWord(str):
    """One of YAML 1.1's ``yes``, ``no``, ``on`` and ``off``: true, false or a text, as its parameter is."""

    __slots__ = ()


class DocumentFault(NamedTuple):
    """What is wrong with a document, where, and what to do; without a suggestion where the reason says it all."""

    reason: str
    place: SourceLocation | None = None
    label: str = ""
    suggestion: str = ""


class ValueDocumentError(ValueError):
    """A document cannot be read; it has all faults that were found.

    Parameters
    ----------
    *faults : DocumentFault
        At least one.
    """

    def __init__(self, *faults: DocumentFault) -> None:
        super().__init__(*faults)
        self.faults = faults


def parse_json(text: str) -> Any:
    """Return what a JSON text says.

    Raises
    ------
    ValueDocumentError
        It is not JSON, or an object has a key twice.
    """
    repeated: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            keys = [key for key, _ in pairs]
            repeated.extend(key for key in values if keys.count(key) > 1)
        return values

    try:
        values = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        place = _location(text, error.lineno - 1, error.colno - 1, 1)
        raise ValueDocumentError(DocumentFault(error.msg, place)) from error
    if repeated:
        raise ValueDocumentError(*(_json_repetitions(text) or map(_repetition, dict.fromkeys(repeated))))
    return values


def parse_yaml(text: str) -> Any:
    """Return what a YAML text says, with numbers as YAML 1.2 or Python spells them; of nothing it is an empty dict.

    Dates and times of day stay texts. References are refused, since a short text can say a million values by them.

    Raises
    ------
    ValueDocumentError
        It is not YAML, a mapping has a key twice or one that is no text, or a value may be a text or a number.
    """
    try:
        loader = _ValueLoader(text)
        node = _composed(text, loader)
        if node is None:
            return {}
        faults = [*_repetitions(node, text), *_faults_of_scalars(node, text), *_faults_of_keys(node, text)]
        if faults:
            raise ValueDocumentError(*sorted(faults, key=_line))
        return loader.construct_document(node) or {}
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = error.problem or error.context or "it is not YAML"
        place = _location(text, mark.line, mark.column, 1) if mark else None
        if "another document" in reason:
            several = DocumentFault("it holds several documents", place, suggestion="keep one of them in the file")
            raise ValueDocumentError(several) from error
        raise ValueDocumentError(DocumentFault(reason, place)) from error
    except yaml.YAMLError as error:
        raise ValueDocumentError(DocumentFault(str(error).splitlines()[0])) from error


class _ValueLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # one of two classes
    """Read YAML 1.2's values: PyYAML's own table is of YAML 1.1, where `1e-3` is a text and `12:30` a number."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's way

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        """Return an integer in any of Python's spellings."""
        return int(node.value, 0)

    def construct_number(self, node: yaml.ScalarNode) -> float:
        """Return a number with a fraction or an exponent, infinity, or what is no number."""
        return _number(node.value)

    def construct_word(self, node: yaml.ScalarNode) -> UnquotedWord:
        """Return a word that may be true, false or a text."""
        return UnquotedWord(node.value)


for _tag, _pattern, _first in (
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    (
        "tag:yaml.org,2002:int",
        r"[-+]?(?:0|[1-9](?:_?[0-9])*|0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[0-9a-fA-F])+)",
        list("-+0123456789"),
    ),
    # Before numbers with a fraction, as the first that fits counts.
    (_LEADING_ZERO, r"[-+]?0(?:_?[0-9])+(?:\.(?:[0-9](?:_?[0-9])*)?)?(?:[eE][-+]?[0-9]+)?", list("-+0")),
    (
        _FLOAT,
        r"[-+]?(?:\.[0-9](?:_?[0-9])*|[0-9](?:_?[0-9])*(?:\.(?:[0-9](?:_?[0-9])*)?)?)(?:[eE][-+]?[0-9]+)?",
        list("-+.0123456789"),
    ),
    (_FLOAT, r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", list("-+.")),
    (_WORD, r"yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF", list("yYnNoO")),
):
    _ValueLoader.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), _first)
_ValueLoader.add_constructor("tag:yaml.org,2002:int", _ValueLoader.construct_integer)
_ValueLoader.add_constructor(_FLOAT, _ValueLoader.construct_number)
_ValueLoader.add_constructor(_WORD, _ValueLoader.construct_word)


def _composed(text: str, loader: _ValueLoader) -> yaml.Node | None:
    depth = 0
    for event in yaml.parse(text, _ValueLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueDocumentError(
                DocumentFault(
                    "it uses references (`*name`), which are not read",
                    _place_of(event, text),
                    suggestion="write the values out where the reference is",
                )
            )
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise ValueDocumentError(DocumentFault(f"it is nested more than {_MAX_DEPTH} deep"))
    node: yaml.Node | None = loader.get_single_node()
    return node


def _nodes(root: yaml.Node) -> Iterator[yaml.Node]:
    yield root
    if isinstance(root, yaml.CollectionNode):
        for child in root.value:
            for node in child if isinstance(child, tuple) else (child,):
                yield from _nodes(node)


def _faults_of_scalars(root: yaml.Node, text: str) -> Iterator[DocumentFault]:
    """Find values that may mean two things; a word that no parameter's type decides on becomes a text."""
    of_parameters = {id(value) for _, value in root.value} if isinstance(root, yaml.MappingNode) else set()
    keys = {id(key) for node in _nodes(root) if isinstance(node, yaml.MappingNode) for key, _ in node.value}
    for node in _nodes(root):
        if not isinstance(node, yaml.ScalarNode):
            continue
        if node.tag == _LEADING_ZERO:
            yield _leading_zero(node, text, is_key=id(node) in keys)
        elif node.tag == _FLOAT and math.isinf(_number(node.value)) and not node.value.lower().endswith("inf"):
            help_line = f'quote it, `"{node.value}"`, if it is a text; write `.inf` for infinity'
            yield DocumentFault(f"`{node.value}` is too large for a number", _place_of(node, text), "", help_line)
        elif node.tag == _WORD and id(node) not in of_parameters:
            node.tag = _TEXT


def _faults_of_keys(root: yaml.Node, text: str) -> Iterator[DocumentFault]:
    """Find keys that are no texts: no parameter takes them."""
    for mapping in _nodes(root):
        for key, _ in mapping.value if isinstance(mapping, yaml.MappingNode) else ():
            if isinstance(key, yaml.CollectionNode):
                yield DocumentFault("a key is a list or has keys itself, and keys are texts", _place_of(key, text))
            elif key.value == "<<" and not key.style:
                help_line = "write the values out where they are merged"
                yield DocumentFault(
                    "it uses merge keys (`<<`), which are not read", _place_of(key, text), "", help_line
                )
            elif key.tag in _OTHER_KEYS:
                reason = f"the key `{key.value}` is {_OTHER_KEYS[key.tag]}, and keys are texts"
                # The names of parameters are no numbers: there, quotes do not help.
                help_line = "" if mapping is root else f'quote it: `"{key.value}"`'
                yield DocumentFault(reason, _place_of(key, text), "", help_line)


def _leading_zero(node: yaml.ScalarNode, text: str, *, is_key: bool) -> DocumentFault:
    if node.value.lstrip("+-").replace("_", "").isdecimal():
        numbers = [int(node.value)] if re.search(r"[89]", node.value) else [int(node.value), int(node.value, 8)]
        spellings = [str(number) for number in dict.fromkeys(numbers)]
    else:
        spellings = [re.sub(r"(?<![0-9.])(?:0_?)+(?=[0-9])", "", node.value, count=1)]
    written = " or ".join(f"`{spelling}`" for spelling in spellings)
    quote = f'quote it, `"{node.value}"`'
    return DocumentFault(
        f"`{node.value}` may be a text or the number {' or '.join(spellings)}",
        _place_of(node, text),
        "a number has no leading zero",
        # A number would be refused as a key.
        quote if is_key else f"{quote}, if it is a text; write {written} if it is a number",
    )


def _number(text: str) -> float:
    is_named = text.lower().endswith((".inf", ".nan"))
    return float(text.replace(".", "", 1) if is_named else text)


def _repetitions(root: yaml.Node, text: str) -> Iterator[DocumentFault]:
    for mapping in _nodes(root):
        if not isinstance(mapping, yaml.MappingNode):
            continue
        first_lines: dict[str, int] = {}
        for key, _ in mapping.value:
            # All other keys are no texts, which is another fault: `1` and `"1"` are not the same.
            if key.tag not in (_TEXT, _WORD):
                continue
            line = key.start_mark.line + 1
            if key.value in first_lines:
                yield _repetition(key.value, first_lines[key.value], _place_of(key, text))
            else:
                first_lines[key.value] = line


def _json_repetitions(text: str) -> list[DocumentFault]:
    """Find repeated keys with the reader of YAML, which knows lines; empty where JSON is no YAML."""
    text = text.replace("\t", " ")  # no tab may stand before a value in YAML; columns stay as they are
    try:
        node = _composed(text, _ValueLoader(text))
        return sorted(_repetitions(node, text), key=_line) if node else []
    except (yaml.YAMLError, ValueDocumentError):
        return []


def _repetition(key: str, first_line: int = 0, place: SourceLocation | None = None) -> DocumentFault:
    where = ""
    if place:
        where = (
            f" in line {place.line}" if place.line == first_line else f", in line {first_line} and in line {place.line}"
        )
    return DocumentFault(
        f"`{key}` is given twice{where}", place, "the second time", f"leave one `{key}` and take the other out"
    )


def _line(fault: DocumentFault) -> int:
    return fault.place.line if fault.place else 0


def _place_of(item: yaml.Node | yaml.Event, text: str) -> SourceLocation | None:
    start, end = item.start_mark, item.end_mark
    if start is None or end is None:
        return None
    return _location(text, start.line, start.column, end.column - start.column if end.line == start.line else 1)


def _location(text: str, line: int, column: int, length: int) -> SourceLocation:
    lines = text.split("\n")
    content = lines[line].rstrip("\r").replace("\t", " ") if line < len(lines) else ""
    left_out = max(0, column - _LONGEST // 2)
    return SourceLocation(
        cell=0,
        line=line + 1,
        column=column - left_out,
        length=max(1, min(length, _LONGEST // 2)),
        text=content[left_out : left_out + _LONGEST],
    )
