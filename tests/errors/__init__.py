"""Every error code: how a user meets it, and what it says."""
