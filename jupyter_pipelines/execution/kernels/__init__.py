"""Kernels of steps: private sockets, a process group of their own, an end that is known, and nothing left behind."""
