"""Names of steps and variables, in any script: their normal form, where they stand in a text, files called by them."""

from __future__ import annotations

import hashlib
import re
import unicodedata

NAME_LETTER = r"[\w\x80-\U0010ffff]"
"""Pattern of what names are made of, in texts that :func:`only_names` has gone over."""
_FOREIGN = re.compile(r"[^A-Za-z0-9_-]+")
_STEM_LENGTH = 60


def normal_name(text: str) -> str:
    """Return a name in the form in which Python keeps it (NFKC): two spellings of one name are the same name."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def only_names(text: str) -> str:
    """Return `text` with a blank for every foreign character that no name has, all others where they were.

    ``str.isalnum`` and patterns do not take the vowel signs of Hindi and other scripts for parts of words.
    """
    if text.isascii():
        return text
    return "".join(letter if letter.isascii() or f"_{letter}".isidentifier() else " " for letter in text)


def file_stem(step: str) -> str:
    """Return how files that belong to a step are called, without their endings.

    A name in ASCII letters is its own; of any other name, a digest stands behind its ASCII part, because file systems
    differ in how long names may be and in which letters they take for the same. Two steps never share a file.
    """
    if step.isascii():
        return step
    plain = unicodedata.normalize("NFKD", step).encode("ascii", "ignore").decode()
    plain = _FOREIGN.sub("_", plain)[:_STEM_LENGTH].strip("_")
    digest = hashlib.sha256(step.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{plain}~{digest}"
