"""Notebooks, files and neighbours that mean harm."""
