"""Contents of URLs that are inputs: their servers are asked whether they changed, and what is new is downloaded.

A content is downloaded once, into the blobs of a store. What a server said about it (ETag, Last-Modified, size) is
kept in the user's cache folder and with the records; a later plan compares it with a ``HEAD`` request. What cannot be
compared for certain is downloaded again, and compared by its digest.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import http.client
import netrc
import os
import re
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO, Any

from jupyter_pipelines import __version__, user_cache
from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.pipeline.url_inputs import UrlAnswer, UrlContent, UrlProblem, UrlRequest, file_name_of
from jupyter_pipelines.storage.files.local_folder import create, remove
from jupyter_pipelines.storage.files.os_errors import writing
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
_COMPLETE = (200, 203)
_REDIRECTS = (301, 302, 303, 307, 308)
_GZIP = ("gzip", "x-gzip")
_GZIP_FILES = (".gz", ".tgz", ".svgz")
# Parts of a query that sign it anew for every request, if there is a signature: of Amazon, Google, Azure and CDNs.
_SIGNATURE = re.compile(r"sig|signature|x-(amz|goog)-signature", re.I)
_SIGNING = re.compile(
    r"x-(amz|goog)-.*|signature|expires|policy|key-pair-id|awsaccesskeyid|googleaccessid|jwt"
    r"|sig|sv|se|st|sp|sr|spr|sip|skoid|sktid|skt|ske|sks|skv",
    re.I,
)
_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})\b")


class _AnswerError(Exception):
    """An answer of a server that cannot be the content of a URL; its text says why."""


class _AskedUrl:
    """A URL that is being asked for in a thread: what came, or until when something has to come.

    Once it is abandoned, its thread writes nothing any more.
    """

    def __init__(self, request: UrlRequest, target: Path) -> None:
        self.request = request
        self.target = target
        self.deadline = float("inf")
        self.is_started = False
        self.abandoned = False
        self.result: UrlContent | UrlProblem | StoreError | None = None

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
        """Return the present content of each URL; all servers are asked at once.

        Raises
        ------
        StoreError
            The store cannot be written (JP402), or is full (JP403).
        """
        kept = _kept(self._store)
        answers: dict[str, UrlAnswer] = {}
        to_ask = []
        for request in requests:
            memory = kept.get(_name(request.url))
            known = self._stored_contents((*((memory,) if memory else ()), *request.known))
            answer = _remembered(replace(request, known=known))
            if answer is not None:
                answers[request.url] = answer
            else:
                to_ask.append(_AskedUrl(replace(request, known=known), self._store.folder.temporary(".url")))
        try:
            answers |= self._asked(to_ask)
        finally:
            for asked in to_ask:
                asked.abandoned = True  # before the file is removed: its thread must not make it again
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

    def _stored_contents(self, contents: Iterable[UrlContent]) -> tuple[UrlContent, ...]:
        """Return the contents whose bytes are in the store, those first that were confirmed last."""
        newest = sorted(contents, key=lambda content: content.checked, reverse=True)
        return tuple(content for content in newest if self._store.blobs.verify(content.digest) == "ok")

    def _asked(self, to_ask: list[_AskedUrl]) -> dict[str, UrlAnswer]:
        """Ask all servers; a download becomes a blob here, as only this thread may use the store."""
        changed = threading.Condition()
        with changed:
            while waiting := [asked for asked in to_ask if asked.result is None]:
                # One that has taken too long does not count: a search for a host may never end.
                for asked in waiting[:_AT_ONCE]:
                    if not asked.is_started:
                        asked.is_started = True
                        asked.start(2 * _silence())
                        # Daemons: the search for a host cannot be stopped, and must not keep the process alive.
                        threading.Thread(target=_ask_in_thread, args=(asked, changed), daemon=True).start()
                changed.wait(0.5)
                for asked in waiting:
                    if asked.result is None and time.monotonic() > asked.deadline:
                        asked.abandoned = True
                        asked.result = UrlProblem(text=_TOO_LONG)
        return {asked.request.url: self._stored(asked) for asked in to_ask}

    def _stored(self, asked: _AskedUrl) -> UrlAnswer:
        result = asked.result or UrlProblem(text="its server was not asked")
        if isinstance(result, UrlProblem):
            return result
        if isinstance(result, StoreError):
            raise result
        if result.digest:
            with contextlib.suppress(OSError):
                self._store.blobs.touch(result.digest)
            return result
        return replace(result, digest=self._store.blobs.put_file(asked.target).digest)


def _ask_in_thread(asked: _AskedUrl, changed: threading.Condition) -> None:
    try:
        result: UrlContent | UrlProblem | StoreError = _ask(asked)
    except StoreError as error:
        result = error
    except Exception as error:  # noqa: BLE001 - whatever a server sends: without a result, its reader waits for hours
        result = _problem(error)
    if asked.abandoned:
        remove(asked.target)
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
        except (urllib.error.HTTPError, http.client.HTTPException, _AnswerError):
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
    root, what = asked.target.parent, "the content of a URL"
    pieces = _pieces(answer, asked)
    if _is_packed(answer.headers, asked.request.url):
        pieces = _unpacked(pieces)
    with writing(root, what):
        file = create(asked.target)
    try:
        for piece in pieces:
            with writing(root, what):
                file.write(piece)
                file.flush()
    finally:
        with contextlib.suppress(OSError):  # each piece has been flushed
            file.close()


def _pieces(answer: Any, asked: _AskedUrl) -> Iterator[bytes]:
    """Yield the body of an answer as it arrives, so that a slow server is noticed."""
    size, expected = 0, answer.headers.get("Content-Length", "")
    while piece := answer.read1(_BLOCK):
        if asked.abandoned or time.monotonic() > asked.deadline:
            raise TimeoutError
        size += len(piece)
        yield piece
    if expected.isdecimal() and int(expected) != size:
        raise http.client.IncompleteRead(b"", int(expected) - size)


def _is_packed(headers: Message, url: str) -> bool:
    """Tell whether a body has to be unpacked; servers send the bytes of files with an encoding that was not asked for.

    A file whose name says that it is packed stays as it is: some servers give its own encoding as that of the answer.
    """
    encodings = [name for text in headers.get_all("Content-Encoding", ()) for name in _names_in(text)]
    if encodings and (len(encodings) > 1 or encodings[0] not in _GZIP):
        raise _AnswerError("its server sends it in an encoding that was not asked for")
    return bool(encodings) and not file_name_of(url).lower().endswith(_GZIP_FILES)


def _names_in(text: str) -> list[str]:
    return [name for part in text.split(",") if (name := part.strip().lower()) not in ("", "identity")]


def _unpacked(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what is packed with gzip, in pieces of limited size."""
    try:
        with gzip.GzipFile(fileobj=_PieceReader(pieces)) as file:  # type: ignore[call-overload]
            while piece := file.read1(_BLOCK):
                yield piece
    except EOFError:
        raise http.client.IncompleteRead(b"") from None
    except (gzip.BadGzipFile, zlib.error):
        raise _AnswerError("its server sends it packed, and it cannot be unpacked") from None


