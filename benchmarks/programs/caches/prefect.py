"""A text that is computed and stored by a Prefect task whose results persist."""

import hashlib
import sys

sys.path.pop(0)  # this file has the name of the package
from prefect import task
from prefect.cache_policies import INPUTS


@task(persist_result=True, cache_policy=INPUTS)
def work(size: int) -> str:
    """Return a text."""
    return "abc" * size


sys.stdout.write(hashlib.sha256(work(5000).encode()).hexdigest())
