"""Installed packages count by version where a distribution owns their files, and by content where none does."""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import zipfile
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path

import pytest

from jupyter_pipelines.errors import PlanError
from jupyter_pipelines.planning.keys import packages
from jupyter_pipelines.planning.keys.environment import ProbedEnvironment, PythonEnvironment

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"


class PackageFolder:
    """A folder that packages are imported from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def module(self, name: str, text: str = "x = 1\n") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def distribution(self, name: str, version: str, record: str | None = None, **files: str) -> Path:
        info = self.folder / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nVersion: of what\n")
        if record is not None:
            (info / "RECORD").write_text(record)
        for file, text in files.items():
            (info / file.replace("_txt", ".txt").replace("_json", ".json")).write_text(text)
        return info


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackageFolder:
    """A folder of packages that is neither in a virtual environment nor in a project."""
    (tmp_path / "lib").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    return PackageFolder(tmp_path / "lib")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackageFolder:
    """A folder of packages as a virtual environment has it."""
    folder = tmp_path / "venv" / "site-packages"
    folder.mkdir(parents=True)
    monkeypatch.syspath_prepend(str(folder))
    return PackageFolder(folder)


def version(name: str) -> str:
    return PythonEnvironment.current().version(name)


@pytest.mark.parametrize(
    ("name", "distribution"), [("hypothesis", "hypothesis"), ("yaml", "PyYAML"), ("black", "black")]
)
def test_an_installed_package_has_its_version(name: str, distribution: str) -> None:
    assert version(name) == importlib.metadata.version(distribution)


def test_everything_installed_here_agrees_with_python_s_own_slower_way() -> None:
    owners = importlib.metadata.packages_distributions()
    single = {
        name: distributions[0]
        for name, distributions in owners.items()
        if len(set(distributions)) == 1 and name.isidentifier()
    }
    single.pop("jupyter_pipelines", None)
    versions = packages.versions(single)
    there = {name for name, number in versions.items() if number != packages.MISSING and not packages.is_standard(name)}
    assert len(there) > 50
    assert {name: versions[name] for name in there} == {
        name: importlib.metadata.version(single[name]) for name in there
    }


def test_what_is_not_there_is_said_to_be_missing() -> None:
    assert version("nothing_of_that_name") == "not installed"


@pytest.mark.parametrize("name", ["json", "sys", "_thread"])
def test_the_standard_library_is_known(name: str) -> None:
    assert version(name) == "standard library"


def test_the_version_counts_and_the_files_of_a_release_do_not(site: PackageFolder) -> None:
    site.module("rel/__init__.py")
    info = site.distribution("rel", "1.0", "rel/__init__.py,sha256=abc,6\n")
    before = version("rel")
    site.module("rel/__init__.py", "x = 2\n")
    assert before == version("rel") == "1.0"
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rel\nVersion: 1.1\n")
    assert version("rel") == "1.1"


def test_who_owns_a_file_of_a_similar_name_owns_no_other(site: PackageFolder) -> None:
    site.module("rel/__init__.py")
    site.distribution("stubs", "1.0", "rel/__init__.pyi,,\nrel/__init__.py/x,,\nother/rel/__init__.py,,\n")
    assert version("rel").startswith("sources")


def test_what_was_installed_a_moment_ago_is_seen(site: PackageFolder) -> None:
    assert version("late") == "not installed"
    stat = site.folder.stat()
    site.module("late.py")
    os.utime(site.folder, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert version("late").startswith("sources")


def test_a_package_is_found_by_whatever_finds_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = PackageFolder(tmp_path).module("elsewhere.py")

    class Finder:
        @staticmethod
        def find_spec(name: str, *_: object) -> ModuleSpec | None:
            return spec_from_file_location(name, path) if name == "mapped" else None

    class Broken:
        @staticmethod
        def find_spec(name: str, *_: object) -> ModuleSpec | None:
            if name == "mapped":
                raise ImportError(name)
            return None

    monkeypatch.setattr(sys, "meta_path", [Broken, Finder, *sys.meta_path])
    assert version("mapped").startswith("sources")
    assert version("black") == importlib.metadata.version("black")


def test_a_package_is_found_where_python_would_import_it(site: PackageFolder, installed: PackageFolder) -> None:
    for where, number in ((site, "1.0"), (installed, "2.0")):
        where.module("twice/__init__.py")
        where.distribution("twice", number, "twice/__init__.py,,\n")
    assert version("twice") == "2.0"


@pytest.mark.parametrize("ending", [".py", EXTENSION_SUFFIXES[0]])
def test_a_module_of_one_file_has_an_owner_too(site: PackageFolder, ending: str) -> None:
    file = f"single{ending}"
    site.module(file)
    site.distribution("Other_Name", "3.1", f"{file},,\n")
    assert version("single") == "3.1"


def test_two_owners_of_one_file_both_count(site: PackageFolder) -> None:
    site.module("cv/__init__.py")
    site.distribution("cv_full", "1.0", "cv/__init__.py,,\n")
    site.distribution("cv_lean", "1.1", "cv/__init__.py,,\n")
    assert version("cv") == "cv_full 1.0, cv_lean 1.1"


def test_every_distribution_that_adds_to_a_namespace_counts(site: PackageFolder, installed: PackageFolder) -> None:
    for where, number in ((site, "1.0"), (installed, "2.0")):
        where.module(f"space/part{number[0]}.py")
        where.distribution(f"part{number[0]}", number, f"space/part{number[0]}.py,,\n")
    assert version("space") == "part1 1.0, part2 2.0"


def test_a_part_of_a_namespace_without_owner_counts_by_its_content(
    site: PackageFolder, installed: PackageFolder
) -> None:
    site.module("space/mine.py")
    installed.module("space/theirs.py")
    installed.distribution("theirs", "2.0", "space/theirs.py,,\n")
    before = version("space")
    site.module("space/mine.py", "x = 2\n")
    assert "sources" in before
    assert version("space") != before


@pytest.mark.parametrize("file", ["edited/__init__.py", "edited/deep/inner.py", "edited/table.json"])
def test_a_package_without_owner_counts_by_its_content(site: PackageFolder, file: str) -> None:
    site.module("edited/__init__.py")
    site.module("edited/deep/inner.py")
    site.module("edited/table.json")
    before = version("edited")
    stat = (site.folder / file).stat()
    site.module(file, "x = 2\n")
    os.utime(site.folder / file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert before.startswith("sources ")
    assert version("edited") != before


def test_compiled_and_hidden_files_do_not_count(site: PackageFolder) -> None:
    site.module("quiet/__init__.py")
    before = version("quiet")
    site.module("quiet/__pycache__/x.cpython-311.pyc")
    site.module("quiet/old.pyc")
    site.module("quiet/.ipynb_checkpoints/x.py")
    site.module("quiet/.swap")
    (site.folder / "quiet/__init__.py").touch()
    assert version("quiet") == before


@pytest.mark.parametrize(
    "imported",
    ["import second", "from second import x", "import os, second as s", "  import second", "import os; import second"],
)
def test_what_such_a_package_imports_counts_with_it(site: PackageFolder, imported: str) -> None:
    site.module("first.py", f"if True:\n  pass\n{'if True:' if imported[0] == ' ' else ''}\n{imported}\nimport first\n")
    site.module("second.py", "import third\n")
    site.module("third/__init__.py")
    site.distribution("third", "1.0", "third/__init__.py,,\n")
    start = version("first")
    site.module("second.py", "import third\ny = 2\n")
    edited = version("first")
    (site.folder / "third-1.0.dist-info/METADATA").write_text("Version: 1.1\n")
    assert len({start, edited, version("first")}) == 3


def test_an_editable_install_shows_when_it_is_edited(
    tmp_path: Path, site: PackageFolder, installed: PackageFolder
) -> None:
    site.module("mine/__init__.py")
    direct = json.dumps({"url": tmp_path.as_uri(), "dir_info": {"editable": True}})
    installed.distribution("mine", "0.1", "_mine.pth,,\nmine-0.1.dist-info/METADATA,,\n", direct_url_json=direct)
    before = version("mine")
    site.module("mine/__init__.py", "x = 2\n")
    assert version("mine") != before


def test_a_develop_install_shows_version_and_content(site: PackageFolder) -> None:
    site.module("older/__init__.py")
    info = site.module("older.egg-info/PKG-INFO", "Name: older\nVersion: 0.1\n")
    before = version("older")
    info.write_text("Name: older\nVersion: 0.2\n")
    assert before.startswith("0.1 (sources ")
    assert version("older") == before.replace("0.1", "0.2")


def test_the_same_version_installed_again_from_a_folder_is_another_one(site: PackageFolder) -> None:
    site.module("local/__init__.py")
    lines = (
        "local/__init__.py,sha256={},6",
        "../../bin/x,sha256=path,1",
        "local-0.1.dist-info/RECORD,,",
        "__pycache__/x,,",
    )
    record = "\n".join(lines)
    info = site.distribution(
        "local", "0.1", record.format("one"), direct_url_json='{"url": "file:///x", "dir_info": {}}'
    )
    before = version("local")
    (info / "RECORD").write_text(record.format("one").replace("path", "other"))
    assert version("local") == before
    (info / "RECORD").write_text(record.format("two"))
    assert before.startswith("0.1 (files ")
    assert version("local") != before


@pytest.mark.parametrize("files", [{"top_level_txt": "strange\n"}, {}], ids=["top_level.txt", "name"])
def test_a_distribution_without_a_record_is_known_by_what_it_says(
    installed: PackageFolder, files: dict[str, str]
) -> None:
    installed.module("strange/__init__.py")
    installed.distribution("Different" if files else "Strange", "2.0", **files)
    assert version("strange") == "2.0"


def test_what_this_process_has_loaded_does_not_hide_what_a_fresh_one_would_get(
    site: PackageFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.module("loaded/__init__.py")
    site.distribution("loaded", "2.0", "loaded/__init__.py,,\n")
    monkeypatch.setitem(sys.modules, "loaded", type(sys)("loaded"))
    assert version("loaded") == "2.0"


def test_an_archive_on_the_path_counts_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "all.zip"
    monkeypatch.syspath_prepend(str(archive))
    seen = set()
    for number in (1, 2):
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("zipped.py", f"x = {number}\n" * number)
        sys.path_importer_cache.pop(str(archive), None)
        seen.add(version("zipped"))
    assert len(seen) == 2
    assert all(digest.startswith("sources") for digest in seen)


# Environments ---------------------------------------------------------------------------------------------------------


def test_another_python_answers_like_this_one(site: PackageFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    site.module("edited/__init__.py")
    monkeypatch.setenv("PYTHONPATH", str(site.folder))
    names = ["edited", "black", "json", "nothing_of_that_name"]
    other, here = PythonEnvironment.of(sys.executable, site.folder), PythonEnvironment.current()
    other.prepare(names)
    assert other.python == here.python == MINOR
    assert [other.version(name) for name in names] == [here.version(name) for name in names]


@pytest.mark.parametrize("executable", ["/nowhere/python", "/bin/false", "/bin/echo"])
def test_a_python_that_does_not_answer_is_named(executable: str) -> None:
    with pytest.raises(PlanError, match=executable) as caught:
        _ = PythonEnvironment.of(executable).python
    assert caught.value.code == "JP604"


def test_packages_are_looked_at_once_and_together() -> None:
    asked: list[tuple[str, ...]] = []

    def probe(names: tuple[str, ...]) -> ProbedEnvironment:
        asked.append(names)
        return ProbedEnvironment("3.11", dict.fromkeys(names, "1.0"))

    environment = PythonEnvironment(probe)
    environment.prepare(["b", "a", "b"])
    environment.prepare(["a"])
    assert [environment.version(name) for name in "ab"] == ["1.0", "1.0"]
    assert environment.python == "3.11"
    assert asked == [("a", "b")]
    assert environment.version("c") == "1.0"
    assert asked == [("a", "b"), ("c",)]


def test_a_fixed_environment_is_what_it_is_said_to_be() -> None:
    environment = PythonEnvironment.fixed("3.12", {"pandas": "2.2.0"})
    assert (environment.python, environment.version("pandas")) == ("3.12", "2.2.0")
    assert environment.version("numpy") == "not installed"


def test_a_package_of_kernels_counts_where_it_is_looked_for_in_vain() -> None:
    environment = PythonEnvironment.fixed("3.12", {"tqdm": "4.1", "IPython": "9.0"})
    assert environment.used_beside_kernel(["tqdm", "IPython", "ipywidgets", "absent"]) == {
        "absent": "not installed",
        "ipywidgets": "not installed",
        "tqdm": "4.1",
    }
