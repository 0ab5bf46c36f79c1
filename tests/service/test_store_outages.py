"""Databases that are locked, full, read-only, broken, frozen, killed or cut off.

Whatever it is, the store says so with one error, changes nothing by halves, and works again when
the database does.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cutting_proxy import CuttingProxy
from databases import PostgreSQLDatabases, new_job
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError

from minidl.service.states import AttemptState, JobState, Role
from minidl.service.store import Store, StoreUnavailableError
from minidl.service.store.engine import Database

pytest_plugins = ["databases"]

PATIENCE = 0.3


@pytest.fixture
def sqlite_store(sqlite_url: str, open_store: Callable[..., Store]) -> Store:
    return open_store(sqlite_url, patience=PATIENCE)


@pytest.fixture
def server_store(postgresql_url: str, open_store: Callable[..., Store]) -> Store:
    return open_store(postgresql_url, patience=PATIENCE)


def submit(store: Store, **changes: Any) -> Any:
    return store.submit(new_job(**changes), actor="ada")


@contextmanager
def before_the_insert(store: Store, act: Callable[[int], None]) -> Iterator[None]:
    """Call ``act`` with the server's process when a transaction is about to write a job."""

    def watch(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO jobs"):
            driver: Any = connection.connection.dbapi_connection
            act(driver.info.backend_pid)

    event.listen(store.database.engine, "before_cursor_execute", watch)
    yield
    event.remove(store.database.engine, "before_cursor_execute", watch)


def assert_nothing_lost(store: Store, acknowledged: list[str]) -> None:
    assert sorted(job.id for job in store.jobs(limit=1000).items) == sorted(acknowledged)
    submitted = [event.job_id for event in store.events() if event.kind == "submitted"]
    assert submitted == acknowledged  # no event of what was not committed


def refused(call: Callable[[], Any], message: str, *, within: float = 10.0) -> None:
    begin = time.monotonic()
    with pytest.raises(StoreUnavailableError, match=message):
        call()
    assert time.monotonic() - begin < within


def test_sqlite_locked_by_another(sqlite_store: Store) -> None:
    known = submit(sqlite_store)[0].id
    other = sqlite3.connect(sqlite_store.database.file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        refused(lambda: submit(sqlite_store), "service.db cannot be used: database is locked")
        refused(lambda: sqlite_store.lead("me"), "database is locked")
        assert sqlite_store.job(known).id == known  # who reads is not held up
        sqlite_store.ping()
    finally:
        other.close()
    assert_nothing_lost(sqlite_store, [known, submit(sqlite_store)[0].id])
    with sqlite_store.lead("me") as leader:  # what could not lead let go of the lock
        leader.check()


def test_sqlite_disk_full(sqlite_store: Store) -> None:
    """What a process gets to see that may write no further: of the log, and of the database."""
    known = [submit(sqlite_store)[0].id for _ in range(3)]
    token = sqlite_store.create_token(user="ada", role=Role.READ, actor="root")[1]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    wal = Path(f"{sqlite_store.database.file}-wal")
    resource.setrlimit(resource.RLIMIT_FSIZE, (wal.stat().st_size + 5000, hard))
    try:
        for _ in range(3):
            refused(lambda: submit(sqlite_store), "service.db cannot be used: disk I/O error")
        assert sqlite_store.job(known[0]).id == known[0]
        assert sqlite_store.authenticate(token) is not None  # its use is not noted
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_nothing_lost(sqlite_store, [*known, submit(sqlite_store)[0].id])


@pytest.mark.parametrize(
    ("pragma", "message"),
    [
        ("query_only=ON", "attempt to write a readonly database"),
        ("max_page_count=1", "database or disk is full"),  # no less than it has
    ],
)
def test_sqlite_that_takes_no_more(sqlite_store: Store, pragma: str, message: str) -> None:
    known = submit(sqlite_store)[0].id
    sqlite_store.database.engine.dispose()

    def limit(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute(f"PRAGMA {pragma}")

    event.listen(sqlite_store.database.engine, "connect", limit)
    refused(lambda: submit(sqlite_store, config_text="#" * 2**18), message)
    event.remove(sqlite_store.database.engine, "connect", limit)
    sqlite_store.database.engine.dispose()
    assert_nothing_lost(sqlite_store, [known, submit(sqlite_store)[0].id])


def test_sqlite_broken(sqlite_store: Store, open_store: Callable[..., Store]) -> None:
    file = sqlite_store.database.file
    sqlite_store.close()
    file.write_bytes(b"no database at all" * 1000)
    refused(lambda: open_store(f"sqlite:///{file}"), "file is not a database")
    file.unlink()
    file.mkdir()
    refused(lambda: open_store(f"sqlite:///{file}"), "unable to open database file")


def test_sqlite_where_no_file_can_be(tmp_path: Path, open_store: Callable[..., Store]) -> None:
    (tmp_path / "file").touch()
    refused(lambda: open_store(f"sqlite:///{tmp_path}/file/service.db"), "File exists")
    refused(lambda: open_store(f"sqlite:///{tmp_path}/file/data/service.db"), "Not a directory")


def test_all_connections_are_busy(server_store: Store) -> None:
    with ExitStack() as held:
        for _ in range(40):
            held.enter_context(server_store.database.engine.connect())
        refused(server_store.ping, "does not answer: all connections are busy")
    server_store.ping()


def test_a_thread_that_takes_too_long(job_store: Store) -> None:
    job_store.database.patience = PATIENCE
    with job_store.database.write():
        caught = []

        def go() -> None:
            try:
                submit(job_store)
            except StoreUnavailableError as error:
                caught.append(str(error))

        thread = threading.Thread(target=go)
        thread.start()
        thread.join()
    assert "does not answer: others have been writing for 0.3 s" in caught[0]
    assert_nothing_lost(job_store, [submit(job_store)[0].id])


def test_postgresql_ends_the_connection_in_mid_transaction(
    server_store: Store, postgresql_databases: PostgreSQLDatabases
) -> None:
    known = submit(server_store)[0].id

    def terminate(process: int) -> None:
        postgresql_databases.execute(f"SELECT pg_terminate_backend({process}, 9000)")

    with before_the_insert(server_store, terminate):
        refused(lambda: submit(server_store), "terminating connection|server closed the connec")
    assert_nothing_lost(server_store, [known, submit(server_store)[0].id])


def test_postgresql_freezes_in_mid_transaction(server_store: Store) -> None:
    known = submit(server_store)[0].id
    frozen = []

    def freeze(process: int) -> None:
        os.kill(process, signal.SIGSTOP)
        frozen.append(process)

    try:
        with before_the_insert(server_store, freeze):
            refused(lambda: submit(server_store), "cannot be used: no answer within 1.6 s")
        assert server_store.job(known).id == known  # others read on
        refused(lambda: submit(server_store), "canceling statement due to lock timeout")
    finally:
        for process in frozen:
            os.kill(process, signal.SIGCONT)
    again = try_until_it_works(lambda: submit(server_store)[0].id)
    assert_nothing_lost(server_store, [known, again])


def try_until_it_works(call: Callable[[], Any]) -> Any:
    end = time.monotonic() + 120
    while True:
        try:
            return call()
        except StoreUnavailableError:
            assert time.monotonic() < end


def test_postgresql_goes_down_and_comes_back(
    server_store: Store, postgresql_databases: PostgreSQLDatabases
) -> None:
    known = submit(server_store)[0].id
    with server_store.lead("me") as leader:
        leader.begin_attempt(known, executor="local", host="here")
        postgresql_databases.server.stop()
        try:
            for call in (
                lambda: submit(server_store),
                server_store.ping,
                leader.check,
                lambda: leader.note(known, progress={"step": 1}),
                lambda: server_store.lead("you"),
                lambda: server_store.authenticate("minidl_1_2"),
            ):
                refused(call, r"postgresql\+psycopg://mlflow@127.0.0.1:\d+/minidl_\S+ cannot be us")
        finally:
            postgresql_databases.server.start()
        leader.check()
        leader.note(known, progress={"step": 1})
        assert [(job.id, job.progress) for job, _ in leader.active()] == [(known, {"step": 1})]
        assert server_store.lead("you") is None
    assert_nothing_lost(server_store, [known])


def test_postgresql_is_read_only(
    server_store: Store, postgresql_url: str, postgresql_databases: PostgreSQLDatabases
) -> None:
    known = submit(server_store)[0].id
    alter = f"ALTER DATABASE {postgresql_url.rpartition('/')[2]} SET default_transaction_read_only"
    postgresql_databases.execute(f"{alter} = on")
    server_store.database.engine.dispose()
    refused(lambda: submit(server_store), "cannot execute INSERT in a read-only transaction")
    assert server_store.job(known).id == known
    postgresql_databases.execute(f"{alter} = off")
    server_store.database.engine.dispose()
    assert_nothing_lost(server_store, [known, submit(server_store)[0].id])


@pytest.mark.slow
def test_postgresql_disk_full(
    open_store: Callable[..., Store], postgresql_url: str, postgresql_databases: PostgreSQLDatabases
) -> None:
    """Its process may let files grow no further than a segment of its log: a big row is too big."""
    store = open_store(postgresql_url)  # patient: 20 MB take a moment
    known = submit(store)[0].id
    big = random.Random(0).randbytes(2**23 + 2**21).hex()

    def limit(process: int) -> None:
        command = f"prlimit --pid {process} --fsize={2**24}:"  # run by the server: it may
        postgresql_databases.execute(f"COPY (SELECT 1) TO PROGRAM '{command}'")

    with before_the_insert(store, limit):
        refused(lambda: submit(store, config_text=big), "could not extend file", within=60)
    store.database.engine.dispose()
    assert_nothing_lost(store, [known, submit(store)[0].id])


def test_postgresql_writer_that_went_to_sleep(server_store: Store, postgresql_url: str) -> None:
    """Another service, frozen in mid-transaction, is thrown out by the server's clock."""
    other = Database(postgresql_url, patience=PATIENCE)
    with other.write() as sleeper:
        refused(lambda: submit(server_store), "canceling statement due to lock timeout")
        known = try_until_it_works(lambda: submit(server_store)[0].id)
        with pytest.raises(DBAPIError, match="idle-in-transaction timeout"):
            sleeper.connection.execute(text("SELECT 1"))
        sleeper.connection.rollback()
    other.close()
    assert_nothing_lost(server_store, [known])


@pytest.fixture
def proxy(postgresql_url: str) -> Iterator[CuttingProxy]:
    proxy = CuttingProxy(postgresql_url)
    yield proxy
    proxy.close()


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_submission_whose_commit_went_unanswered_is_repeated_safely(
    proxy: CuttingProxy, open_store: Callable[..., Store], cut: Any
) -> None:
    store = open_store(proxy.url)
    known = submit(store, idempotency_key="first")[0].id
    proxy.cut = cut
    refused(lambda: submit(store, idempotency_key="second"), "cannot be used: ")
    job, is_new = submit(store, idempotency_key="second")
    assert is_new == (cut == "before")
    assert_nothing_lost(store, [known, job.id])


@pytest.mark.parametrize("cut", ["before", "after"])
def test_an_end_whose_commit_went_unanswered_is_said_again(
    proxy: CuttingProxy, open_store: Callable[..., Store], cut: Any
) -> None:
    store = open_store(proxy.url)
    job = submit(store, max_retries=1)[0].id
    with store.lead("me") as leader:
        attempt = leader.begin_attempt(job, executor="local", host="here")

        def end() -> Any:
            return leader.end_attempt(
                attempt,
                state=AttemptState.FAILED,
                job_state=JobState.QUEUED,
                exit_status=1,
                count_retry=True,
                run_seconds=2.0,
            )

        proxy.cut = cut
        refused(end, "cannot be used: ")
        ended = end()
    assert (ended.state, ended.retries_used, ended.run_seconds) == (JobState.QUEUED, 1, 2.0)
    assert [e.kind for e in store.events(job_id=job)].count("attempt_ended") == 1


def test_options_of_the_address_are_kept(
    postgresql_url: str, open_store: Callable[..., Store]
) -> None:
    """For example a schema of its own in a database that others use too."""
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA minidl")
    store = open_store(f"{postgresql_url}?options=-csearch_path%3Dminidl")
    submit(store)
    with psycopg.connect(postgresql_url) as connection:
        for schema, count in (("minidl", 1), ("public", 0)):
            row = connection.execute(f"SELECT count(*) FROM {schema}.jobs").fetchone()
            assert row == (count,)


def test_messages_have_no_secret(postgresql_url: str, open_store: Callable[..., Store]) -> None:
    """The statement and its values, which SQLAlchemy puts into its errors, are not repeated."""
    store = open_store(postgresql_url.replace("mlflow@", "mlflow:geheim@"), patience=PATIENCE)

    def terminate(process: int) -> None:
        with psycopg.connect(postgresql_url, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(%s, 9000)", [process])

    with before_the_insert(store, terminate), pytest.raises(StoreUnavailableError) as caught:
        submit(store, config_text="password: hunter2")
    said = str(caught.value)
    assert "geheim" not in said
    assert "hunter2" not in said
    assert "INSERT" not in said
