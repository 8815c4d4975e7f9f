"""``python -m tests.fuzz TARGET SECONDS FOLDER``: one target under atheris, which looks for paths not taken yet."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["jupyter_pipelines"]):
    from tests.fuzz.targets import SEEDS, TARGETS

name, seconds, folder = sys.argv[1:4]
seeds = Path(folder) / name
seeds.mkdir(parents=True, exist_ok=True)
for path in sorted((Path(__file__).parents[1] / "golden").glob("*.ipynb"))[:20] if name == "notebook_file" else ():
    (seeds / path.name).write_bytes(path.read_bytes())
for number, seed in enumerate(SEEDS.get(name, ())):
    (seeds / f"seed{number}").write_bytes(seed)
atheris.Setup(
    [sys.argv[0], str(seeds), f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=4096"], TARGETS[name]
)
atheris.Fuzz()
