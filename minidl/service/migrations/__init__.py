"""The tables as they came to be, step by step, applied by Alembic when the service starts.

All steps that a database lacks are done in one transaction, which holds the lock of writers: of two
services that start at once, one makes the tables and the other finds them made; and a service that
is killed meanwhile leaves the database as it was. How a new step is made stands in
``env.py``; one that has been released is never changed.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection

if TYPE_CHECKING:
    from alembic.config import Config

#: Alembic keeps the migration that is running in global variables.
_one_at_a_time = threading.Lock()


def upgrade(connection: Connection) -> None:
    """Bring a database's tables up to date, in the connection's transaction.

    Raises
    ------
    ValueError
        A newer minidl made the database.
    """
    from alembic import command
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = settings(connection)
    revision = MigrationContext.configure(connection).get_current_revision()
    scripts = ScriptDirectory.from_config(config)
    known = {script.revision for script in scripts.walk_revisions()}
    if revision is not None and revision not in known:
        raise ValueError(
            f"the database's tables are of revision {revision!r}, which this minidl does not know: "
            "a newer one made them, and is needed to read them"
        )
    if revision != scripts.get_current_head():
        with _one_at_a_time:
            command.upgrade(config, "head")


def downgrade(connection: Connection, revision: str) -> None:
    """Take steps back, down to a revision or ``base``."""
    from alembic import command

    with _one_at_a_time:
        command.downgrade(settings(connection), revision)


def settings(connection: Connection | None = None) -> Config:
    """Return Alembic's settings, which need no file."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
