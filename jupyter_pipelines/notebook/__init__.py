"""Notebook <-> pipeline: the only package that knows what a notebook file looks like."""
