"""``python -m tests.errors [CODE…]`` writes what is said now into the page of error codes. Read the difference."""

from __future__ import annotations

import sys

from tests.errors.saying import write_page
from tests.errors.scenarios import SCENARIOS

write_page(sys.argv[1:] or list(SCENARIOS))
