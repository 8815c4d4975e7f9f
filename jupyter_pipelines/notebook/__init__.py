"""Notebook <-> pipeline: the only room that knows what a notebook file looks like."""
