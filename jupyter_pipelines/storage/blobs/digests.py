"""Digests of files and folders, and when a cached digest is valid.

A digest begins with the name of its algorithm. Small contents have SHA-256 everywhere; large ones have BLAKE3 where the
package of that name is installed, which is several times as fast. Bytes are verified with the algorithm of their
digest; digests of different algorithms are never equal, so at worst a step runs again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from jupyter_pipelines.storage.files import filesystem_features
from jupyter_pipelines.storage.files.filesystem_features import WritebackPacer
from jupyter_pipelines.storage.files.stat_signature import StatSignature

SHA256 = "sha256"
BLAKE3 = "blake3"
LARGE = 1 << 20
"""Size in bytes from which a content counts as large."""

_DIGEST_PATTERN = re.compile(r"(?:sha256|blake3):[0-9a-f]{64}")
_BLOCK = 1 << 18
_PARALLEL = 16 << 20
_BLOCK_IN_PARALLEL = 8 << 20
_WRITE_BYTES = 1 << 20


class DigestCache(Protocol):
    """Cache of digests by path and stat signature (mark)."""

    def digest(self, path: str, mark: StatSignature) -> str | None:
        """Return the cached digest of `path`; None if it has none for this mark."""

    def digests(self, marks: Mapping[str, StatSignature]) -> Mapping[str, str]:
        """Return the cached digests of those paths that have one for their mark."""

    def remember(self, path: str, mark: StatSignature, digest: str, *, durable: bool = False) -> None:
        """Cache the digest of `path`; `durable`, which survives a reboot, only if the bytes are on the disk."""

    def remember_all(self, digests: Iterable[tuple[str, StatSignature, str, bool]]) -> None:
        """Cache the digests of many files at once: path, mark, digest, durable."""


class DeferredDigestCache:
    """Digest cache that reads through and collects writes for a single transaction at the end.

    Parameters
    ----------
    cache : DigestCache or None
        The cache.

    Attributes
    ----------
    pending : list of tuple
        Collected writes, in the form of :meth:`remember_all`.
    """

    def __init__(self, cache: DigestCache | None) -> None:
        self._cache = cache
        self.pending: list[tuple[str, StatSignature, str, bool]] = []

    def digest(self, path: str, mark: StatSignature) -> str | None:
        """Return what the cache has remembered."""
        return self._cache.digest(path, mark) if self._cache else None

    def digests(self, marks: Mapping[str, StatSignature]) -> Mapping[str, str]:
        """Return what the cache has remembered."""
        return self._cache.digests(marks) if self._cache else {}

    def remember(self, path: str, mark: StatSignature, digest: str, *, durable: bool = False) -> None:
        """Collect a digest for :meth:`finish`."""
        self.pending.append((path, mark, digest, durable))

    def remember_all(self, digests: Iterable[tuple[str, StatSignature, str, bool]]) -> None:
        """Collect digests for :meth:`finish`."""
        self.pending.extend(digests)

    def finish(self) -> None:
        """Write the collected digests to the cache."""
        if self._cache and self.pending:
            self._cache.remember_all(self.pending)
            self.pending = []


class IncrementalHash:
    """An incremental hash that chooses its algorithm by the size of the content.

    Parameters
    ----------
    algorithm : str or None
        The algorithm to use; None lets the size decide.
    threads : bool
        Hash each piece on several cores (BLAKE3 only); for small pieces that takes longer than it saves.
    """

    def __init__(self, algorithm: str | None = None, *, threads: bool = False) -> None:
        self._threads = threads
        self._head = bytearray()
        self._name = algorithm or SHA256
        self._hash = _new(algorithm, threads=threads) if algorithm else None

    def update(self, view: Any) -> None:
        """Add the bytes of `view`."""
        # The algorithm depends on the final size, which a stream does not know: up to LARGE bytes are kept.
        if self._hash is None and len(self._head) + len(view) < LARGE:
            self._head += view
        else:
            self._large_hash().update(view)

    def digest(self) -> str:
        """Return the digest of what was added so far."""
        if self._hash is None:
            return f"{SHA256}:{hashlib.sha256(self._head).hexdigest()}"
        return f"{self._name}:{self._hash.hexdigest()}"

    def _large_hash(self) -> Any:
        """Return the hash object of a large content; at first use the bytes kept so far are added to it."""
        if self._hash is None:
            self._name = algorithm_for_large()
            self._hash = _new(self._name, threads=self._threads)
            self._hash.update(self._head)
            self._head = bytearray()
        return self._hash


class HashingWriter:
    """A file that is hashed while it is written, so that its bytes are read only once.

    Parameters
    ----------
    file : BinaryIO
        Where the bytes go.
    pacer : WritebackPacer or None
        Starts the write-back of the file while it is written.

    Attributes
    ----------
    size : int
        How many bytes were written.
    error : OSError or None
        Error of a failed write; libraries such as Arrow wrap it into errors that do not have its errno.
    """

    closed = False
    mode = "wb"
    error: OSError | None

    def __init__(self, file: BinaryIO, pacer: WritebackPacer | None = None) -> None:
        self._file = file
        self._pacer = pacer
        self._hash = IncrementalHash()
        self.size = 0
        self.error = None

    def write(self, data: Any) -> int:
        """Write `data`, an object with the buffer protocol, and return its size in bytes."""
        view = memoryview(data).cast("B")
        # In blocks that stay in the processor's cache between the two: three times as fast as a gigabyte at once.
        for start in range(0, view.nbytes, _WRITE_BYTES):
            self._write(view[start : start + _WRITE_BYTES])
        return view.nbytes

    def _write(self, view: memoryview) -> None:
        self._hash.update(view)
        try:
            self._file.write(view)
        except OSError as error:
            self.error = error
            raise
        self.size += view.nbytes
        if self._pacer is not None:
            self._pacer.reached(self.size)

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self.size

    def flush(self) -> None:
        """Flush the buffer of the file to the operating system."""
        self._file.flush()

    def finish(self) -> None:
        """Flush the buffer and release reserved space; call it after the last write."""
        self._file.flush()
        if self._pacer is not None:
            self._pacer.finish(self.size)

    def readable(self) -> bool:
        """Return False."""
        return False

    def writable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return False: bytes that have been hashed cannot be overwritten."""
        return False

    def close(self) -> None:
        """Do nothing: the opener of the file closes it."""

    @property
    def digest(self) -> str:
        """Digest of what was written so far."""
        return self._hash.digest()


