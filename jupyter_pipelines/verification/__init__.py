"""ORIGINAL + PIPELINE -> VERDICT: run both in fresh kernels, and compare their outputs cell by cell."""
