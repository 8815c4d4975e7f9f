"""PLAN -> RUN: a scheduler that is a pure state machine, an impure loop around it, and workers that run tickets."""
