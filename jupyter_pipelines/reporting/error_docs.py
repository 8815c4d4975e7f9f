"""Explanations of error codes: paragraphs of the documentation as plain text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files

from jupyter_pipelines.errors import CODES, Diagnostic, PlanError, closest_name

_PAGE = "errors.md"
_LINK = re.compile(r"\[\]\((\w+)\.md\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorExplanation:
    """A code, in words.

    Parameters
    ----------
    code : str
        Such as ``JP204``.
    title : str
        What it means, in one line.
    text : str
        The same at length, with what to do.
    example : str
        What the tool says when it happens.
    """

    code: str
    title: str
    text: str
    example: str

    def to_dict(self) -> dict[str, str]:
        """Return the ``explain`` document."""
        schema = "jupyter-pipelines/explain/1"
        return {"schema": schema, "code": self.code, "title": self.title, "text": self.text, "example": self.example}

    def __str__(self) -> str:
        example = f"\n\nFor example:\n\n{_indented(self.example)}" if self.example else ""
        return f"{self.code}: {self.text}{example}"


def explain(code: str) -> ErrorExplanation:
    """Return what `code` means.

    Parameters
    ----------
    code : str
        As errors show it; small letters, and the number alone, will do.

    Raises
    ------
    PlanError
        There is no such code.
    """
    full_code = code.strip().strip("[]").upper()
    full_code = full_code if full_code.startswith("JP") else f"JP{full_code}"
    if full_code not in CODES:
        raise PlanError(_no_code(code, full_code))
    section = sections()[full_code]
    text, _, remainder = section.partition("\n```text\n")
    words = " ".join(text.replace(f"**{full_code}**", "").split())
    return ErrorExplanation(
        code=full_code,
        title=CODES[full_code],
        text=_LINK.sub(r"the page \1 of the documentation", words),
        example=remainder.partition("\n```")[0],
    )


def sections() -> dict[str, str]:
    """Return the page's text on every code."""
    page = files("jupyter_pipelines").joinpath(_PAGE).read_text(encoding="utf-8")
    page = re.sub(r"^## .*$", "", page, flags=re.M)
    parts = re.split(r"^\((JP\d+)\)=$", page, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())


def _no_code(code: str, full_code: str) -> Diagnostic:
    near = closest_name(full_code, CODES) or next(iter(CODES))
    return Diagnostic(
        code="JP604",
        message=f"there is no error code `{code}`",
        suggestion=f"write it as an error shows it, for instance `{near}`",
    )
