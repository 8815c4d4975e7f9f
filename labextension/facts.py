"""Writes ``src/facts.ts``: what the front end has to know, from where Python has it.

``make front`` calls it; ``tests/test_front_facts.py`` compares.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jupyter_pipelines.notebook.headers import options
from jupyter_pipelines.pipeline import amounts, state_names
from jupyter_pipelines.reporting import step_status

TARGET = Path(__file__).parent / "src" / "facts.ts"
SETS = ("SUCCESSFUL", "ATTEMPTED", "FINISHED", "NOT_STARTED", "OUTDATED", "FINISHED_RUNS")
TYPES = """\
// Written by labextension/facts.py (`make front`): the facts stand in Python, and a change here is lost.

export interface HeaderOption {
  name: string;
  takes: string;
  label: string;
  help: string;
}

// `text` for amounts below a limit: {0} is the count of units, or the quotient of count and `split`, {1} the remainder.
export interface AmountRule {
  below: number | null;
  unit: number;
  split: number | null;
  text: string;
}
"""


def render() -> str:
    """Return the text of ``facts.ts``."""
    names = {name: sorted(getattr(state_names, name)) for name in SETS}
    words = {state: style.word for state, style in step_status.STATE_STYLES.items()}
    parts = [
        TYPES,
        _list("HEADER_OPTIONS", "HeaderOption", map(_option, options.OPTIONS)),
        _list("DURATIONS", "AmountRule", map(asdict, amounts.DURATIONS)),
        _list("SIZES", "AmountRule", map(asdict, amounts.SIZES)),
        f"export const STATE_WORDS: Record<string, string> = {_text(words)};\n",
        *(f"export const {name}: ReadonlySet<string> = new Set({_text(states)});\n" for name, states in names.items()),
    ]
    return "\n".join(parts)


def _option(option: options.HeaderOption) -> dict[str, str]:
    text = f"{option.help}: {option.example}" if option.example else option.help
    return {"name": option.name, "takes": option.takes, "label": option.label, "help": text}


def _list(name: str, kind: str, rows: Any) -> str:
    lines = "".join(f"  {_text(row)},\n" for row in rows)
    return f"export const {name}: readonly {kind}[] = [\n{lines}];\n"


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
