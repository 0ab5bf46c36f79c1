"""The tables, in SQLAlchemy Core. Columns bear the names of the records' fields.

The config of a job lies in a table of its own, so that lists do not read it. Labels lie beside
their job, to be read with it, and in a table of their own, to be found by. ``migrations`` makes
the tables; a test holds the two together.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: SQLite counts by itself only what is called INTEGER.
_SERIAL = BigInteger().with_variant(Integer(), "sqlite")

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("name", Text),
    Column("owner", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("stop_reason", String(16)),
    Column("error", Text),
    Column("labels", JSON, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("timeout", Double),
    Column("max_retries", Integer, nullable=False),
    Column("ranks", Integer, nullable=False, server_default="1"),
    Column("retries_used", Integer, nullable=False, default=0),
    Column("idle_interruptions", Integer, nullable=False, default=0),
    Column("created_at", Double, nullable=False),
    Column("queued_at", Double, nullable=False),
    Column("started_at", Double),
    Column("ended_at", Double),
    Column("attempts", Integer, nullable=False, default=0),
    Column("run_seconds", Double, nullable=False, default=0.0),
    Column("executor", String(32)),
    Column("progress", JSON, nullable=False),
    Column("result", JSON, nullable=False),
    Column("mlflow", JSON(none_as_null=True)),
    Column("mode", String(16), nullable=False),
    Column("overrides", JSON, nullable=False),
    Column("not_before", Double),
    Column("files_removed_at", Double),
    Column("idempotency_key", Text),
    Column("submission_digest", String(64)),
)
# Lists are newest first, and ids grow with time: the primary key serves where nothing is asked for.
Index(None, jobs.c.state, jobs.c.id)
Index(None, jobs.c.owner, jobs.c.id)
Index(None, jobs.c.kind, jobs.c.id)
Index("ix_jobs_queue", jobs.c.state, jobs.c.priority.desc(), jobs.c.queued_at, jobs.c.id)
Index("ix_jobs_ended", jobs.c.state, jobs.c.ended_at)
Index("uq_jobs_idempotency_key", jobs.c.owner, jobs.c.idempotency_key, unique=True)

configs = Table(
    "configs",
    metadata,
    Column("job_id", ForeignKey(jobs.c.id, ondelete="CASCADE"), primary_key=True),
    Column("text", Text, nullable=False),
    Column("resolved", JSON, nullable=False),
)

labels = Table(
    "labels",
    metadata,
    Column("job_id", ForeignKey(jobs.c.id, ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
Index(None, labels.c.key, labels.c.value, labels.c.job_id)

attempts = Table(
    "attempts",
    metadata,
    Column("job_id", ForeignKey(jobs.c.id, ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("state", String(16), nullable=False),
    Column("executor", String(32), nullable=False),
    Column("handle", Text),
    Column("host", Text, nullable=False),
    Column("mode", String(16), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("ended_at", Double),
    Column("exit_status", Integer),
    Column("cause", Text),
    Column("error", Text),
    Column("first_step", BigInteger),
    Column("last_step", BigInteger),
)
# Whatever the code does: of the attempts of a job at most one lives.
Index(
    "uq_attempts_living",
    attempts.c.job_id,
    unique=True,
    sqlite_where=attempts.c.ended_at.is_(None),
    postgresql_where=attempts.c.ended_at.is_(None),
)

events = Table(
    "events",
    metadata,
    Column("id", _SERIAL, primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("actor", Text, nullable=False),
    Column("job_id", String(16)),  # no foreign key: events outlive their job
    Column("data", JSON, nullable=False),
    sqlite_autoincrement=True,  # an id never comes twice, even after the newest rows went
)
Index(None, events.c.job_id, events.c.id)

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("user", Text, nullable=False),
    Column("role", String(16), nullable=False),
    Column("label", Text),
    Column("digest", String(64), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
    Column("last_used_at", Double),
)

leadership = Table(
    "leadership",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("holder", Text, nullable=False),
    Column("since", Double, nullable=False),
)
