"""What the code of a child in Python may ask for, beyond the files that are seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_pipelines.execution.kernel_side.tracing.programs.python_scripts import ScriptUse, script_use


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "package").mkdir(parents=True)
    (tmp_path / "other.csv").write_text("1")
    (tmp_path / "packages" / "pandas").mkdir(parents=True)
    (tmp_path / "packages" / "numpy").mkdir(parents=True)
    (folder / "helper.py").write_text("import os\n\ndef names():\n    return os.listdir()\n")
    (folder / "starter.py").write_text("import os\nos.system('x')\n")
    (folder / "package" / "__init__.py").touch()
    (folder / "package" / "part.py").write_text("from subprocess import run\n")
    return folder


def use_of(folder: Path, *words: str) -> ScriptUse:
    return script_use(words, str(folder), str(folder), [str(folder.parent / "packages")])


@pytest.mark.parametrize(
    "text",
    [
        "import json, csv\nprint(json.dumps(list(csv.reader(open('d.csv')))))",
        "import numpy as np\nprint(np.load('d.npy'))",
        "from pathlib import Path\nprint((Path(__file__).parent / 'd.csv').read_text())",
        "import os\nos.makedirs(os.path.dirname('out/d.csv'), exist_ok=True)",
        "import re\nre.compile('/')",
        "print('a/b', '/nowhere/at/all', '/usr/share/dict')",
    ],
)
def test_scripts_that_ask_for_files_of_the_project(folder: Path, text: str) -> None:
    (folder / "s.py").write_text(text)
    use = use_of(folder, "-u", "s.py", "argument")
    assert use.known
    assert use.folder == str(folder)
    assert "*" in use.modules
    assert use_of(folder, "-c", text).known


@pytest.mark.parametrize(
    "text",
    [
        "import os\nprint(sorted(os.listdir('.')))",
        "from glob import glob as g\nprint(g('*'))",
        "import helper\nhelper.names()",
        "import pandas as pd\npd.read_parquet('.')",
        "import os\ngetattr(os, 'list' + 'dir')()",
    ],
)
def test_scripts_that_may_list_folders(folder: Path, text: str) -> None:
    (folder / "s.py").write_text(text)
    use = use_of(folder, "s.py")
    assert use.known
    assert not use.folder


@pytest.mark.parametrize(
    "text",
    [
        "import subprocess",
        "import os\nos.system('x')",
        "from os import popen as p\np('x')",
        "import os\nos.execvp('x', [])",
        "import starter",
        "from package import part",
        "import asyncio\nasyncio.create_subprocess_exec('x')",
        "exec('import os')",
        "import importlib",
        "import ctypes",
        "import unknown_module",
        "open('../other.csv')",
        "open('OUTSIDE/other.csv')",
        "n = 1\nopen(f'OUTSIDE/{n}.csv')",
        "import os\nopen(os.path.expanduser('~') + '/d.csv')",
        "from pathlib import Path\nopen(Path.home() / 'd.csv')",
        "from pathlib import Path\nopen(Path.cwd().parent / 'other.csv')",
        "from pathlib import Path\nopen(Path(__file__).resolve().parent.parent / 'other.csv')",
        "from pathlib import Path\nopen(Path(__file__).parents[1] / 'other.csv')",
        "from os.path import dirname\nopen(dirname(dirname(__file__)) + '/other.csv')",
        "open('.git/HEAD')",
        "print(",
    ],
)
def test_scripts_that_may_ask_for_more(folder: Path, text: str) -> None:
    (folder / "s.py").write_text(text.replace("OUTSIDE", str(folder.parent)))
    assert not use_of(folder, "s.py").known


@pytest.mark.parametrize("words", [[], ["-"], ["-m", "json.tool"], ["-X", "dev", "s.py"], ["none.py"], ["-c"]])
def test_code_that_is_not_there_to_be_read(folder: Path, words: list[str]) -> None:
    assert not use_of(folder, *words).known


def test_variables_that_change_by_themselves(folder: Path) -> None:
    use = use_of(folder, "-c", "import os\nos.environ['HOME'], os.getenv('LANG'), '_', 'SPEED'")
    assert use.variables == ("HOME", "LANG")
