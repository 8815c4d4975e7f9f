"""A team's leases and list of records in a PostgreSQL database beside the store."""
