"""URLs in headers: what belongs to one, what is shown of it, and under which name its content is handed on."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_pipelines import user_cache
from jupyter_pipelines.notebook.headers.split import split_cell
from jupyter_pipelines.notebook.read_cache import load, read
from jupyter_pipelines.notebook.source.document import read_document
from jupyter_pipelines.pipeline.artifacts import UrlSource
from jupyter_pipelines.pipeline.url_inputs import file_name_of, hide_credentials, unusable_url
from tests.e2e.notebook_project import NotebookProject


@pytest.mark.parametrize(
    ("item", "url"),
    [
        ("raw=https://example.org/data.csv", "https://example.org/data.csv"),
        ("raw=http://example.org:8080", "http://example.org:8080"),
        ("raw=HTTPS://example.org/a:json", "HTTPS://example.org/a:json"),
        ("raw=https://example.org/?a=1&b=x:y", "https://example.org/?a=1&b=x:y"),
        ("'raw=https://example.org/a,b.csv'", "https://example.org/a,b.csv"),
        ("raw='https://example.org/a b#c'", "https://example.org/a b#c"),
    ],
)
def test_all_of_a_url_is_the_locator(item: str, url: str) -> None:
    header = split_cell(f"%%step load -i {item} -o rows\nrows = raw").header
    assert header is not None
    [spec] = header.inputs or ()
    assert (spec.name, spec.locator, spec.format) == ("raw", url, None)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.org/data.csv?year=2024&format=csv", "https://example.org/data.csv?year=2024&format=csv"),
        ("https://ada@example.org/x", "https://***@example.org/x"),
        ("https://ada:pw@example.org:80/x@y", "https://***@example.org:80/x@y"),
        ("https://ada:p/w?@example.org/x", "https://***@example.org/x"),
        ("https://ada:p@ss@example.org/x", "https://***@example.org/x"),
        ("https://ada:pa'ss@example.org/x", "https://***@example.org/x"),
        ('https://ada:pa"ss@example.org/x', "https://***@example.org/x"),
        ("https://ada:pa ss@example.org/x", "https://***@example.org/x"),
        ("https://ada:9p/ss@example.org/x", "https://***@example.org/x"),
        ("https://example.org:80/x@y", "https://example.org:80/x@y"),
        ("https://example.org:80 ada@y", "https://example.org:80 ada@y"),
        ("https://e.org/x?X-Amz-Signature=abc&sig=1&page=2", "https://e.org/x?X-Amz-Signature=***&sig=***&page=2"),
        ("https://e.org/x?id=0123456789abcdef", "https://e.org/x?id=***"),
        ("https://e.org/x?a=b;api_key=k", "https://e.org/x?a=b;api_key=***"),
        ("https://e.org/x?pass=a&pw=b&pin=1&mapping=c", "https://e.org/x?pass=***&pw=***&pin=***&mapping=c"),
        ("https://e.org/x?token=a'b", "https://e.org/x?token=***"),
        ("https://e.org/x#token=abc", "https://e.org/x#token=***"),
        ("'raw=https://e.org/x?year=2024&token=abc' -o y", "'raw=https://e.org/x?year=2024&token=***' -o y"),
        ("raw=https://u:p@e.org/x more=http://v:q@e.org/y", "raw=https://***@e.org/x more=http://***@e.org/y"),
        ("a=1, b = c@d", "a=1, b = c@d"),
    ],
)
def test_credentials_are_hidden(url: str, shown: str) -> None:
    assert hide_credentials(url) == shown
    assert len(hide_credentials(url, same_length=True)) == len(url)
    assert str(UrlSource(url=url)) == shown
    assert "ada" not in repr(UrlSource(url=url))
    assert "pw" not in repr(UrlSource(url=url))


@pytest.mark.parametrize(
    "header",
    [
        "%%step load -i raw={0} -o rows",
        "#| step: load\n#| in: raw={0}\n#| out: rows",
        "%%step load \\\n -i raw={0}",
        "%%step load -p raw={0}",
    ],
)
def test_what_runs_and_what_is_said_of_a_header_have_no_password(header: str) -> None:
    split = split_cell(header.format("https://ada:pw@example.org/x:y?token=abc") + " -o =\nrows = raw")
    assert "pw@" not in split.body
    assert "abc" not in split.body
    assert split_cell(split.body).body == split.body
    for fault in split.faults:
        assert "pw@" not in str(fault)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.org/a/data.csv.gz?x=/y.z", "data.csv.gz"),
        ("https://example.org/a/", "content"),
        ("https://example.org", "content"),
        ("https://example.org/..", "content"),
        ("https://example.org/a%20b.csv#c/d", "a%20b.csv"),
        ("https://example.org/a\\b:c", "a_b_c"),
        (f"https://example.org/{'x' * 300}.csv", f"{'x' * 96}.csv"),
        (f"https://example.org/{'数' * 300}.csv", f"{'数' * 65}.csv"),
    ],
)
def test_the_file_has_the_name_at_the_end(url: str, name: str) -> None:
    assert file_name_of(url) == name


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://example.org", ""),
        ("http://ada:p@[::1]:80/x", ""),
        ("https://größe.example/x?y", ""),
        ("https://", "it names no host"),
        ("https:///x", "it names no host"),
        ("https://example.org./x", ""),
        ("https://a..b/x", "no host can have such a name"),
        (f"https://{'a' * 64}.org/x", "no host can have such a name"),
        ("https://example.org:70000/", "`70000` is no port"),
        ("https://ada:sekrit/2@host", "no port follows its `:`; a password needs `%2F` for `/`"),
        ("https://ada:p@ss@host/x", "`@` stands in its user or password: write `%40`"),
        ("https://ada:pa'ss@host/x", "`'` stands in its user or password: write `%27`"),
        ('https://ada:pa"ss@host/x', '`"` stands in its user or password: write `%22`'),
        ("https://example.org/a b", "it contains a space or a control character"),
    ],
)
def test_what_no_server_can_be_asked_for(url: str, why: str) -> None:
    assert unusable_url(url) == why


def test_a_reading_that_is_saved_has_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(user_cache.VARIABLE, str(tmp_path / "cache"))
    book = NotebookProject(tmp_path).write("%%step load -i raw=https://example.org/x.csv -o rows\nrows = raw")
    first, saved = read(book.path).pipeline, load(read_document(book.path))
    assert first is not None
    assert saved is not None
    assert saved.pipeline is not None
    assert saved.pipeline["load"].inputs == first["load"].inputs
    assert saved.pipeline["load"].inputs[0].source == UrlSource(url="https://example.org/x.csv")
    book.edit("https://", "https://ada:pw@")
    assert read(book.path).pipeline is not None
    assert load(read_document(book.path)) is None
