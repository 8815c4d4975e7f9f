"""The scheduler: a pure state machine (events in, commands out) and the one loop around it."""
