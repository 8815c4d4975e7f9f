"""What would come back as something else is refused when it is stored."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jupyter_pipelines.errors import NotStorable
from jupyter_pipelines.storage import serializers


@pytest.mark.parametrize("mode", ["r", "rb", "wb", "r+b"])
def test_an_open_file_is_not_stored(tmp_path: Path, mode: str) -> None:
    (tmp_path / "x").write_text("x")
    with (tmp_path / "x").open(mode) as file, pytest.raises(NotStorable) as caught:
        serializers.save({"handle": file}, tmp_path / "out", name="model")
    assert caught.value.code == "JP205"
    assert "handle" in str(caught.value)


def test_joblib_does_not_take_what_it_cannot_bring_back(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from jupyter_pipelines.errors import NotStorable
from jupyter_pipelines.storage import serializers
class Own: pass
target = Path({str(tmp_path)!r})
print(serializers.save([1, 2.5, "__main__"[:4]], target / "plain", "joblib").format)
try:
    serializers.save(Own(), target / "own", "joblib")
except NotStorable as error:
    print(error.code)
print(serializers.save(Own(), target / "default").format)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["joblib", "JP205", "pickle"], done.stderr
