"""URLs that are declared as inputs: how they are recognised and shown, and the answers of their servers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_URL = re.compile(r"https?://", re.I)
# User and password end at the last `@` before the path. A password that holds a slash or a space is hidden, too, though
# no server accepts it: then what follows the colon is no port.
_USER = re.compile(r"(?<=://)(?:[^/?#\s]+|[^/?#\s@:]+:(?!\d*(?:[/?#\s]|$))(?:(?!://).)*)@", re.M)
_ADDRESS = re.compile(
    r"https?://(?:(?P<user>[^/?#]*)@)?(?P<host>\[[0-9a-f:.]+\]|[^/?#:@\[\]]+)(?::(?P<port>[^/?#@]*))?"
    r"(?P<rest>[/?#].*)?",
    re.I | re.S,
)
_QUERY = re.compile(r"(?<=[?&;#])([^=&;\s\"'#]*)=((?:[^&;\s#]*[^&;\s#\"'])?)")
_SECRET_NAME = re.compile(
    r"sig|token|key|secret|pass|pwd|cred|auth|session|policy|user|login|code|(?<![a-z])(?:pw|pin)(?![a-z])", re.I
)
_PLAIN_VALUE = re.compile(r"[A-Za-z_.-]{1,20}|[\d.:_-]{1,12}")
_NOT_IN_NAMES = re.compile(r"[\x00-\x1f\x7f<>:\"/\\|*]")
_MAX_NAME = 100
_MAX_NAME_BYTES = 200
HIDDEN = "***"


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlContent:
    """The content of a URL, as its server has confirmed it.

    Parameters
    ----------
    digest : str
        Digest of the content, which is in the store; empty while that is not known.
    etag, modified, size : str
        The headers ``ETag``, ``Last-Modified`` and ``Content-Length`` that came with this content; empty if absent, or
        if they do not tell this content from others.
    location : str
        A digest of the address to which its server redirects, without the signature in its query; empty without a
        redirect. What a server says tells the contents of one address apart, not of two.
    checked : str
        When its server confirmed it last, ISO 8601 in UTC.
    """

    digest: str
    etag: str = ""
    modified: str = ""
    size: str = ""
    location: str = ""
    checked: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return what records and caches hold of it."""
        texts = {name: getattr(self, name) for name in ("digest", "etag", "modified", "size", "location", "checked")}
        return {name: text for name, text in texts.items() if text}

    @classmethod
    def from_dict(cls, document: Mapping[str, str]) -> UrlContent:
        """Return the content that :meth:`to_dict` described."""
        names = ("etag", "modified", "size", "location", "checked")
        return cls(digest=str(document["digest"]), **{name: str(document.get(name, "")) for name in names})

    @property
    def version(self) -> str:
        """The version of the content for messages: its ETag or its time."""
        return f"ETag {self.etag}" if self.etag else self.modified


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlProblem:
    """Why the content of a URL is not known.

    Parameters
    ----------
    text : str
        In a few words, as a part of a sentence.
    absent : bool
        The server says that there is nothing under this URL.
    refused : bool
        The server wants to know who asks, or does not give it to this user.
    unasked : bool
        The plan is only looked at: no server was asked.
    """

    text: str
    absent: bool = False
    refused: bool = False
    unasked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlRequest:
    """A URL whose content is asked for.

    Parameters
    ----------
    url : str
        The URL.
    accepted : float
        Seconds for which an earlier answer of its server is accepted: it is not asked again.
    failed : float
        Seconds for which it is accepted that its server could not be asked.
    known : tuple of UrlContent
        Contents that records of this store hold for it.
    look : bool
        The server is not asked at all: the last content that is known counts.
    """

    url: str
    accepted: float = 0.0
    failed: float = 0.0
    known: tuple[UrlContent, ...] = ()
    look: bool = False


UrlAnswer = UrlContent | UrlProblem


def is_url(text: str) -> bool:
    """Tell whether a locator is a URL that can be an input: of ``http`` or ``https``."""
    return _URL.match(text) is not None


def unusable_url(url: str) -> str:
    """Return why no server can be asked for a URL; empty if one can."""
    match = _ADDRESS.fullmatch(url)
    if match is None:
        return "it names no host"
    if any(character <= " " or character == "\x7f" for character in url):
        return "it contains a space or a control character"
    raw = next((character for character in "@'\"" if character in (match["user"] or "")), None)
    if raw is not None:
        return f"`{raw}` stands in its user or password: write `%{ord(raw):02X}`"
    if not match["host"].startswith("[") and not _is_host_name(match["host"]):
        return "no host can have such a name"
    port = match["port"]
    if not port or (port.isdecimal() and 0 < int(port) < 1 << 16):
        return ""
    # With an `@` behind it, what looks like a port is the beginning of a password.
    is_password = "@" in (match["rest"] or "")
    return "no port follows its `:`; a password needs `%2F` for `/`" if is_password else f"`{port}` is no port"


def _is_host_name(host: str) -> bool:
    try:
        host.encode("idna")
    except UnicodeError:  # a part of it is empty or longer than 63 characters
        return False
    return True


def hide_credentials(text: str, *, same_length: bool = False) -> str:
    """Return a text in which URLs show no user, no password, and no value of a query that may be a credential.

    Parameters
    ----------
    text : str
        A URL, or a line with URLs.
    same_length : bool
        Keep the length of what is hidden, so that carets under the line stay right.
    """
    if "://" not in text:
        return text

    def stars(hidden: str) -> str:
        return "*" * len(hidden) if same_length else HIDDEN

    def shown_value(match: re.Match[str]) -> str:
        name, value = match.groups()
        is_plain = not value or (_PLAIN_VALUE.fullmatch(value) and not _SECRET_NAME.search(name))
        return match.group() if is_plain else f"{name}={stars(value)}"

    return _QUERY.sub(shown_value, _USER.sub(lambda match: f"{stars(match.group()[:-1])}@", text))


def file_name_of(url: str) -> str:
    """Return the name of the file that holds the content of a URL: its ending decides how it is read."""
    path = re.split(r"[?#]", _URL.sub("", url, count=1), maxsplit=1)[0]
    _, slash, name = path.rpartition("/")
    name = _NOT_IN_NAMES.sub("_", name)[-_MAX_NAME:] if slash else ""
    # File systems count bytes, of which a character has up to four.
    name = name.encode("utf-8", "ignore")[-_MAX_NAME_BYTES:].decode("utf-8", "ignore")
    return name if name.strip(". ") else "content"
