"""Test the HTML pages of the standalone server: what they show, and that nothing in them can be executed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode

import pytest

from jupyter_pipelines.interfaces.server.html_views import VIEWS, PageRoute
from tests.e2e.notebook_project import NotebookProject
from tests.ports import free_port
from tests.server.jupyter_server import TOKEN, JupyterServer, ServerReply, await_server, end, environment

ROOT = "/jupyter-pipelines"
EACH = pytest.mark.parametrize("view", VIEWS, ids=lambda view: f"{view.method} /{view.path}")
FORM = "application/x-www-form-urlencoded"
EVIL = "<img src=x onerror=alert(1)>\"'</script><script>alert(1)</script>"


@pytest.fixture(scope="module")
def standalone(book: NotebookProject, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
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
        server = JupyterServer(folder=book.folder, port=port, process=process, log=log)
        await_server(server)
        server.log_in()
        yield server
    finally:
        end(process)


@pytest.fixture(scope="module")
def notebook_page(standalone: JupyterServer) -> str:
    """The page of the notebook."""
    link = re.search(rf'href="({ROOT}/notebooks/\w+)">book.ipynb', standalone.ask("GET", f"{ROOT}/").text)
    assert link
    return link[1]


class PageElements(HTMLParser):
    """Collect the elements of a page, and the attributes that could execute code."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.handlers += [value for name, value in attrs if name in ("href", "src", "action") and ":" in str(value)]


def is_harmless(reply: ServerReply) -> bool:
    """Whether a page could execute or load anything that is not ours."""
    tags = PageElements(reply.text)
    policy = reply.headers["Content-Security-Policy"]
    quiet = not {"script", "iframe", "object", "embed", "base"} & set(tags.tags) and not tags.handlers
    strict = policy.startswith("default-src 'none'") and "unsafe" not in policy and "script-src" not in policy
    return quiet and strict and reply.headers["X-Content-Type-Options"] == "nosniff"


def test_the_first_page_lists_the_pipelines(standalone: JupyterServer, notebook_page: str) -> None:
    (standalone.folder / "plain.ipynb").write_text('{"cells": [], "nbformat": 4, "nbformat_minor": 5, "metadata": {}}')
    reply = standalone.ask("GET", f"{ROOT}/")
    assert (reply.status, is_harmless(reply)) == (200, True)
    assert "plain.ipynb" not in reply.text
    assert standalone.ask("GET", ROOT).text.count("book.ipynb") == 1


def test_a_notebook_is_shown_with_graph_form_and_runs(standalone: JupyterServer, notebook_page: str) -> None:
    reply = standalone.ask("GET", notebook_page)
    assert is_harmless(reply)
    assert 'name="p:count"' in reply.text
    picture = standalone.ask("GET", re.search(r'<img src="([^"]+)"', reply.text)[1])  # type: ignore[index]
    assert picture.headers["Content-Type"].startswith("image/svg+xml")
    assert "sandbox" in picture.headers["Content-Security-Policy"]
    assert ">load<" in picture.text


def test_a_form_starts_one_run_and_its_page_shows_it(standalone: JupyterServer, notebook_page: str) -> None:
    fields = dict(
        re.findall(r'<input type="hidden" name="(\w+)" value="([^"]+)"', standalone.browse("GET", notebook_page).text)
    )
    content = urlencode(fields | {"p:count": "5"}).encode()
    pages = [standalone.browse("POST", f"{notebook_page}/run", content, Content_Type=FORM) for _ in range(2)]
    assert all(is_harmless(page) for page in pages)
    (run,) = {re.search(r"<h1>Run (\S+)</h1>", page.text)[1] for page in pages}  # type: ignore[index]
    assert f"{notebook_page}/runs/{run}" in standalone.ask("GET", notebook_page).text
    stopped = standalone.browse("POST", f"{notebook_page}/runs/{run}/cancel", content, Content_Type=FORM)
    assert (stopped.status, is_harmless(stopped)) == (200, True)


def test_what_is_wrong_is_told_on_a_page(standalone: JupyterServer, notebook_page: str) -> None:
    fields = dict(
        re.findall(r'<input type="hidden" name="(\w+)" value="([^"]+)"', standalone.browse("GET", notebook_page).text)
    )
    reply = standalone.browse(
        "POST", f"{notebook_page}/run", urlencode(fields | {"p:count": EVIL}).encode(), Content_Type=FORM
    )
    assert (reply.status, is_harmless(reply)) == (422, True)
    assert "count" in reply.text


