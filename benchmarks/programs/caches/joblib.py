"""A text that is computed and stored by joblib's Memory, as it is by default."""

import hashlib
import sys

sys.path.pop(0)  # this file has the name of the package
from joblib import Memory

memory = Memory(sys.argv[1], verbose=0)


@memory.cache
def work(size: int) -> str:
    """Return a text."""
    return "abc" * size


sys.stdout.write(hashlib.sha256(work(5000).encode()).hexdigest())
