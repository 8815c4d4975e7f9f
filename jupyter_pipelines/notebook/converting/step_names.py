"""Names for steps: from the heading above, else from what the step does."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from jupyter_pipelines.notebook.converting.converted_interfaces import StepCandidate
from jupyter_pipelines.notebook.converting.split_points import MarkdownHeading
from jupyter_pipelines.notebook.headers.units import propose_step_name
from jupyter_pipelines.pipeline.identifiers import NAME_LETTER, normal_name, only_names

_MAX_WORDS = 5
_MARKUP = re.compile(r"<[^>]*>|\[([^\]]*)\]\([^)]*\)|[*_`$\\]|^\W*\d+(\.\d+)*\W+|&\w+;")
_HEADING_WORD = re.compile(rf"(?:(?!_){NAME_LETTER})+")
_STOP_WORDS = frozenset("a an and are as at by for from in into is its of on or our the this to we with".split())
_VERBS = (
    ("load", re.compile(r"read_\w+|load\w*|fetch_\w+|open|loadtxt|genfromtxt|urlopen|get")),
    ("split", re.compile(r"train_test_split|split")),
    ("train", re.compile(r"fit\w*|train\w*|compile")),
    ("evaluate", re.compile(r"score|predict\w*|cross_val_score|confusion_matrix|\w+_score|classification_report")),
    ("join", re.compile(r"merge|join|concat")),
    ("summarise", re.compile(r"groupby|pivot_table|agg|aggregate|describe|value_counts|crosstab")),
    ("clean", re.compile(r"drop\w*|fillna|replace|rename|astype|to_datetime")),
    ("plot", re.compile(r"plot|hist|scatter|bar|boxplot|imshow|subplots|show|heatmap|pairplot")),
)


def name_steps(parts: Sequence[StepCandidate], headings: Sequence[MarkdownHeading]) -> list[str]:
    """Return a distinct name for each step."""
    names: list[str] = []
    for part in parts:
        name = _name_from_heading(part, parts, headings) or _name_from_calls(part)
        names.append(_unused(name, names))
    return names


def _unused(name: str, names_in_use: Sequence[str]) -> str:
    lowercase = {known_name.lower() for known_name in names_in_use}
    candidates = [name, *(f"{name}_{number}" for number in range(2, len(lowercase) + 3))]
    return next(candidate for candidate in candidates if candidate.lower() not in lowercase)


def _name_from_heading(part: StepCandidate, parts: Sequence[StepCandidate], headings: Sequence[MarkdownHeading]) -> str:
    """Return a name from the last heading above a step, unless the heading is above an earlier step, too."""
    cell = part.units[0].cell.number
    earlier = parts[part.at - 1].units[0].cell.number if part.at else 0
    above = [heading for heading in headings if earlier < heading.cell < cell]
    inside = [heading for heading in headings if cell < heading.cell < part.units[-1].cell.number]
    nearest = above[-1:] or inside[:1]
    return name_of_heading(nearest[0].text) if nearest else ""


def name_of_heading(text: str) -> str:
    """Return a heading in the form of a step name."""
    plain = _MARKUP.sub(lambda match: match[1] or " ", text).lower().replace("'", "").replace("\u2019", "")
    words = _HEADING_WORD.findall(only_names(normal_name(plain)))
    kept = [word for word in words if word not in _STOP_WORDS] or words
    name = propose_step_name("_".join(kept[:_MAX_WORDS]))
    return name if name != "step" or kept else ""


def _name_from_calls(part: StepCandidate) -> str:
    called = [name for unit in part.units for chunk in unit.rest for name in _calls(chunk.body)]
    verb = next((verb for verb, pattern in _VERBS if any(pattern.fullmatch(name) for name in called)), "compute")
    subject = next((name for name in part.outputs if name.islower()), "")
    return propose_step_name(f"{verb}_{subject}" if subject and not subject.endswith("_random_state") else verb)


def _calls(body: tuple[ast.stmt, ...]) -> list[str]:
    calls = [node.func for statement in body for node in ast.walk(statement) if isinstance(node, ast.Call)]
    return [function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "") for function in calls]
