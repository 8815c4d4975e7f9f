"""Runs as others see them: events, results, history, detached runs, and requests that a run stops."""
