"""Contents of URLs: when a server is believed, when content is downloaded again, and what can go wrong."""

from __future__ import annotations

import errno
import gzip
import math
import threading
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines import user_cache
from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.pipeline.url_inputs import UrlAnswer, UrlContent, UrlProblem, UrlRequest
from jupyter_pipelines.storage import url_downloads
from jupyter_pipelines.storage.maintenance.garbage_collection import collect
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.store import Store
from jupyter_pipelines.storage.url_downloads import UrlDownloads
from tests.storage.users import record
from tests.url_server import OLD, UrlServer, url_server

PATH = "/data.csv"


@pytest.fixture
def server() -> Iterator[UrlServer]:
    with url_server() as served:
        yield served


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv(user_cache.VARIABLE, str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    return open_store(tmp_path / "store")


def ask(store: Store, url: str, **fields: float) -> UrlAnswer:
    return UrlDownloads(store).fetch([UrlRequest(url=url, **fields)])[url]


def content(store: Store, url: str, **fields: float) -> bytes:
    answer = ask(store, url, **fields)
    assert isinstance(answer, UrlContent), answer
    return store.blobs.path(answer.digest).read_bytes()


def problem(store: Store, url: str) -> UrlProblem:
    answer = ask(store, url)
    assert isinstance(answer, UrlProblem), answer
    return answer


@pytest.mark.parametrize(
    ("before", "now", "requests"),
    [
        ({"ETag": '"1"'}, {"ETag": '"1"'}, "HEAD"),
        ({"ETag": '"1"', "Last_Modified": OLD}, {"ETag": '"1"', "Last_Modified": "Tue" + OLD[3:]}, "HEAD"),
        ({"ETag": '"1"'}, {"ETag": '"2"'}, "HEAD GET"),
        ({"ETag": '"1"'}, {}, "HEAD GET"),
        ({"ETag": 'W/"1"'}, {"ETag": 'W/"1"'}, "HEAD GET"),
        ({"ETag": 'W/"1"', "Last_Modified": OLD}, {"ETag": 'W/"1"', "Last_Modified": OLD}, "HEAD"),
        ({"Last_Modified": OLD}, {"Last_Modified": OLD}, "HEAD"),
        ({"Last_Modified": OLD}, {"Last_Modified": OLD.replace("2024", "2023")}, "HEAD GET"),
        ({"Last_Modified": OLD, "Content_Length": ""}, {"Last_Modified": OLD, "Content_Length": ""}, "HEAD GET"),
        # Written in this second: it may be written once more without another time.
        ({"Last_Modified": OLD, "Date": OLD}, {"Last_Modified": OLD, "Date": OLD}, "GET"),
        ({}, {}, "GET"),
    ],
)
def test_what_a_server_says_is_believed_where_it_is_certain(
    store: Store, server: UrlServer, before: dict[str, str], now: dict[str, str], requests: str
) -> None:
    if "Date" in before:
        before = now = {"Last_Modified": formatdate(usegmt=True)}
    server.serve(PATH, b"old", **before)
    assert content(store, server.url(PATH)) == b"old"
    assert server.asked() == [f"GET {PATH}"]
    server.serve(PATH, b"new", **now)  # of equal size: where the server is believed, it is not seen
    assert content(store, server.url(PATH)) == (b"new" if "GET" in requests else b"old")
    assert server.asked() == [f"{method} {PATH}" for method in requests.split()]


def test_equal_content_under_a_new_etag_is_downloaded_once(store: Store, server: UrlServer) -> None:
    server.serve(PATH, ETag='"1"')
    first = ask(store, server.url(PATH))
    server.serve(PATH, ETag='"2"')
    second, _ = ask(store, server.url(PATH)), server.asked()
    assert isinstance(first, UrlContent)
    assert isinstance(second, UrlContent)
    assert first.digest == second.digest
    ask(store, server.url(PATH))
    assert server.asked() == [f"HEAD {PATH}"]


def test_all_servers_are_asked_at_once(store: Store, server: UrlServer) -> None:
    gate = threading.Event()
    urls = [server.url(f"/{number}") for number in range(8)]
    for number in range(8):
        server.serve(f"/{number}").silent = gate
    answers: list[dict[str, UrlAnswer]] = []
    requests = [UrlRequest(url=url) for url in urls]
    thread = threading.Thread(target=lambda: answers.append(UrlDownloads(store).fetch(requests)), daemon=True)
    thread.start()
    while len(server.requests) < 8:  # none of them is answered before all have been asked
        thread.join(0.01)
    gate.set()
    thread.join()
    assert all(isinstance(answer, UrlContent) for answer in answers[0].values())


def test_redirects_keep_the_method_and_give_no_password_away(store: Store, server: UrlServer) -> None:
    with url_server() as other:
        other.serve("/moved.csv", b"there", ETag='"1"')
        moved = server.serve(PATH, Location=other.url("/moved.csv"))
        moved.status, moved.account = 302, "ada:pass"
        url = server.url(PATH, "ada:pass")
        assert content(store, url) == content(store, url) == b"there"
        assert other.asked() == ["GET /moved.csv", "HEAD /moved.csv"]
        other.files["/moved.csv"].account = "ada:pass"
        assert problem(store, url).refused
        for nowhere in ("file:///etc/passwd", "ftp://127.0.0.1/x", server.url(PATH), ""):
            moved.headers["Location"] = nowhere
            assert problem(store, url).text == "its server redirects in a circle, or to no web address"


def test_an_etag_tells_nothing_about_another_address(store: Store, server: UrlServer) -> None:
    server.serve("/1.csv", b"one", ETag='"1"')
    server.serve("/2.csv", b"two", ETag='"1"')
    latest = server.serve("/latest.csv", Location=server.url("/1.csv?Signature=now"))
    latest.status = 302
    assert content(store, server.url("/latest.csv")) == b"one"
    server.asked()
    latest.headers["Location"] = server.url("/1.csv?Signature=later")
    assert content(store, server.url("/latest.csv")) == b"one"
    assert not any(request.startswith("GET") for request in server.asked())
    latest.headers["Location"] = server.url("/2.csv?Signature=now")
    assert content(store, server.url("/latest.csv")) == b"two"


def test_the_query_of_another_address_counts(store: Store, server: UrlServer) -> None:
    server.serve("/get", b"one", ETag='"1"')
    latest = server.serve("/latest.csv", Location=server.url("/get?id=1"))
    latest.status = 302
    assert content(store, server.url("/latest.csv")) == b"one"
    server.serve("/get", b"two", ETag='"1"')
    latest.headers["Location"] = server.url("/get?id=2")
    assert content(store, server.url("/latest.csv")) == b"two"


def test_a_redirect_on_one_server_keeps_the_account(store: Store, server: UrlServer) -> None:
    server.serve("/there.csv", b"there").account = "ada:pass"
    moved = server.serve(PATH, Location="/there.csv")
    moved.status, moved.account = 302, "ada:pass"
    assert content(store, server.url(PATH, "ada:pass")) == b"there"


def test_the_password_of_a_proxy_is_given_to_no_server(
    store: Store, server: UrlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with url_server() as proxy:
        server.serve(PATH)
        moved = proxy.serve("http://example.invalid/data.csv", Location=server.url(PATH))
        moved.status = 302
        monkeypatch.setenv("http_proxy", proxy.url("", "ada:pass"))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert content(store, "http://example.invalid/data.csv") == b"a\n1\n"
    assert [headers.get("Proxy-Authorization") for headers in proxy.headers] == ["Basic YWRhOnBhc3M="]
    assert [headers.get("Proxy-Authorization") for headers in server.headers] == [None]


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "identity, GZIP"])
def test_what_was_packed_unasked_is_unpacked(store: Store, server: UrlServer, encoding: str) -> None:
    text = b"a\n1\n" * 100_000
    packed = gzip.compress(text[:9]) + gzip.compress(text[9:])
    server.serve(PATH, packed, Content_Encoding=encoding, ETag='"1"')
    assert content(store, server.url(PATH)) == content(store, server.url(PATH)) == text
    server.serve("/data.csv.gz", packed, Content_Encoding=encoding)
    assert content(store, server.url("/data.csv.gz?x=1")) == packed
    server.serve("/cut", packed[:-9], Content_Encoding=encoding)
    assert "incomplete" in problem(store, server.url("/cut")).text
    server.serve("/plain", text, Content_Encoding=encoding)
    assert "cannot be unpacked" in problem(store, server.url("/plain")).text
    server.serve("/br", text, Content_Encoding="br")
    assert "an encoding that was not asked for" in problem(store, server.url("/br")).text


