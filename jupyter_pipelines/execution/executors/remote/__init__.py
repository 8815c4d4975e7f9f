"""Executors on clusters: steps are packed here, unpacked and run on a worker, and their outcomes brought back."""
