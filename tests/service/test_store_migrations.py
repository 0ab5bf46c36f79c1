"""The migrations: they make what the tables say, can be taken back, and are done once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from databases import PostgreSQLDatabases, new_job
from sqlalchemy import inspect, text

from minidl.service.migrations import downgrade, upgrade
from minidl.service.store import Store, StoreUnavailableError
from minidl.service.store.engine import Database, parse
from minidl.service.tables import metadata

pytest_plugins = ["databases"]


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A database without a table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    databases: PostgreSQLDatabases = request.getfixturevalue("postgresql_databases")
    name = databases.make(template="template1")
    yield databases.url_of(name)
    databases.drop(name)


def test_they_make_what_the_tables_say_and_can_be_taken_back(empty_url: str) -> None:
    database = Database(empty_url)
    for _ in range(2):
        with database.write() as transaction:
            upgrade(transaction.connection)
        with database.read() as transaction:
            context = MigrationContext.configure(transaction.connection)
            assert compare_metadata(context, metadata) == []
            names = set(inspect(transaction.connection).get_table_names())
            assert names == {"alembic_version", *metadata.tables}
            for name, table in metadata.tables.items():
                made = inspect(transaction.connection).get_indexes(name)
                assert {index["name"] for index in made} == {i.name for i in table.indexes}
        with database.write() as transaction:
            downgrade(transaction.connection, "base")
        with database.read() as transaction:
            assert inspect(transaction.connection).get_table_names() == ["alembic_version"]
    database.close()


def test_jobs_from_before_there_were_ranks_have_one(
    empty_url: str, open_store: Callable[..., Store]
) -> None:
    store = open_store(empty_url)
    job = store.submit(new_job(), actor="ada")[0].id
    with store.database.write() as transaction:
        downgrade(transaction.connection, "0001")
    store.close()
    again = open_store(empty_url)
    assert again.job(job).ranks == 1
    assert again.job(again.submit(new_job(ranks=3), actor="ada")[0].id).ranks == 3


OPEN = """
import sys
from pathlib import Path
from minidl.service.store import Store
store = Store.open(sys.argv[1], data=Path(sys.argv[2]))
print(store.ensure_admin() is not None)
store.close()
"""


def test_services_that_start_at_once(empty_url: str, tmp_path: Path, open_store: Any) -> None:
    command = [sys.executable, "-c", OPEN, empty_url, str(tmp_path / "data")]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(process.communicate(timeout=240)[0].strip() for process in started)
    assert said == ["False", "True"]
    store = open_store(empty_url)
    assert len(store.tokens()) == 1
    with store.database.read() as transaction:
        versions = transaction.connection.execute(text("SELECT * FROM alembic_version")).all()
    assert len(versions) == 1


def test_a_migration_that_is_cut_off_leaves_nothing(
    empty_url: str, tmp_path: Path, open_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        from alembic.operations import Operations

        create = Operations.create_table

        def fail(self: Any, name: str, *arguments: Any, **keywords: Any) -> Any:
            if name == "attempts":
                raise KeyboardInterrupt
            return create(self, name, *arguments, **keywords)

        patch.setattr(Operations, "create_table", fail)
        with pytest.raises(KeyboardInterrupt):
            open_store(empty_url)
    database = Database(empty_url)
    with database.read() as transaction:
        assert inspect(transaction.connection).get_table_names() == []
    database.close()
    assert open_store(empty_url).jobs().items == []


def test_a_database_of_a_newer_minidl_is_left_alone(job_store: Store, open_store: Any) -> None:
    job_store.submit(new_job(), actor="ada")
    with job_store.database.write() as transaction:
        transaction.connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    url = job_store.database.url.render_as_string(hide_password=False)
    with pytest.raises(ValueError, match=r"of revision '9999', which this minidl does not know"):
        open_store(url)
    assert len(job_store.jobs().items) == 1


WRONG = [
    ("service.db", "a database's address is sqlite:///FILE or postgresql://user@host/database"),
    ("mysql://me:secret@host/db", r"got 'mysql://me:\*\*\*@host/db'"),
    ("sqlite://", "names no file"),
    ("sqlite:///:memory:", "names no file"),
]


@pytest.mark.parametrize(("url", "message"), WRONG)
def test_addresses_that_are_none(url: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        Store.open(url, data=tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_the_password_is_not_told(tmp_path: Path) -> None:
    url = "postgresql://me:secret@127.0.0.1:1/jobs"
    assert parse(url).render_as_string(hide_password=False).startswith("postgresql+psycopg://me:s")
    with pytest.raises(StoreUnavailableError) as caught:
        Store.open(url, data=tmp_path / "data", patience=1.0)
    assert "secret" not in str(caught.value)
    assert "me:***@127.0.0.1:1/jobs cannot be used: connection failed" in str(caught.value)
