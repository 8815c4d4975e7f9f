"""PLAN -> RUN: events and a pure machine, one impure loop around it, and workers that turn tickets into outcomes."""
