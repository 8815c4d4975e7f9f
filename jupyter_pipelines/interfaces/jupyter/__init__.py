"""Magics, widgets and displays in a live notebook."""
