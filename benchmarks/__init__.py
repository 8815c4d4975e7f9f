"""Benchmarks: this project and its peers on the same workloads (``make bench``)."""
