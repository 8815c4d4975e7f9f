"""PIPELINE + STORE -> PLAN: what runs, what is reused, and why. Pure: the store is passed in."""
