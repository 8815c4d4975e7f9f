"""Alembic environment: runs the migrations over an open connection."""

from __future__ import annotations

from alembic import context

from jupyter_pipelines.storage.team.database import VERSIONS

context.configure(connection=context.config.attributes["connection"], version_table=VERSIONS)
with context.begin_transaction():
    context.run_migrations()
