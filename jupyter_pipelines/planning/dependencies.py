"""What a stored result depends on, as observed: files, modules, packages, environment variables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.pipeline.changing_variables import READ_BY_PYTHON
from jupyter_pipelines.planning.keys.fingerprint import MISSING
from jupyter_pipelines.planning.keys.packages import MISSING as NOT_INSTALLED
from jupyter_pipelines.planning.keys.traces import details_of

if TYPE_CHECKING:
    from jupyter_pipelines.storage.step_record import StepRecord

_LABELS = {
    "read": "it read",
    "downloaded": "it read",
    "listed": "it listed",
    "looked-for": "it looked for",
    "asked": "it asked for size or time of",
}
_HOW = {
    "file": "read",
    "listing": "listed",
    "glob": "listed",
    "path-glob": "listed",
    "kind": "looked-for",
    "size": "asked",
    "times": "asked",
    "status": "asked",
    "rights": "looked-for",
    "link": "read",
}
_MAX_SHOWN = 20
_CUT = ("files", "written", "modules", "ignored")
_NOTHING = "it depends on nothing but its code, parameters and inputs"


def dependencies_document(record: StepRecord) -> dict[str, Any]:
    """Return what the result in a record depends on beyond code, parameters and declared inputs.

    Parameters
    ----------
    record : StepRecord
        The record; an older record without a trace has only what the analysis of the code shows.
    """
    asked = [(details_of(text), answer) for text, answer in (record.trace or {}).items()]
    questions = [(*details, answer) for details, answer in asked if len(details) > 1]  # not that for all variables
    variables = [names[0] for kind, *names, _ in questions if kind == "variable"]
    unset = [name for kind, *names, _ in questions if kind == "unset" for name in names]
    # Every step depends on these: they are worth a word only where they are set.
    variables += [name for name in unset if name not in READ_BY_PYTHON]
    return {
        "files": [*_files_of_key(record), *(_file(*question) for question in questions if question[0] in _HOW)],
        "written": [
            {"path": details[0], "digest": answer}
            for kind, *details, answer in questions
            if kind in ("written", "left")
        ],
        "modules": [
            *({"name": name} for name, _ in _named(record.parts, "module")),
            *({"path": path} for kind, path, *_ in questions if kind == "module"),
        ],
        "packages": {
            **dict(_named(record.parts, "package")),
            **{names[0]: answer for kind, *names, answer in questions if kind == "package"},
        },
        "environment": sorted(variables),
        "programs": [name for kind, name, *_ in questions if kind in ("program", "executable")],
        "hosts": [host for kind, host, *_ in questions if kind == "network"],
        "ignored": [path for kind, path, *_ in questions if kind == "ignored"],
        "unwatched": [answer for kind, *_, answer in questions if kind in ("unwatched", "elsewhere", "partly")],
    }


def dependencies_text(document: Mapping[str, Any]) -> str:
    """Return the document of :func:`dependencies_document` as lines."""
    lines = [line for kind, lines in _lines(document).items() for line in (_cut(lines) if kind in _CUT else lines)]
    return "\n".join(f"  {line}" for line in lines or [_NOTHING])


def dependencies_summary(document: Mapping[str, Any], limit: int = 10) -> list[str]:
    """Return the lines of :func:`dependencies_text`, at most `limit` of them, and how many more there are.

    Where lines are left out, some of every kind stay: a thousand files must not hide an environment variable.
    """
    lines = [
        (position, kind, line)
        for kind, lines_of_kind in enumerate(_lines(document).values())
        for position, line in enumerate(lines_of_kind)
    ]
    kept = sorted(sorted(lines)[:limit], key=lambda entry: (entry[1], entry[0]))
    more = [f"and {len(lines) - limit} more"] if len(lines) > limit else []
    return [*(line for _, _, line in kept), *more] or [_NOTHING]


def _lines(document: Mapping[str, Any]) -> dict[str, list[str]]:
    names = ", ".join(document["environment"])
    absent = [name for name, version in document["packages"].items() if version == NOT_INSTALLED]
    return {
        "files": [f"{_LABELS[entry['how']]} {entry['path']}" for entry in document["files"]],
        "written": [f"it wrote {entry['path']}" for entry in document["written"]],
        "modules": [f"it imported {module.get('path') or module['name']}" for module in document["modules"]],
        "packages": [
            *(
                f"it uses {name} {version.partition(' (')[0]}"
                for name, version in document["packages"].items()
                if name not in absent
            ),
            *([f"it looked for packages that are not installed: {', '.join(_cut(absent))}"] if absent else []),
        ],
        "environment": [f"it asked for the environment variables {names}"] if names else [],
        "programs": [f"it started {name}" for name in document["programs"]],
        "hosts": [f"it connected to {host}" for host in document["hosts"]],
        "ignored": [f"ignored: {path}" for path in document["ignored"]],
        "unwatched": [f"cannot be determined: {why}" for why in document["unwatched"]],
    }


def _cut(lines: list[str]) -> list[str]:
    more = len(lines) - _MAX_SHOWN
    return [*lines[:_MAX_SHOWN], f"… and {more} more, all of them with --json"] if more > 0 else lines


def _files_of_key(record: StepRecord) -> Iterator[dict[str, str]]:
    """Yield the files whose content is part of the key: the code shows their names, or the header declares them."""
    for name, part in _named(record.parts, "file"):
        if name in record.urls:
            yield {"path": record.urls[name]["url"], "digest": part, "how": "downloaded"}
        else:
            yield {"path": name, "digest": part, "how": "read"}


def _named(parts: Mapping[str, str], kind: str) -> Iterator[tuple[str, str]]:
    return ((name.removeprefix(f"{kind}:"), part) for name, part in parts.items() if name.startswith(f"{kind}:"))


def _file(kind: str, path: str, *rest: Any) -> dict[str, str]:
    folder = f"{rest[0]}/" if kind in ("glob", "path-glob") and rest[0] != "." and not path.startswith("/") else ""
    how = "looked-for" if kind == "file" and rest[-1] == MISSING else _HOW[kind]
    return {"path": f"{folder}{path}", "digest": str(rest[-1]), "how": how}
