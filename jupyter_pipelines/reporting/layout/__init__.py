"""Layered graph layout as numbers: layers, crossings, coordinates, lanes."""