@pytest.mark.parametrize("status", [202, 204, 206])
def test_a_part_of_a_content_is_none(store: Store, server: UrlServer, status: int) -> None:
    server.serve(PATH, ETag='"1"').status = status
    assert problem(store, server.url(PATH)).text.startswith(f"its server answers {status} ")


def test_a_time_that_no_calendar_has_says_nothing(store: Store, server: UrlServer) -> None:
    server.serve(PATH, Last_Modified="Mon, 01 Jan 99999999999 10:00:00 GMT")
    assert content(store, server.url(PATH)) == b"a\n1\n"


def test_whatever_goes_wrong_is_a_problem(store: Store, server: UrlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ArithmeticError

    monkeypatch.setattr(url_downloads, "_download", fail)
    server.serve(PATH)
    assert "cannot be read" in problem(store, server.url(PATH)).text


def test_a_store_that_cannot_be_written(store: Store, server: UrlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "no space", str(path))

    server.serve(PATH)
    with monkeypatch.context() as patched:
        patched.setattr(url_downloads, "create", full)
        with pytest.raises(StoreError) as raised:
            ask(store, server.url(PATH))
    assert raised.value.faults[0].code == "JP403"


def test_a_download_that_was_given_up_leaves_no_file(
    store: Store, server: UrlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, ended = threading.Event(), threading.Event()
    download = url_downloads._download

    def late(*arguments: Any) -> None:
        gate.wait()
        try:
            download(*arguments)
        finally:
            ended.set()

    monkeypatch.setattr(url_downloads, "_download", late)
    monkeypatch.setattr(url_downloads, "_DOWNLOAD_SECONDS", 0.1)
    server.serve(PATH)
    before = set(threading.enumerate())
    assert "too long" in problem(store, server.url(PATH)).text
    gate.set()
    for thread in set(threading.enumerate()) - before:
        if thread._target is url_downloads._ask_in_thread:  # type: ignore[attr-defined]
            thread.join()
    assert ended.wait(10)
    assert not list((store.root / "tmp").iterdir())


def test_more_urls_than_are_asked_at_once(store: Store, server: UrlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    monkeypatch.setenv(url_downloads.TIMEOUT_VARIABLE, "0.2")
    monkeypatch.setattr(url_downloads, "_AT_ONCE", 2)
    monkeypatch.setattr(url_downloads, "_opened", lambda *_: gate.wait())  # as a search for a host that never ends
    urls = [server.url(f"/{number}") for number in range(5)]
    answers = UrlDownloads(store).fetch([UrlRequest(url=url) for url in urls])
    gate.set()
    assert {answer.text for answer in answers.values() if isinstance(answer, UrlProblem)} == {url_downloads._TOO_LONG}
    assert len(answers) == 5


def test_head_may_be_refused(store: Store, server: UrlServer) -> None:
    server.serve(PATH, b"old", ETag='"1"').refuses_head = True
    assert content(store, server.url(PATH)) == b"old"
    assert content(store, server.url(PATH)) == b"old"
    server.serve(PATH, b"new", ETag='"2"').refuses_head = True
    assert content(store, server.url(PATH)) == b"new"


def test_what_goes_wrong_is_said(store: Store, server: UrlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert problem(store, server.url("/none")) == UrlProblem(text="its server answers 404 Not Found", absent=True)
    server.serve("/gone").status = 410
    assert problem(store, server.url("/gone")).absent
    server.serve("/down").status = 503
    assert problem(store, server.url("/down")) == UrlProblem(text="its server answers 503 Service Unavailable")
    server.serve("/mine").account = "ada:pass"
    assert problem(store, server.url("/mine", "ada:wrong")).refused
    server.serve("/cut", Content_Length="100")
    assert "incomplete" in problem(store, server.url("/cut")).text
    with url_server() as closed:
        pass
    assert "Connection refused" in problem(store, closed.url(PATH)).text
    assert "TLS" in problem(store, server.url(PATH).replace("http:", "https:")).text
    monkeypatch.setenv(url_downloads.TIMEOUT_VARIABLE, "0.2")
    gate = threading.Event()
    server.serve("/slow").silent = gate
    assert "too long" in problem(store, server.url("/slow")).text
    gate.set()
    assert content(store, server.url("/slow")) == b"a\n1\n"
    assert not list((store.root / "tmp").iterdir())


def test_a_search_for_a_host_that_never_ends(store: Store, server: UrlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    def search(*_: object) -> None:
        gate.wait()
        raise TimeoutError

    monkeypatch.setenv(url_downloads.TIMEOUT_VARIABLE, "0.1")
    monkeypatch.setattr(url_downloads, "_opened", search)
    assert "too long" in problem(store, server.url(PATH)).text
    gate.set()


def test_an_answer_is_accepted_for_a_time(store: Store, server: UrlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.serve(PATH, b"old")
    assert content(store, server.url(PATH)) == b"old"
    server.serve(PATH, b"new")
    assert content(store, server.url(PATH), accepted=3600.0) == b"old"
    monkeypatch.setattr(url_downloads, "datetime", _LaterClock)
    assert content(store, server.url(PATH), accepted=3600.0) == b"new"


class _LaterClock(url_downloads.datetime):
    @classmethod
    def now(cls, tz: object = None) -> url_downloads.datetime:
        return super().now(tz) + url_downloads.timedelta(hours=1, seconds=1)


def test_a_content_that_was_lost_is_downloaded_again(store: Store, server: UrlServer) -> None:
    server.serve(PATH, ETag='"1"')
    answer = ask(store, server.url(PATH))
    assert isinstance(answer, UrlContent)
    path = store.blobs.path(answer.digest)
    path.chmod(0o600)
    path.write_bytes(b"damaged")
    assert content(store, server.url(PATH), accepted=3600.0) == b"a\n1\n"


def test_another_query_is_another_content(store: Store, server: UrlServer) -> None:
    server.serve(PATH, b"one", ETag='"1"')
    assert content(store, server.url(f"{PATH}?id={'a' * 30}")) == b"one"
    server.serve(PATH, b"two", ETag='"1"')
    assert content(store, server.url(f"{PATH}?id={'b' * 30}")) == b"two"


def test_no_password_is_written(store: Store, server: UrlServer, tmp_path: Path) -> None:
    server.serve(PATH, ETag='"1"').account = "ada:s3cr3t-word"
    content(store, server.url(f"{PATH}?token=t0k3n-word", "ada:s3cr3t-word"))
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"1" in written
    assert b"s3cr3t" not in written
    assert b"t0k3n" not in written


def test_netrc_has_accounts(store: Store, server: UrlServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.serve(PATH).account = "ada:pass"
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login ada password pass\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert content(store, server.url(PATH)) == b"a\n1\n"
    (tmp_path / ".netrc").write_text("default login ada password pass\n")
    assert content(store, server.url(PATH)) == b"a\n1\n"
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login ada password pass s3cr3t\n")
    assert problem(store, server.url(PATH)) == UrlProblem(
        text="its server answers 401 Unauthorized, and `~/.netrc` is not used: it is wrong near line 2", refused=True
    )
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login ada password pass\n")
    (tmp_path / ".netrc").chmod(0o644)
    assert "`~/.netrc` is not used: access too permissive" in problem(store, server.url(PATH)).text


def test_a_proxy_of_the_environment_is_asked(store: Store, server: UrlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.serve("http://example.invalid/data.csv", b"by proxy")
    monkeypatch.setenv("http_proxy", server.url(""))
    assert content(store, "http://example.invalid/data.csv") == b"by proxy"


def test_a_proxy_that_refuses_is_named(store: Store, server: UrlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", server.url(""))
    assert problem(store, "https://example.invalid/x").text == "the proxy answers 501 Not Implemented"


def test_what_was_confirmed_last_counts(store: Store, server: UrlServer) -> None:
    server.serve(PATH, b"old")
    old = ask(store, server.url(PATH))
    server.serve(PATH, b"new")
    new = ask(store, server.url(PATH))
    assert isinstance(old, UrlContent)
    assert isinstance(new, UrlContent)
    older, newer = replace(old, checked="2024-01-01T00:00:00+00:00"), replace(new, checked="2024-01-02T00:00:00+00:00")
    request = UrlRequest(url=server.url("/another"), known=(older, newer), accepted=math.inf)
    assert UrlDownloads(store).fetch([request]) == {request.url: newer}


def test_looking_asks_no_server(store: Store, server: UrlServer) -> None:
    server.serve(PATH, ETag='"1"')
    url = server.url(PATH)
    unasked = UrlDownloads(store).fetch([UrlRequest(url=url, look=True)])[url]
    assert isinstance(unasked, UrlProblem)
    assert unasked.unasked
    answer = ask(store, url)
    server.asked()
    assert UrlDownloads(store).fetch([UrlRequest(url=url, look=True)]) == {url: answer}
    assert server.asked() == []


def test_contents_are_kept_with_the_results_made_of_them(store: Store, server: UrlServer) -> None:
    server.serve(PATH, ETag='"1"')
    answer = ask(store, server.url(PATH))
    assert isinstance(answer, UrlContent)
    store.records.put(replace(record(store), urls={"raw": {"url": "x", **answer.to_dict()}}))
    collect(store, older_than=0, grace=0)
    assert store.blobs.verify(answer.digest) == "ok"