class _PieceReader:
    """A file to read from, made of the pieces of a body."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Return at most so many bytes; fewer where a piece ends."""
        self._rest = self._rest or next(self._pieces, b"")
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


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
    except (TypeError, ValueError, OverflowError):
        return False


class _RedirectRules(urllib.request.HTTPRedirectHandler):
    """Follows redirects with the same method, and to web servers only."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Return the request that follows a redirect."""
        if urllib.parse.urlsplit(newurl).scheme not in ("http", "https"):
            raise urllib.error.HTTPError("", code, "", headers, fp)
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None:
            following.method = req.get_method()
            # That of the proxy that was asked: where another one is asked, it is added anew.
            following.remove_header("Proxy-authorization")
            account = req.get_header("Authorization")
            if account and _origin(req.full_url) == _origin(following.full_url):
                following.add_unredirected_header("Authorization", account)
        return following


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


@contextlib.contextmanager
def _opened(url: str, method: str) -> Iterator[tuple[Any, str]]:
    """Open a URL; yield the answer, and, after a redirect, a digest of the address that gave it.

    Proxies are those of the environment. Credentials are never sent to another host.

    Raises
    ------
    AnswerError
        The server gives no content, or a part of it.
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
        if answer.status not in _COMPLETE:
            raise _AnswerError(_status_text(answer.status))
        address = answer.geturl()
        yield answer, "" if address == request.full_url else _name(_unsigned(address))[:_LOCATION_DIGITS]


def _unsigned(address: str) -> str:
    """Return an address without the parts of its query that are another for every request, as far as they are known."""
    path, _, query = address.partition("#")[0].partition("?")
    parts = query.split("&")
    names = [part.partition("=")[0] for part in parts]
    if any(_SIGNATURE.fullmatch(name) for name in names):
        parts = [part for part, name in zip(parts, names, strict=True) if not _SIGNING.fullmatch(name)]
    query = "&".join(parts)
    return f"{path}?{query}" if query else path


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
        entry = netrc.netrc().authenticators(parts.hostname or "")
        if entry is not None:
            return entry[0], entry[2] or ""
    return None


def _netrc_fault() -> str:
    """Return why the user's ``~/.netrc`` has no effect; empty if it is right or absent."""
    try:
        netrc.netrc()
    except FileNotFoundError:
        return ""
    except netrc.NetrcParseError as error:
        # The message about a line quotes words of it, which may be a password.
        reason = f"it is wrong near line {error.lineno}" if error.lineno else error.msg.removeprefix("~/.netrc ")
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except UnicodeError:
        reason = "it is not UTF-8"
    else:
        return ""
    return f", and `~/.netrc` is not used: {reason}"


def _problem(error: Exception) -> UrlProblem:
    """Return why there is no content."""
    if isinstance(error, _AnswerError):
        return UrlProblem(text=str(error))
    if not isinstance(error, urllib.error.HTTPError):
        return UrlProblem(text=_in_words(error))
    if error.code in _REDIRECTS:
        return UrlProblem(text="its server redirects in a circle, or to no web address")
    is_refused = error.code in _REFUSED
    text = _status_text(error.code) + (_netrc_fault() if is_refused else "")
    return UrlProblem(text=text, absent=error.code in _ABSENT, refused=is_refused)


def _status_text(status: int) -> str:
    return f"its server answers {_status_words(status)}"


def _status_words(status: int) -> str:
    return f"{status} {http.client.responses.get(status, '')}".strip()


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
        case http.client.RemoteDisconnected():
            words = "its server closes the connection without an answer"
        case OSError() if tunnel := _TUNNEL.match(str(cause)):
            words = f"the proxy answers {_status_words(int(tunnel[1]))}"
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


def _remembered(request: UrlRequest) -> UrlAnswer | None:
    """Return the answer that need not be asked for; None if the server has to be asked."""
    failed = _FAILED.get(request.url)
    if failed is not None and time.monotonic() - failed[0] < request.failed:
        return failed[1]
    if not request.look:
        return next((content for content in request.known if _is_accepted(content, request.accepted)), None)
    unasked = UrlProblem(text="its server is asked by `plan` and `run`", unasked=True)
    return next(iter(request.known), failed[1] if failed else unasked)


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
