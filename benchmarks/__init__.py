"""Measures this project beside its peers, on the same work: ``make bench``."""
