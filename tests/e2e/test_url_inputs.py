"""URLs that are inputs: their content decides what runs, and what a step downloads by declaring it is no `network`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from jupyter_pipelines.project import Project
from tests.e2e.notebook_project import NotebookProject
from tests.url_server import UrlServer, url_server

PATH = "/data.csv"
SECRETS = ("s3cr3t-word", "t0k3n-word")


@pytest.fixture
def server() -> Iterator[UrlServer]:
    with url_server() as served:
        served.serve(PATH, b"a\n1\n", ETag='"1"')
        yield served


def test_the_content_decides(book: NotebookProject, server: UrlServer) -> None:
    url = server.url(PATH)
    book.write(
        f"%%step load -i raw={url} -o rows name\nrows, name = raw.read_text(), raw.name",
        f"%%step other -i raw={url} maybe={server.url('/none')} --optional maybe -o size\n"
        "import pandas as pd\nsize = len(pd.read_csv(raw)) if maybe is None else -1",
        f"%%step items -i raw={url} --foreach k=1,2 -o text\ntext = raw.read_text() * k",
        "%%step last -i rows text -o n\nn = len(rows) + len(text)",
    )
    run = book.run()
    assert run.code == 0, run.err
    assert sorted(server.asked()) == ["GET /data.csv", "GET /none"]  # each once, though four steps take the one
    assert (book.value("load.rows"), book.value("load.name"), book.value("other.size")) == ("a\n1\n", "data.csv", 1)
    server.asked()

    plan = book.plan()
    assert set(plan.reasons.values()) == {"unchanged"}
    assert plan.document["steps"][0]["urls"]["raw"]["etag"] == '"1"'
    assert sorted(server.asked()) == ["GET /none", "HEAD /data.csv"]

    server.serve(PATH, b"a\n1\n", ETag='"2"')
    assert set(book.plan().steps("decision").values()) == {"reuse"}
    server.asked()
    assert set(book.plan().steps("decision").values()) == {"reuse"}
    assert "GET /data.csv" not in server.asked()

    server.serve(PATH, b"a\n1\n2\n", ETag='"3"')
    reason = book.plan().steps("reason")["load"]
    assert reason["code"] == "input"
    assert reason["text"] == f'input file `raw` ({url}) changed: ETag "1" -> "3"'
    assert any(detail.startswith("input raw: sha256 ") and " -> " in detail for detail in reason["details"])
    assert "changed" in book.call("why", "load").out
    assert book.run().code == 0
    assert book.value("load.rows") == "a\n1\n2\n"
    assert set(book.plan().steps("decision").values()) == {"reuse"}
    assert f"it read {url}" in book.call("why", "load", "--dependencies").out
    assert url in book.call("show", "--json").out
    assert "data.csv" in book.call("show", "--format", "mermaid").out
    records = [
        json.loads(path.read_text())["record"] for path in (book.folder / ".pipelines").rglob("records/*/*.json")
    ]
    kept = [record["urls"]["raw"] for record in records if record["step"] == "load"]
    assert {(content["url"], content["etag"]) for content in kept} == {(url, '"1"'), (url, '"3"')}


def test_a_server_that_cannot_be_asked(book: NotebookProject, server: UrlServer) -> None:
    book.write(f"%%step load -i raw={server.url(PATH)} -o rows\nrows = raw.read_text()")
    assert book.run().code == 0
    server.files[PATH].status = 503
    run = book.run()
    assert run.code == 2
    plan = book.plan()
    assert plan.steps("decision") == {"load": "blocked"}
    [fault] = plan.document["faults"]
    assert (fault["code"], fault["cell"], fault["line"], fault["column"]) == ("JP224", 1, 1, 15)
    assert "its server answers 503 Service Unavailable" in fault["message"]
    assert "--cache-for 1d" in fault["suggestion"]
    shown = book.call("run").err
    assert f"   | %%step load -i raw={server.url(PATH)} -o rows\n   |                ^^^^" in shown
    assert "Traceback" not in shown

    # What was said is accepted for a time: the server is not asked at all, and asked again for a step that is forced.
    book.edit("-o rows", "--cache-for 1d -o rows")
    server.asked()
    assert book.run().steps("state") == {"load": "reused"}
    assert server.asked() == []
    assert book.run("--force", "load").code == 2
    assert server.asked() != []

    del server.files[PATH]
    book.edit("--cache-for 1d", "--cache-for 1s")
    [fault] = book.plan().document["faults"]
    assert "404 Not Found" in fault["message"]
    assert "--optional raw" in fault["suggestion"]


def test_a_lifetime_that_is_over_asks_the_server(book: NotebookProject, server: UrlServer) -> None:
    book.write(f"%%step load -i raw={server.url(PATH)} --cache-for 1s -o rows\nrows = raw.read_text()")
    assert book.run().code == 0
    while "HEAD /data.csv" not in server.requests:
        assert book.plan().reasons == {"load": "unchanged"}
    server.serve(PATH, b"new", ETag='"2"')
    while book.plan().reasons != {"load": "input"}:
        assert book.plan().reasons in ({"load": "unchanged"}, {"load": "input"})


def test_passwords_are_shown_and_kept_nowhere(book: NotebookProject, server: UrlServer) -> None:
    password, token = SECRETS
    server.files[PATH].account = f"ada:{password}"
    url = f"{server.url(PATH, f'ada:{password}')}?year=2024&token={token}"
    book.environment = {"JUPYTER_PIPELINES_CACHE": str(book.folder / "cache")}
    book.write(
        f"%%step load -i raw={url} -o rows\nrows = raw.read_text()",
        f"#| step: more\n#| in: raw={url}\n#| out: size\nsize = raw.stat().st_size",
    )
    commands = ["check", "plan", "run", "show", "runs"]
    results = [book.call(command, *options) for command in commands for options in ((), ("--json",))]
    results += [book.call("show", "--format", name) for name in ("svg", "html", "graphml", "dot", "mermaid")]
    results += [book.call("why", "load", "--dependencies", *options) for options in ((), ("--json",))]
    assert {result.code for result in results} == {0}, [result.err for result in results if result.code]
    assert any("http://***@" in result.out and "year=2024&token=***" in result.out for result in results)
    server.files[PATH].account = "ada:another"
    results += [book.call("plan"), book.call("plan", "--json"), book.call("run")]
    assert "~/.netrc" in results[-1].err
    for result in results:
        assert not any(secret in result.out + result.err for secret in SECRETS)
    for path in book.folder.rglob("*"):
        if path.is_file() and path != book.path:
            assert not any(secret.encode() in path.read_bytes() for secret in SECRETS), path


@pytest.mark.parametrize(
    ("item", "why"),
    [
        ("https:///data.csv", "it names no host"),
        ("http://host:port/x", "`port` is no port"),
        ("https://ada:pa/ss@host/x", "no port"),
    ],
)
def test_a_url_that_no_server_has(book: NotebookProject, item: str, why: str) -> None:
    book.write(f"%%step load -i raw={item} -o rows\nrows = raw.read_text()")
    result = book.call("check")
    assert result.code == 2
    assert "error[JP224]" in result.out + result.err
    assert why in result.out + result.err
    assert "pa/ss" not in result.out + result.err


@pytest.mark.parametrize(
    "option", ["-i raw=ftp://ada:s3cr3t-word@host/x", "--foreach raw=https://ada:s3cr3t-word@host/x"]
)
def test_a_url_that_is_taken_for_a_path_shows_no_password(book: NotebookProject, option: str) -> None:
    book.write(f"%%step load {option} -o rows\nrows = raw")
    for command in ("check", "plan"):
        result = book.call(command)
        assert result.code == 2
        assert "error[JP210]" in result.out + result.err
        assert "s3cr3t" not in result.out + result.err


@pytest.mark.parametrize(
    ("limit", "help_text"), [("forever", "it has to be asked once"), ("1d", "a longer `--cache-for`")]
)
def test_the_help_fits_the_lifetime(book: NotebookProject, server: UrlServer, limit: str, help_text: str) -> None:
    server.files[PATH].status = 503
    book.write(f"%%step load -i raw={server.url(PATH)} --cache-for {limit} -o rows\nrows = raw.read_text()")
    project = Project()
    [fault] = project.plan(project.read(book.path)).faults
    assert help_text in fault.suggestion


def test_looking_sends_nothing(book: NotebookProject, server: UrlServer) -> None:
    server.serve("/other.csv")
    book.write(
        f"%%step load -i raw={server.url(PATH)} -o rows\nrows = raw.read_text()",
        f"%%step other -i raw={server.url('/other.csv')} -o size\nsize = len(raw.read_text())",
        "%%step last -i rows -o n\nn = len(rows)",
    )
    (book.folder / ".pipelines").mkdir()
    project = Project()
    pipeline = project.read(book.path)

    look = project.plan(pipeline, look=True)
    assert {planned.name: planned.decision for planned in look} == dict.fromkeys(("load", "other", "last"), "run")
    assert look.faults == ()
    assert book.call("show").code == 0
    assert server.asked() == []

    project.plan(pipeline, only=["other"])
    assert server.asked() == ["GET /other.csv"]
    source = pipeline["other"].inputs[0]
    assert project.input_path(pipeline, pipeline["other"], source) is not None
    assert server.asked() == []
    project.plan(pipeline)
    server.asked()
    server.serve(PATH, b"new", ETag='"2"')
    assert project.plan(pipeline, look=True)["load"].urls["raw"]["etag"] == '"1"'
    assert server.asked() == []
    raw = project.input_path(pipeline, pipeline["load"], pipeline["load"].inputs[0])
    assert raw is not None
    assert raw.read_bytes() == b"a\n1\n"
    assert server.asked() == []  # an answer of this minute is accepted


def test_a_url_that_was_not_asked_leaves_open_what_runs(
    book: NotebookProject, server: UrlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_PIPELINES_CACHE", str(book.folder / "cache"))
    book.write(
        f"%%step load -i raw={server.url(f'{PATH}?token=abc')} -o rows\nrows = raw.read_text()",
        "%%step last -i rows -o n\nn = len(rows)",
    )
    assert book.run().code == 0
    server.asked()
    shutil.rmtree(book.folder / "cache")
    project = Project()
    look = project.plan(project.read(book.path), look=True)
    assert [planned.decision for planned in look] == ["maybe", "maybe"]
    assert "has not been checked: its server is asked by `plan` and `run`" in look["load"].reason.text
    assert server.asked() == []


def test_a_plan_without_urls_imports_no_http(book: NotebookProject) -> None:
    book.write("%%step load -o rows\nrows = 1")
    code = (
        "import sys, jupyter_pipelines as jp; jp.plan(jp.read('book.ipynb'));"
        "print([name for name in ('http.client', 'ssl', 'urllib.request') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, cwd=book.folder, check=True, capture_output=True, text=True)
    assert shown.stdout == "[]\n"
