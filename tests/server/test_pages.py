"""Our own pages, served alone: what they show, and that nothing in them can be executed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode

import pytest

from jupyter_pipelines.interfaces.server.views import VIEWS, View
from tests.journeys.book import Book
from tests.ports import free_port
from tests.server.places import TOKEN, Place, Reply, await_server, end, environment

pytestmark = pytest.mark.kernel
ROOT = "/jupyter-pipelines"
EACH = pytest.mark.parametrize("view", VIEWS, ids=lambda view: f"{view.method} /{view.path}")
FORM = "application/x-www-form-urlencoded"
EVIL = "<img src=x onerror=alert(1)>\"'</script><script>alert(1)</script>"


@pytest.fixture(scope="module")
def alone(book: Book, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """``jupyter pipelines serve`` in the folder of the notebook."""
    private, port = tmp_path_factory.mktemp("alone"), free_port()
    log = private / "server.log"
    command = [sys.executable, "-m", "jupyter", "pipelines", "serve", str(book.folder), "--port", str(port)]
    command += ["--no-browser", "--allow-root"]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, cwd=private, stdout=stream, stderr=stream, env=environment(private) | {"JUPYTER_TOKEN": TOKEN}
        )
    try:
        one = Place(folder=book.folder, port=port, process=process, log=log)
        await_server(one)
        one.log_in()
        yield one
    finally:
        end(process)


@pytest.fixture(scope="module")
def here(alone: Place) -> str:
    """The page of the notebook."""
    found = re.search(rf'href="({ROOT}/notebooks/\w+)">book.ipynb', alone.ask("GET", f"{ROOT}/").text)
    assert found
    return found[1]


class Tags(HTMLParser):
    """The elements of a page, and what they would execute."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.handlers: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.handlers += [value for name, value in attrs if name in ("href", "src", "action") and ":" in str(value)]


def is_harmless(reply: Reply) -> bool:
    """Whether a page could execute or load anything that is not ours."""
    tags = Tags(reply.text)
    policy = reply.headers["Content-Security-Policy"]
    quiet = not {"script", "iframe", "object", "embed", "base"} & set(tags.found) and not tags.handlers
    strict = policy.startswith("default-src 'none'") and "unsafe" not in policy and "script-src" not in policy
    return quiet and strict and reply.headers["X-Content-Type-Options"] == "nosniff"


def test_the_first_page_lists_the_pipelines(alone: Place, here: str) -> None:
    (alone.folder / "plain.ipynb").write_text('{"cells": [], "nbformat": 4, "nbformat_minor": 5, "metadata": {}}')
    reply = alone.ask("GET", f"{ROOT}/")
    assert (reply.status, is_harmless(reply)) == (200, True)
    assert "plain.ipynb" not in reply.text
    assert alone.ask("GET", ROOT).text.count("book.ipynb") == 1


def test_a_notebook_is_shown_with_graph_form_and_runs(alone: Place, here: str) -> None:
    reply = alone.ask("GET", here)
    assert is_harmless(reply)
    assert 'name="p:count"' in reply.text
    picture = alone.ask("GET", re.search(r'<img src="([^"]+)"', reply.text)[1])  # type: ignore[index]
    assert picture.headers["Content-Type"].startswith("image/svg+xml")
    assert "sandbox" in picture.headers["Content-Security-Policy"]
    assert ">load<" in picture.text


def test_a_form_starts_one_run_and_its_page_shows_it(alone: Place, here: str) -> None:
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]+)"', alone.browse("GET", here).text))
    content = urlencode(fields | {"p:count": "5"}).encode()
    pages = [alone.browse("POST", f"{here}/run", content, Content_Type=FORM) for _ in range(2)]
    assert all(is_harmless(page) for page in pages)
    (run,) = {re.search(r"<h1>Run (\S+)</h1>", page.text)[1] for page in pages}  # type: ignore[index]
    assert f"{here}/runs/{run}" in alone.ask("GET", here).text
    stopped = alone.browse("POST", f"{here}/runs/{run}/cancel", content, Content_Type=FORM)
    assert (stopped.status, is_harmless(stopped)) == (200, True)


