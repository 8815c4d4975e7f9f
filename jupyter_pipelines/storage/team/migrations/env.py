"""Brings the tables up to date over a connection that is open already; alembic runs this file."""

from __future__ import annotations

from alembic import context

from jupyter_pipelines.storage.team.database import VERSIONS

context.configure(connection=context.config.attributes["connection"], version_table=VERSIONS)
with context.begin_transaction():
    context.run_migrations()
