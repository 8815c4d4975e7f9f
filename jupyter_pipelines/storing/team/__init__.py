"""Records for a team: who computes what, and what there is, in a PostgreSQL database beside the store."""