def test_what_is_wrong_is_told_on_a_page(alone: Place, here: str) -> None:
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]+)"', alone.browse("GET", here).text))
    reply = alone.browse("POST", f"{here}/run", urlencode(fields | {"p:count": EVIL}).encode(), Content_Type=FORM)
    assert (reply.status, is_harmless(reply)) == (422, True)
    assert "count" in reply.text


def test_what_others_wrote_is_text(alone: Place) -> None:
    evil = Book(alone.folder, "evil.ipynb").write(
        f"%%params\nname: str = {EVIL!r}  # {EVIL}",
        f"%%step make -p name -o x\nx = name\nprint(name)\nraise ValueError({EVIL!r})",
    )
    assert evil.run().code == 1
    first = alone.ask("GET", f"{ROOT}/").text
    page = re.search(rf'href="({ROOT}/notebooks/\w+)">evil.ipynb', first)[1]  # type: ignore[index]
    run = re.search(rf'href="({page}/runs/[^"]+)"', alone.ask("GET", page).text)[1]  # type: ignore[index]
    log = alone.ask("GET", f"{run}/steps/make/log")
    assert log.headers["Content-Type"].startswith("text/plain")
    assert EVIL in log.text
    for address in (f"{ROOT}/", page, run):
        reply = alone.ask("GET", address)
        assert is_harmless(reply), address
        assert "img" not in Tags(reply.text.replace('<img src="/', "")).found
    assert "<img" not in alone.ask("GET", f"{run}/graph.svg").text


def somewhere(view: View) -> str:
    """Return a path of a page that is about nothing there is."""
    return f"{ROOT}/" + re.sub(r"{\w+}", "x", view.path)


@EACH
def test_pages_are_for_those_who_have_logged_in(alone: Place, view: View) -> None:
    path = somewhere(view)
    reply = alone.ask(view.method, path, b"" if view.method == "POST" else None, token=None, Content_Type=FORM)
    assert reply.status == 403 or 'name="password"' in reply.text
    assert "book.ipynb" not in reply.text


@EACH
def test_pages_of_other_sites_and_hosts_are_refused(alone: Place, here: str, view: View) -> None:
    path = somewhere(view)
    body = b"" if view.method == "POST" else None
    assert alone.ask(view.method, path, body, Origin="http://evil.example", Content_Type=FORM).status == 403
    assert alone.ask(view.method, path, body, Host="evil.example", Content_Type=FORM).status == 403


@EACH
@pytest.mark.parametrize("climbing", ["..", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "%00", "last"])
def test_ids_and_names_on_pages_lead_nowhere(alone: Place, here: str, view: View, climbing: str) -> None:
    run = re.search(rf'href="{here}/runs/([^"]+)"', alone.ask("GET", here).text)[1]  # type: ignore[index]
    known = {"id": here.rpartition("/")[2], "run": run, "step": "load"}
    for name in re.findall(r"{(\w+)}", view.path):
        path = re.sub(r"{(\w+)}", lambda found, name=name: {**known, name: climbing}[found[1]], view.path)  # type: ignore[misc]
        body = b"" if view.method == "POST" else None
        reply = alone.ask(view.method, f"{ROOT}/{path}", body, Content_Type=FORM)
        assert 400 <= reply.status < 500, path
        assert is_harmless(reply)


@pytest.mark.parametrize("view", [one for one in VIEWS if one.method == "POST"], ids=lambda view: view.path)
def test_forms_need_the_xsrf_token(alone: Place, here: str, view: View) -> None:
    path = f"{ROOT}/{view.path.replace('{id}', here.rpartition('/')[2])}"
    assert alone.browse("POST", path, urlencode({"p:count": "1"}).encode(), Content_Type=FORM).status == 403


def test_only_our_extension_is_served(alone: Place) -> None:
    assert alone.ask("GET", "/lab").status == 404
    assert alone.ask("GET", "me").document["execute"] is True
    assert "127.0.0.1" in alone.log.read_text()


def test_it_listens_to_this_machine_only(alone: Place) -> None:
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    listening = [line.split()[1] for line in lines if line.split()[3] == "0A"]
    assert [one for one in listening if int(one.rpartition(":")[2], 16) == alone.port] == [f"0100007F:{alone.port:04X}"]


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    code = "import sys; from jupyter_pipelines.interfaces.cli import main; main(['serve', 'nowhere'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "JP604" in done.stderr) == (2, True)
