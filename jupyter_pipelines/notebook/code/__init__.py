"""Analyze the Python of cells: names read and bound, dataflow, files read, modules imported, shared code."""