def is_digest(text: str) -> bool:
    """Tell whether `text` is a digest as this package writes them."""
    return _DIGEST_PATTERN.fullmatch(text) is not None


def algorithm_of(digest: str) -> str:
    """Return the name of the algorithm of `digest`."""
    return digest.partition(":")[0]


def is_known(algorithm: str) -> bool:
    """Tell whether digests of `algorithm` can be computed here."""
    return algorithm == SHA256 or (algorithm == BLAKE3 and _blake3() is not None)


def algorithm_for_large() -> str:
    """Return the algorithm for large contents."""
    return BLAKE3 if is_known(BLAKE3) else SHA256


def algorithm_for_size(size: int) -> str:
    """Return the algorithm for contents of `size` bytes."""
    return algorithm_for_large() if size >= LARGE else SHA256


@functools.cache
def _blake3() -> Any:
    try:
        from blake3 import blake3
    except ImportError:
        return None
    return blake3


def _new(algorithm: str, *, threads: bool) -> Any:
    if algorithm == BLAKE3 and is_known(BLAKE3):
        blake3 = _blake3()
        return blake3(max_threads=blake3.AUTO if threads else 1)
    return hashlib.new(algorithm)


def digest_bytes(content: bytes) -> str:
    """Return the digest of `content`."""
    hasher = IncrementalHash()
    hasher.update(content)
    return hasher.digest()


