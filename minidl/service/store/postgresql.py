"""PostgreSQL, told not to keep anyone waiting for ever.

The server's own timeouts end what waits for a lock, and what an absent client left open. They do
nothing where the server itself is frozen, or a network swallows what is sent: for that the
connection here counts the seconds by itself, which psycopg does for connecting only.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from typing import Any

import psycopg
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL

from minidl.train.strict_json import strict_json


class PatientConnection(psycopg.Connection[Any]):
    """A connection that is closed when its server has not answered for ``patience`` seconds."""

    patience = math.inf

    def wait(self, gen: Generator[Any, Any, Any], *arguments: Any, **settings: Any) -> Any:
        """Let psycopg talk with the server, for some time."""
        return super().wait(self._bounded(gen), *arguments, **settings)

    def _bounded(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        end = time.monotonic() + self.patience
        try:
            waits_for = next(gen)
            while True:
                ready = yield waits_for
                if not ready and time.monotonic() > end:
                    self.close()
                    raise psycopg.OperationalError(f"no answer within {self.patience:g} s")
                waits_for = gen.send(ready)
        except StopIteration as done:
            return done.value


def postgresql_engine(url: URL, *, patience: float) -> Engine:
    """Return connections to a PostgreSQL server."""
    milliseconds = math.ceil(patience * 1000)
    settings = {
        "synchronous_commit": "on",  # whatever the server's default: a commit is on disk
        "lock_timeout": milliseconds,
        "statement_timeout": 2 * milliseconds,
        # A service that is frozen in mid-transaction does not keep the others from writing,
        "idle_in_transaction_session_timeout": 2 * milliseconds,
        # and one whose machine went down without a word lets go of the scheduler's lock.
        "tcp_keepalives_idle": 20,
        "tcp_keepalives_interval": 5,
        "tcp_keepalives_count": 3,
    }
    asked = url.normalized_query.get("options", ())  # for example a schema: kept
    engine = create_engine(
        url,
        connect_args={
            "connect_timeout": max(2, math.ceil(patience)),  # libpq takes 1 for 2
            "application_name": "minidl service",
            "options": " ".join([*asked, *(f"-c {k}={v}" for k, v in settings.items())]),
        },
        isolation_level="READ COMMITTED",
        pool_size=8,
        max_overflow=32,
        pool_timeout=patience,
        pool_pre_ping=True,
        json_serializer=strict_json,
    )

    @event.listens_for(engine, "do_connect")
    def connect(
        _dialect: object, _record: object, arguments: Any, keywords: Any
    ) -> PatientConnection:
        connection = PatientConnection.connect(*arguments, **keywords)
        # More than the server takes to say by itself what holds it up.
        connection.patience = 2 * patience + 1
        return connection

    return engine
