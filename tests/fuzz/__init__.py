"""Anything at all as input: only errors with a code come out."""
