"""Contents of URLs that are inputs: their servers are asked whether they changed, and what is new is downloaded.

A content is downloaded once, into the blobs of a store. What a server said about it (ETag, Last-Modified, size) is
kept in the user's cache folder and with the records; a later plan compares it with a ``HEAD`` request. What cannot be
compared for certain is downloaded again, and compared by its digest.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import netrc
import os
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO, Any

from jupyter_pipelines import __version__, user_cache
from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.pipeline.url_inputs import UrlAnswer, UrlContent, UrlProblem, UrlRequest
from jupyter_pipelines.storage.files.local_folder import create, remove
from jupyter_pipelines.storage.store import Store

TIMEOUT_VARIABLE = "JUPYTER_PIPELINES_URL_TIMEOUT"
"""Names the seconds for which a server may be silent: before its answer begins, and while a download goes on."""
_SILENT_SECONDS = 20.0
_DOWNLOAD_SECONDS = 6 * 3600.0
_KIND = "urls"
_AT_ONCE = 16
_BLOCK = 1 << 20
_MAX_KEPT = 1000
_LOCATION_DIGITS = 16
_TOO_LONG = "its server takes too long to answer"
# Of this process: a picture that is drawn again and again must not wait for a dead server each time.
_FAILED: dict[str, tuple[float, UrlProblem]] = {}
_ABSENT = (404, 410)
_REFUSED = (401, 403, 407)
# RFC 9110, 8.8.2.2: a file may change twice in the second of its time; only an older time tells contents apart.
_TIME_TELLS_AFTER = timedelta(seconds=2)


class _AskedUrl:
    """A URL that is being asked for in a thread: what came, or until when something has to come."""

    def __init__(self, request: UrlRequest, target: Path) -> None:
        self.request = request
        self.target = target
        self.deadline = float("inf")
        self.result: UrlContent | UrlProblem | None = None

    def start(self, seconds: float) -> None:
        """Give the part that begins now so many seconds."""
        self.deadline = time.monotonic() + seconds


class UrlDownloads:
    """Asks servers for the contents of URLs, and keeps them in a store.

    Parameters
    ----------
    store : Store
        Where contents are kept.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def fetch(self, requests: Iterable[UrlRequest]) -> dict[str, UrlAnswer]:
        """Return what is under each URL now; all servers are asked at once.

        Raises
        ------
        StoreError
            The store cannot be written (JP402), or is full (JP403).
        """
        kept = _kept(self._store)
        answers: dict[str, UrlAnswer] = {}
        to_ask = []
        for request in requests:
            failed = _FAILED.get(request.url)
            if failed is not None and time.monotonic() - failed[0] < request.failed:
                answers[request.url] = failed[1]
                continue
            memory = kept.get(_name(request.url))
            known = tuple(
                content
                for content in (*((memory,) if memory else ()), *request.known)
                if self._store.blobs.verify(content.digest) == "ok"
            )
            accepted = next((content for content in known if _is_accepted(content, request.accepted)), None)
            if accepted is not None:
                answers[request.url] = accepted
            else:
                to_ask.append(_AskedUrl(replace(request, known=known), self._store.folder.temporary(".url")))
        try:
            answers |= self._asked(to_ask)
        finally:
            for asked in to_ask:
                remove(asked.target)
        for asked in to_ask:
            answer = answers[asked.request.url]
            if isinstance(answer, UrlProblem):
                _FAILED[asked.request.url] = (time.monotonic(), answer)
            else:
                _FAILED.pop(asked.request.url, None)
        contents = {_name(url): content for url, content in answers.items() if isinstance(content, UrlContent)}
        if to_ask and contents:
            _keep(self._store, {**kept, **contents})
        return answers

    def _asked(self, to_ask: list[_AskedUrl]) -> dict[str, UrlAnswer]:
        """Ask all servers; a download becomes a blob here, as only this thread may use the store."""
        changed, slots = threading.Condition(), threading.Semaphore(_AT_ONCE)
        for asked in to_ask:
            # Daemons: the search for a host cannot be stopped, and must not keep the process alive.
            threading.Thread(target=_ask_in_thread, args=(asked, changed, slots), daemon=True).start()
        with changed:
            while waiting := [asked for asked in to_ask if asked.result is None]:
                changed.wait(0.5)
                for asked in waiting:
                    if asked.result is None and time.monotonic() > asked.deadline:
                        asked.result = UrlProblem(text=_TOO_LONG)
        return {asked.request.url: self._stored(asked) for asked in to_ask}

    def _stored(self, asked: _AskedUrl) -> UrlAnswer:
        result = asked.result or UrlProblem(text="its server was not asked")
        if isinstance(result, UrlProblem):
            return result
        if result.digest:
            with contextlib.suppress(OSError):
                self._store.blobs.touch(result.digest)
            return result
        return replace(result, digest=self._store.blobs.put_file(asked.target).digest)


