"""Leases, so that one process at a time computes a key."""
