"""Commands, shortcuts and settings of the front end are in the docs, and the docs name no others."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "labextension" / "src"
PAGE = (ROOT / "docs" / "jupyterlab.md").read_text(encoding="utf-8")
SCHEMA = json.loads((ROOT / "labextension" / "schema" / "plugin.json").read_text(encoding="utf-8"))
TABLE = re.compile(r'^ {4}"(jupyter-pipelines:[\w-]+)": \{', re.M)
NAMED = re.compile(r'SHOW = "(jupyter-pipelines:[\w-]+)"')


def commands() -> set[str]:
    texts = [path.read_text(encoding="utf-8") for path in SOURCES.rglob("*.ts")]
    return {name for text in texts for pattern in (TABLE, NAMED) for name in pattern.findall(text)}


def part(title: str) -> str:
    return PAGE.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_every_command_is_in_the_docs_and_exists() -> None:
    assert len(commands()) > 10
    assert set(re.findall(r"`(jupyter-pipelines:[\w-]+)`", part("Commands"))) == commands()


def test_every_shortcut_is_in_the_docs_and_exists() -> None:
    documented = dict(re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|$", part("Shortcuts"), re.M))
    assert documented == {
        " ".join(shortcut["keys"]): shortcut["command"] for shortcut in SCHEMA["jupyter.lab.shortcuts"]
    }


def test_every_setting_is_in_the_docs_with_its_default() -> None:
    documented = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", part("Settings"), re.M))
    assert documented == {name: json.dumps(setting["default"]) for name, setting in SCHEMA["properties"].items()}


def test_menus_name_commands_that_exist() -> None:
    entries = [entry["command"] for entry in SCHEMA["jupyter.lab.menus"]["context"]]
    assert set(entries) <= commands()
