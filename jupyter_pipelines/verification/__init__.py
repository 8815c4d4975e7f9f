"""ORIGINAL + PIPELINE -> VERDICT: both run in fresh kernels, and what they show is compared cell by cell."""