def _ask_in_thread(asked: _AskedUrl, changed: threading.Condition, slots: threading.Semaphore) -> None:
    with slots:
        try:
            result: UrlContent | UrlProblem = _ask(asked)
        except urllib.error.HTTPError as error:
            words = f"{error.code} {http.client.responses.get(error.code, '')}".strip()
            result = UrlProblem(
                text=f"its server answers {words}", absent=error.code in _ABSENT, refused=error.code in _REFUSED
            )
        except StoreError as error:
            result = UrlProblem(text=error.faults[0].message)
        except (OSError, http.client.HTTPException, ValueError) as error:
            result = UrlProblem(text=_in_words(error))
    with changed:
        asked.result = asked.result or result
        changed.notify()


def _ask(asked: _AskedUrl) -> UrlContent:
    """Return the content of a URL: with the digest of a known one, or without a digest after downloading it."""
    known = [content for content in asked.request.known if content.etag or content.modified]
    if known:
        try:
            asked.start(2 * _silence())
            with _opened(asked.request.url, "HEAD") as (answer, location):
                unchanged = _unchanged(known, answer.headers, location)
            if unchanged is not None:
                return unchanged
        except (urllib.error.HTTPError, http.client.HTTPException):
            pass  # addresses that are signed for GET alone, and small servers, refuse HEAD
    asked.start(2 * _silence())
    with _opened(asked.request.url, "GET") as (answer, location):
        unchanged = _unchanged(known, answer.headers, location)
        if unchanged is not None:
            return unchanged
        asked.start(_DOWNLOAD_SECONDS)
        _download(answer, asked)
        headers = answer.headers
    modified = headers.get("Last-Modified", "")
    return UrlContent(
        digest="",
        etag=headers.get("ETag", "").strip(),
        modified=modified if _time_tells(modified, headers.get("Date", "")) else "",
        size=headers.get("Content-Length", ""),
        location=location,
        checked=_now(),
    )


def _download(answer: Any, asked: _AskedUrl) -> None:
    """Write the body of an answer to a file; what arrives incomplete is an error."""
    size, expected = 0, answer.headers.get("Content-Length", "")
    with create(asked.target) as file:
        while piece := answer.read(_BLOCK):
            if time.monotonic() > asked.deadline:
                raise TimeoutError
            file.write(piece)
            size += len(piece)
    if expected.isdecimal() and int(expected) != size:
        raise http.client.IncompleteRead(b"", int(expected) - size)


def _unchanged(known: Iterable[UrlContent], headers: Message, location: str) -> UrlContent | None:
    """Return the known content that is still the content of the URL, by what its server says; None if none is."""
    etag, modified = headers.get("ETag", "").strip(), headers.get("Last-Modified", "")
    size = headers.get("Content-Length", "")
    for content in known:
        same_file = bool(modified and size) and (content.modified, content.size) == (modified, size)
        # A weak ETag may stay the same where bytes differ: it counts together with time and size only.
        is_enough = same_file if etag.startswith("W/") else bool(etag) or same_file
        if etag == content.etag and location == content.location and is_enough:
            return replace(content, checked=_now())
    return None


def _time_tells(modified: str, date: str) -> bool:
    try:
        return parsedate_to_datetime(date) - parsedate_to_datetime(modified) >= _TIME_TELLS_AFTER
    except (TypeError, ValueError):
        return False


class _RedirectRules(urllib.request.HTTPRedirectHandler):
    """Follows redirects with the same method, and to web servers only."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Return the request that follows a redirect."""
        if urllib.parse.urlsplit(newurl).scheme not in ("http", "https"):
            raise urllib.error.HTTPError("", code, "redirects to an address of another kind", headers, fp)
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None:
            following.method = req.get_method()
        return following


