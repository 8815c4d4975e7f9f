"""Pipeline + what is stored -> plan: what runs, what is reused, and why. Pure: the store is handed in."""
