"""What Python and the front end both have to know stands in Python alone."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from jupyter_pipelines.notebook.headers import options
from jupyter_pipelines.pipeline import amounts
from jupyter_pipelines.reporting import step_status

FRONT = Path(__file__).parents[1] / "labextension"
ESBUILD = FRONT / "node_modules" / ".bin" / "esbuild"
ENTRY = """
import { formatBytes, formatDuration } from "./graph/format";
import { FLAGS, MORE, SECTIONS } from "./cells/headerOptions";
import { STATE_WORDS } from "./facts";
const { durations, sizes } = JSON.parse(process.argv[2]);
console.log(JSON.stringify({
  durations: durations.map(formatDuration), sizes: sizes.map(formatBytes), words: STATE_WORDS,
  sections: SECTIONS, more: MORE, flags: FLAGS,
}));
"""
SECONDS = sorted(
    {
        *(n / 20 for n in range(260)), *(58 + n / 10 for n in range(40)), *(3590 + n / 2 for n in range(40)),
        *(60 * n + 29.5 for n in range(0, 300, 7)), 75.0, 119.7, 5399.5, 86_400.0, 1e7,
    }
)  # fmt: skip
BYTES = sorted({near + 10**power for power in range(1, 16) for near in (-51, -50, -1, 0, 1, 49, 50)} - {-41, -40})


@pytest.fixture
def facts() -> ModuleType:
    spec = importlib.util.spec_from_file_location("facts", FRONT / "facts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def front_end(folder: Path, text: str) -> dict[str, Any]:
    """Return what the front end makes of these facts, in Node."""
    if not ESBUILD.exists() or shutil.which("node") is None:
        pytest.skip("Node and the tools of the front end are not there: make front")
    sources = folder / "src"
    shutil.copytree(FRONT / "src", sources)
    (sources / "facts.ts").write_text(text, encoding="utf-8")
    (sources / "entry.ts").write_text(ENTRY, encoding="utf-8")
    bundle = folder / "bundle.mjs"
    arguments = ("--bundle", "--format=esm", "--platform=node", "--log-level=warning", f"--outfile={bundle}")
    subprocess.run([ESBUILD, sources / "entry.ts", *arguments], check=True)
    amounts_asked = json.dumps({"durations": SECONDS, "sizes": BYTES})
    done = subprocess.run(["node", bundle, amounts_asked], capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_the_generated_file_is_up_to_date(facts: ModuleType) -> None:
    assert facts.TARGET.read_text(encoding="utf-8") == facts.render(), "make front"


@pytest.mark.process
def test_both_write_amounts_alike(facts: ModuleType, tmp_path: Path) -> None:
    answer = front_end(tmp_path, facts.render())
    assert dict(zip(SECONDS, answer["durations"], strict=True)) == {each: amounts.in_words(each) for each in SECONDS}
    assert dict(zip(BYTES, answer["sizes"], strict=True)) == {each: amounts.size_in_words(each) for each in BYTES}
    assert {"1 min 15 s", "2 min 0 s"} <= set(answer["durations"])


@pytest.mark.process
def test_a_change_in_python_changes_the_front_end(
    facts: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = options.HeaderOption(name="colour", takes="text", metavar="NAME", help="the colour of its box")
    gone = [option for option in options.OPTIONS if option.name not in ("gpus", "always")]
    monkeypatch.setattr(options, "OPTIONS", (*gone, new))
    words: Mapping[str, step_status.StateStyle] = step_status.STATE_STYLES
    changed = {**words, "stale": replace(words["stale"], word="out of date")}
    monkeypatch.setattr(step_status, "STATE_STYLES", changed)
    *first, minutes, hours = amounts.DURATIONS
    monkeypatch.setattr(amounts, "DURATIONS", (*first, replace(minutes, text="{0}m{1}s"), hours))
    answer = front_end(tmp_path, facts.render())
    assert [option["name"] for option in answer["sections"]] == ["in", "out", "param"]
    assert answer["more"][-1] == {"name": "colour", "takes": "text", "label": "", "help": "the colour of its box"}
    assert "gpus" not in {option["name"] for option in answer["more"]}
    assert [option["name"] for option in answer["flags"]] == ["no-cache"]
    assert answer["words"]["stale"] == "out of date"
    assert answer["durations"][SECONDS.index(75.0)] == "1m15s"