def digest_file(path: Path, cache: DigestCache | None = None) -> str:
    """Return the digest of the bytes of the file `path`; links are followed.

    Parameters
    ----------
    path : Path
        The file.
    cache : DigestCache or None
        Where digests are remembered. A digest is valid while inode, size, mtime and ctime are the same, and was only
        remembered if a later change was sure to show in them.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    with path.open("rb") as file:
        return digest_open(file, os.path.abspath(path), cache)


def cached_digests(paths: Iterable[Path], cache: DigestCache | None) -> dict[Path, str]:
    """Return the digests of those files that the cache knows, in a single query."""
    candidates = {}
    for path in paths if cache else ():
        with contextlib.suppress(OSError):
            status = path.stat()
            if stat.S_ISREG(status.st_mode):
                candidates[path] = (os.path.abspath(path), StatSignature.of(status))
    cached = cache.digests(dict(candidates.values())) if cache else {}
    return {path: cached[name] for path, (name, mark) in candidates.items() if _is_usable(cached.get(name), mark, None)}


def digest_files(names: Iterable[str], cache: DigestCache) -> dict[str, str]:
    """Return the digests of files by their absolute names; those that are no files or unreadable are left out."""
    marks = {}
    for name in names:
        with contextlib.suppress(OSError):
            status = os.stat(name)
            if stat.S_ISREG(status.st_mode):
                marks[name] = StatSignature.of(status)
    digests = {name: digest for name, digest in cache.digests(marks).items() if _is_usable(digest, marks[name], None)}
    collected = DeferredDigestCache(None)
    for name in marks.keys() - digests.keys():
        with contextlib.suppress(OSError), open(name, "rb", buffering=0) as file:
            digests[name] = digest_open(file, name, collected)
    cache.remember_all(collected.pending)
    return digests


def digest_open(
    file: BinaryIO, name: str, cache: DigestCache | None, algorithm: str | None = None, *, sealed: bool = False
) -> str:
    """Return the digest of the open file `file`, cached under `name`; the file position is undefined afterwards.

    Parameters
    ----------
    file : BinaryIO
        The file.
    name : str
        Its name in `cache`.
    cache : DigestCache or None
        Where digests are remembered.
    algorithm : str or None
        The algorithm to use; None lets the size decide.
    sealed : bool
        The file is read-only: if it is large, its cached digest stays valid after a reboot.
    """
    status = os.fstat(file.fileno())
    mark = StatSignature.of(status)
    cached_digest = cache.digest(name, mark) if cache else None
    if _is_usable(cached_digest, mark, algorithm):
        return str(cached_digest)
    # Before the bytes are read: a change during the reading must count as later than the cutoff.
    cutoff = filesystem_features.mtime_cutoff(status.st_dev)
    digest = _hash(file, algorithm or algorithm_for_size(mark.size), mark.size)
    if cache and mark.is_stable(cutoff) and StatSignature.of(os.fstat(file.fileno())) == mark:
        cache.remember(name, mark, digest, durable=sealed and mark.size >= LARGE and _is_on_disk(file))
    return digest


def _is_on_disk(file: BinaryIO) -> bool:
    """Flush a file (fsync) and tell whether that worked; blobs are nearly always on the disk already."""
    try:
        os.fsync(file.fileno())
    except OSError:
        return False
    return True


def _is_usable(digest: str | None, mark: StatSignature, algorithm: str | None) -> bool:
    """Tell whether a cached digest has the requested algorithm, by default that of the file's size."""
    return digest is not None and algorithm_of(digest) == (algorithm or algorithm_for_size(mark.size))


def _hash(file: BinaryIO, algorithm: str, size: int) -> str:
    hasher = IncrementalHash(algorithm, threads=size >= _PARALLEL)
    blocks: Iterator[Any] = _blocks(file, _BLOCK) if size < _PARALLEL else _read_ahead_blocks(file)
    for block in blocks:
        hasher.update(block)
    return hasher.digest()


def _blocks(file: BinaryIO, size: int) -> Iterator[memoryview]:
    block = memoryview(bytearray(size))
    # One buffer for the whole file; each block is hashed before the next is read into it.
    while read := file.readinto(block):  # type: ignore[attr-defined]
        yield block[:read]


def _read_ahead_blocks(file: BinaryIO) -> Iterator[memoryview]:
    """Yield a large file block by block, while another thread reads the next block."""
    from concurrent.futures import ThreadPoolExecutor

    read = file.readinto  # type: ignore[attr-defined]
    current, following = memoryview(bytearray(_BLOCK_IN_PARALLEL)), memoryview(bytearray(_BLOCK_IN_PARALLEL))
    with ThreadPoolExecutor(1) as reader:
        # Reading and hashing both release the GIL, so two threads and two buffers overlap disk and CPU.
        size = read(current)
        while size:
            next_read = reader.submit(read, following)
            yield current[:size]
            size = next_read.result()
            current, following = following, current
