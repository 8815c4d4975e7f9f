"""TICKET -> OUTCOME: stage inputs in, run the step's notebook with papermill, store its outputs, diagnose failures."""
