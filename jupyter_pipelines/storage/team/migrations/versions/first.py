"""The first tables: records and claims."""

from __future__ import annotations

from alembic import op

revision = "1"
down_revision = None

_TABLES = """
CREATE TABLE jupyter_pipelines_records (
    store TEXT NOT NULL, key TEXT NOT NULL, step TEXT NOT NULL, notebook TEXT, created TEXT NOT NULL,
    PRIMARY KEY (store, key)
);
CREATE INDEX jupyter_pipelines_records_by_step ON jupyter_pipelines_records (store, step, created);
CREATE SEQUENCE jupyter_pipelines_grants;
CREATE TABLE jupyter_pipelines_claims (
    store TEXT NOT NULL, key TEXT NOT NULL, number BIGINT NOT NULL, owner TEXT NOT NULL,
    until TIMESTAMPTZ NOT NULL, PRIMARY KEY (store, key)
)
"""


def upgrade() -> None:
    """Create the tables."""
    for statement in _TABLES.split(";"):
        op.execute(statement)
