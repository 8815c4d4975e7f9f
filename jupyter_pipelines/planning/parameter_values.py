"""The values of a pipeline's parameters: defaults and values from outside, with all faults at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from jupyter_pipelines.errors import Diagnostic, PlanError, closest_name, shell_word
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.identifiers import normal_name
from jupyter_pipelines.pipeline.parameters import Parameter, ParameterError
from jupyter_pipelines.planning.keys.secret_marks import faults_of_secrets

_CODES: Mapping[str, str] = {"type": "JP502", "range": "JP503", "choice": "JP504"}


class ResolvedParameters(NamedTuple):
    """The values of parameters, of all that have a valid one, and what is wrong with the others."""

    values: dict[str, Any]
    faults: list[Diagnostic]


def resolve(
    pipeline: Pipeline,
    values: Mapping[str, Any] | None = None,
    texts: Mapping[str, str] | None = None,
    *,
    selected: Collection[str] | None = None,
) -> dict[str, Any]:
    """Return a value for every parameter of `pipeline`, in the order of their declaration.

    Parameters
    ----------
    pipeline : Pipeline
        Declares the parameters.
    values : Mapping of str to object
        Values as Python or a file gives them.
    texts : Mapping of str to str
        Values as a command line gives them; read by the type of the parameter. They win over `values`.
    selected : collection of str or None
        Steps that are asked for: secrets that only other steps take may be missing. None for all steps.

    Raises
    ------
    PlanError
        A parameter does not exist (JP501), has no value (JP506), a value does not fit it (JP502, JP503, JP504), or a
        secret is not where its reference says (JP510); all faults at once.
    """
    resolved = resolve_partly(pipeline, values or {}, texts or {}, selected=selected)
    if resolved.faults:
        raise PlanError(*resolved.faults)
    return resolved.values


def faults_of(
    pipeline: Pipeline, values: Mapping[str, Any] | None = None, texts: Mapping[str, str] | None = None
) -> tuple[Diagnostic, ...]:
    """Return everything that is wrong with values for the parameters of `pipeline`; see :func:`resolve`."""
    return tuple(resolve_partly(pipeline, values or {}, texts or {}).faults)


def resolve_partly(
    pipeline: Pipeline,
    values: Mapping[str, Any],
    texts: Mapping[str, str],
    *,
    selected: Collection[str] | None = None,
) -> ResolvedParameters:
    """Return the valid values of parameters, and everything that is wrong; see :func:`resolve`."""
    values = {normal_name(name): value for name, value in values.items()}
    texts = {normal_name(name): text for name, text in texts.items()}
    resolved = ResolvedParameters({}, list(_unknown(pipeline, dict.fromkeys([*values, *texts]))))
    for parameter in pipeline.parameters:
        try:
            resolved.values[parameter.name] = _value(parameter, values, texts)
        except ParameterError as error:
            resolved.faults.append(_mismatch(parameter, error, texts.get(parameter.name)))
        except LookupError:
            resolved.faults.append(_missing_value(parameter))
    needed = resolved.values
    if selected is not None:
        taken = {name for step in pipeline if step.name in selected for name in step.parameters}
        needed = {name: value for name, value in resolved.values.items() if name in taken}
    resolved.faults.extend(faults_of_secrets(pipeline, needed))
    return resolved


def _value(parameter: Parameter, values: Mapping[str, Any], texts: Mapping[str, str]) -> Any:
    if parameter.name in texts:
        return parameter.fit(parameter.parse(texts[parameter.name]))
    if parameter.name in values:
        return parameter.fit(values[parameter.name])
    if parameter.required:
        raise LookupError(parameter.name)
    # Not checked again: defaults are checked when the notebook is read.
    return parameter.default


def _unknown(pipeline: Pipeline, names: Iterable[str]) -> Iterator[Diagnostic]:
    known = [parameter.name for parameter in pipeline.parameters]
    for name in names:
        if name in known:
            continue
        near = closest_name(name, known)
        suggested = next((parameter for parameter in pipeline.parameters if parameter.name == near), None)
        yield Diagnostic(
            code="JP501",
            message=f"there is no parameter `{name}`",
            suggestion=f"write `{near}`" if near else _name_suggestion(known),
            place=suggested.place if suggested else None,
            notes=(f"parameters: {', '.join(known)}",) if known else (),
        )


def _name_suggestion(known: list[str]) -> str:
    if known:
        return f"use one of: {', '.join(known)}"
    return "leave it out, or declare it in a cell that begins with `%%params`"


def _mismatch(parameter: Parameter, error: ParameterError, text: str | None) -> Diagnostic:
    # A text that is none of the choices is not of their type either; what helps is to name the choices.
    mismatch = "choice" if parameter.choices and text is not None else error.wrong
    is_unquoted = parameter.kind == "str" and text is None and mismatch == "type"
    fitting = parameter.with_text_keys(text) if text is not None and mismatch == "type" else None
    suggestion = _text_suggestion(parameter) if is_unquoted else _value_suggestion(parameter)
    return Diagnostic(
        code=_CODES[mismatch],
        message=f"parameter `{parameter.name}`: {error.message}",
        suggestion=f"write {_option_of(parameter, fitting)}" if fitting is not None else suggestion,
        place=parameter.place,
        label="declared here",
        notes=(parameter.description,) if parameter.description else (),
    )


def _text_suggestion(parameter: Parameter) -> str:
    """Say how a file of parameters has a text that looks like a number, a date or a truth value."""
    return f'give {parameter.expected()}; in a file of parameters it stands in quotes: `{parameter.name}: "…"`'


def _value_suggestion(parameter: Parameter) -> str:
    if parameter.choices:
        choices = [*parameter.choices, *([None] if parameter.nullable else [])]
        return "write " + " or ".join(filter(None, (_option(parameter, choice) for choice in choices)))
    bounds = f" ({_limits(parameter)})" if parameter.limits else ""
    default = "" if parameter.required else _option(parameter, parameter.default)
    examples = (_option(parameter, value) for value in _EXAMPLES.get(parameter.kind, ()))
    example = next(filter(None, examples), "")
    hint = f", for instance its default: {default}" if default else f", for instance {example}" if example else ""
    return f"give {parameter.expected()}{bounds}{hint}"


def _option(parameter: Parameter, value: Any) -> str:
    """Return the option that gives a parameter a value, to be pasted into a shell; empty if there is none."""
    text = parameter.text_for(value)
    return _option_of(parameter, text) if text is not None else ""


def _option_of(parameter: Parameter, text: str) -> str:
    return f"`-p {shell_word(f'{parameter.name}={text}')}`"


def _limits(parameter: Parameter) -> str:
    return ", ".join(f"{_SIGNS.get(name, name)} {bound!r}" for name, bound in parameter.limits.items())


_EXAMPLES: Mapping[str, tuple[Any, ...]] = {
    "list": ([1, 2], ["a", "b"], [True]),
    "dict": ({"a": 1}, {"a": "b"}, {"a": True}),
}
_SIGNS: Mapping[str, str] = {
    "gt": ">",
    "ge": ">=",
    "lt": "<",
    "le": "<=",
    "multiple_of": "a multiple of",
    "min_length": "at least of length",
    "max_length": "at most of length",
}


def _missing_value(parameter: Parameter) -> Diagnostic:
    return Diagnostic(
        code="JP506",
        message=f"parameter `{parameter.name}` has no default and was given no value",
        suggestion=f"give {parameter.expected()}: `-p {parameter.name}=…`, or write a default into the cell",
        place=parameter.place,
        label="declared here",
        notes=(parameter.description,) if parameter.description else (),
    )
