"""``python -m tests.errors [CODE…]`` writes the current messages into the page of error codes. Read the difference."""

from __future__ import annotations

import sys

from tests.errors.error_scenarios import SCENARIOS
from tests.errors.messages import write_page

write_page(sys.argv[1:] or list(SCENARIOS))
