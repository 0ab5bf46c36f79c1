"""What Alembic runs for each of its commands.

The service hands its connection over. A new step is made from what tables.py and a scratch
database differ in: ``upgrade`` one, change tables.py, and call
``alembic.command.revision(settings(connection), "what it does", autogenerate=True)``.
"""

from __future__ import annotations

from alembic import context

from minidl.service.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=connection.dialect.name == "sqlite",  # it cannot alter most of a table
    transactional_ddl=True,  # ours: the whole migration is in the caller's transaction
)
context.run_migrations()
