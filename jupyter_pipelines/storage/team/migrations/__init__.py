"""Migrations of the team database, for Alembic."""