@contextlib.contextmanager
def _opened(url: str, method: str) -> Iterator[tuple[Any, str]]:
    """Open a URL; yield the answer, and a digest of the address that gave it if that is another one.

    Proxies are those of the environment. Credentials are never sent to another host.
    """
    parts = urllib.parse.urlsplit(url)
    _, _, address = parts.netloc.rpartition("@")
    path = urllib.parse.quote(parts.path, safe="/%:@!$&'()*+,;=~-._")
    query = urllib.parse.quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    with contextlib.suppress(UnicodeError):
        address = address.encode("idna").decode() if not address.isascii() else address
    request = urllib.request.Request(  # noqa: S310 - the header allows http and https only
        urllib.parse.urlunsplit((parts.scheme.lower(), address, path or "/", query, "")),
        method=method,
        headers={
            "User-Agent": f"jupyter-pipelines/{__version__}",
            # The bytes of the file itself: their size and ETag are those of the file, too.
            "Accept-Encoding": "identity",
            "Accept": "*/*",
            "Cache-Control": "no-cache",
        },
    )
    account = _account(parts)
    if account is not None:
        token = base64.b64encode(":".join(account).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    opener = urllib.request.build_opener(_RedirectRules)
    with opener.open(request, timeout=_silence()) as answer:
        # Without the query: that of a storage service is signed anew for every request.
        address = answer.geturl().partition("?")[0]
        yield answer, "" if address == request.full_url.partition("?")[0] else _name(address)[:_LOCATION_DIGITS]


def _silence() -> float:
    """Return how many seconds a server may be silent; redirects and several addresses may take twice as long."""
    with contextlib.suppress(ValueError):
        return max(0.1, float(os.environ.get(TIMEOUT_VARIABLE, "")))
    return _SILENT_SECONDS


def _account(parts: urllib.parse.SplitResult) -> tuple[str, str] | None:
    """Return user and password for a host: from the URL, or from the user's ``~/.netrc``."""
    if parts.username is not None:
        return urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
    with contextlib.suppress(OSError, netrc.NetrcParseError, UnicodeError):
        entry = netrc.netrc().hosts.get(parts.hostname or "")
        if entry is not None:
            return entry[0], entry[2] or ""
    return None


def _in_words(error: Exception) -> str:
    """Return why a server cannot be asked; never a text that may hold the URL."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    match cause:
        case ssl.SSLCertVerificationError():
            words = f"the certificate of its server is not trusted: {cause.verify_message}"
        case ssl.SSLError():
            words = f"its server cannot be asked over TLS: {cause.reason or 'the handshake failed'}"
        case TimeoutError():
            words = _TOO_LONG
        case http.client.IncompleteRead():
            words = "the download is incomplete"
        case OSError():
            words = f"its server cannot be reached: {cause.strerror or type(cause).__name__}"
        case str():
            words = "its server cannot be reached"
        case _:
            words = "the answer of its server cannot be read"
    return words


# What is remembered ---------------------------------------------------------------------------------------------------


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _is_accepted(content: UrlContent, seconds: float) -> bool:
    """Tell whether a server need not be asked again."""
    if not seconds:
        return False
    with contextlib.suppress(ValueError, OverflowError):
        age = (datetime.now(UTC) - datetime.fromisoformat(content.checked)).total_seconds()
        return 0 <= age < seconds
    return False


def _name(url: str) -> str:
    # A digest: the file in the user's cache folder must not hold passwords.
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()


def _kept(store: Store) -> dict[str, UrlContent]:
    with contextlib.suppress(AttributeError, LookupError, TypeError):
        documents: Mapping[str, Mapping[str, str]] = user_cache.load(_KIND, store.url) or {}
        return {name: UrlContent.from_dict(document) for name, document in documents.items()}
    return {}


def _keep(store: Store, contents: Mapping[str, UrlContent]) -> None:
    newest = sorted(contents.items(), key=lambda item: item[1].checked)[-_MAX_KEPT:]
    user_cache.save(_KIND, store.url, {name: content.to_dict() for name, content in newest})
