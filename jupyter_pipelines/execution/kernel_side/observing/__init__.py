"""Trace what each cell of a notebook really did, from inside its kernel."""
