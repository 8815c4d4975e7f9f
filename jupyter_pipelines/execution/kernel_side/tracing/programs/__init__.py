"""The programs that a step starts, and what is known of what they do."""
