"""CELLS -> STEPS: drafts, producers of names, shared code, dependencies, inferred interfaces."""
