"""Trace what a step does while it runs: files read, names looked for, folders listed, environment variables."""
