"""Checks of a whole notebook before anything runs: names, order, items, global state."""