def test_what_others_wrote_is_text(standalone: JupyterServer) -> None:
    evil = NotebookProject(standalone.folder, "evil.ipynb").write(
        f"%%params\nname: str = {EVIL!r}  # {EVIL}",
        f"%%step make -p name -o x\nx = name\nprint(name)\nraise ValueError({EVIL!r})",
    )
    assert evil.run().code == 1
    first = standalone.ask("GET", f"{ROOT}/").text
    page = re.search(rf'href="({ROOT}/notebooks/\w+)">evil.ipynb', first)[1]  # type: ignore[index]
    run = re.search(rf'href="({page}/runs/[^"]+)"', standalone.ask("GET", page).text)[1]  # type: ignore[index]
    log = standalone.ask("GET", f"{run}/steps/make/log")
    assert log.headers["Content-Type"].startswith("text/plain")
    assert EVIL in log.text
    for address in (f"{ROOT}/", page, run):
        reply = standalone.ask("GET", address)
        assert is_harmless(reply), address
        assert "img" not in PageElements(reply.text.replace('<img src="/', "")).tags
    assert "<img" not in standalone.ask("GET", f"{run}/graph.svg").text


def page_path(view: PageRoute) -> str:
    """Return the path of a page with identifiers that do not exist."""
    return f"{ROOT}/" + re.sub(r"{\w+}", "x", view.path)


@EACH
def test_pages_need_a_login(standalone: JupyterServer, view: PageRoute) -> None:
    path = page_path(view)
    reply = standalone.ask(view.method, path, b"" if view.method == "POST" else None, token=None, Content_Type=FORM)
    assert reply.status == 403 or 'name="password"' in reply.text
    assert "book.ipynb" not in reply.text


@EACH
def test_pages_of_other_sites_and_hosts_are_refused(
    standalone: JupyterServer, notebook_page: str, view: PageRoute
) -> None:
    path = page_path(view)
    body = b"" if view.method == "POST" else None
    assert standalone.ask(view.method, path, body, Origin="http://evil.example", Content_Type=FORM).status == 403
    assert standalone.ask(view.method, path, body, Host="evil.example", Content_Type=FORM).status == 403


@EACH
@pytest.mark.parametrize("climbing", ["..", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "%00", "last"])
def test_ids_and_names_on_pages_lead_nowhere(
    standalone: JupyterServer, notebook_page: str, view: PageRoute, climbing: str
) -> None:
    run = re.search(rf'href="{notebook_page}/runs/([^"]+)"', standalone.ask("GET", notebook_page).text)[1]  # type: ignore[index]
    known = {"id": notebook_page.rpartition("/")[2], "run": run, "step": "load"}
    for name in re.findall(r"{(\w+)}", view.path):
        path = re.sub(r"{(\w+)}", lambda placeholder, name=name: {**known, name: climbing}[placeholder[1]], view.path)  # type: ignore[misc]
        body = b"" if view.method == "POST" else None
        reply = standalone.ask(view.method, f"{ROOT}/{path}", body, Content_Type=FORM)
        assert 400 <= reply.status < 500, path
        assert is_harmless(reply)


@pytest.mark.parametrize("view", [view for view in VIEWS if view.method == "POST"], ids=lambda view: view.path)
def test_forms_need_the_xsrf_token(standalone: JupyterServer, notebook_page: str, view: PageRoute) -> None:
    path = f"{ROOT}/{view.path.replace('{id}', notebook_page.rpartition('/')[2])}"
    assert standalone.browse("POST", path, urlencode({"p:count": "1"}).encode(), Content_Type=FORM).status == 403


def test_only_our_extension_is_served(standalone: JupyterServer) -> None:
    assert standalone.ask("GET", "/lab").status == 404
    assert standalone.ask("GET", "me").document["execute"] is True
    assert "127.0.0.1" in standalone.log.read_text()


def test_it_listens_to_this_machine_only(standalone: JupyterServer) -> None:
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    listening = [line.split()[1] for line in lines if line.split()[3] == "0A"]
    assert [address for address in listening if int(address.rpartition(":")[2], 16) == standalone.port] == [
        f"0100007F:{standalone.port:04X}"
    ]


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    code = "import sys; from jupyter_pipelines.interfaces.cli.main import main; main(['serve', 'nowhere'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "JP604" in done.stderr) == (2, True)
