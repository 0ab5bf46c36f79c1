"""Databases for the service's tests: SQLite files, and databases of a real PostgreSQL server.

A test module that uses these fixtures says ``pytest_plugins = ["databases"]``. Whoever asks for
``database_url`` or ``job_store`` is run on both; where PostgreSQL is not installed, its half is
skipped. The server is the one that the tests of tracking start, once a session; a database is made
for each test, from a template that has the tables already. (PYTEST_DONT_REWRITE: test modules
import this one, before pytest does.)
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minidl.service.records import NewJob
from minidl.service.states import JobKind
from minidl.service.store import Store

pytest_plugins = ["mlflow_stores"]

TEMPLATE = "minidl_service_template"
_numbers = itertools.count()


class Clock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def new_job(**changes: Any) -> NewJob:
    """A submission, the same each time but for ``changes``."""
    values: dict[str, Any] = {"config_text": "seed: 1\n", "config": {"seed": 1}}
    return NewJob(**{"kind": JobKind.TRAINING, **values, **changes})


class PostgreSQLDatabases:
    """Makes and drops databases of one server."""

    def __init__(self, server: Any, folder: Path) -> None:
        self.server = server
        self.execute(f"CREATE DATABASE {TEMPLATE}")
        Store.open(self.url_of(TEMPLATE), data=folder).close()

    def url_of(self, name: str) -> str:
        return f"{self.server.uri.rpartition('/')[0]}/{name}"

    def execute(self, statement: str) -> Any:
        """Run a statement on the server, as a superuser; the rows it gives."""
        import psycopg

        with psycopg.connect(self.server.uri, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else None

    def make(self, *, template: str = TEMPLATE) -> str:
        name = f"minidl_service_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, name: str) -> None:
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgresql_databases(
    postgresql_database: Any, tmp_path_factory: pytest.TempPathFactory
) -> PostgreSQLDatabases:
    """Databases of a server of this session."""
    return PostgreSQLDatabases(postgresql_database, tmp_path_factory.mktemp("template"))


@pytest.fixture
def postgresql_url(postgresql_databases: PostgreSQLDatabases) -> Iterator[str]:
    """A PostgreSQL database with the tables, and nothing in them."""
    name = postgresql_databases.make()
    yield postgresql_databases.url_of(name)
    postgresql_databases.drop(name)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database with the tables, made once."""
    folder = tmp_path_factory.mktemp("template")
    Store.open(f"sqlite:///{folder / 'service.db'}", data=folder).close()
    return folder / "service.db"


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """An SQLite database with the tables, and nothing in them."""
    (tmp_path / "data").mkdir(exist_ok=True)
    shutil.copyfile(sqlite_template, tmp_path / "data" / "service.db")
    return f"sqlite:///{tmp_path / 'data' / 'service.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The address of a database with the tables, of each kind in turn."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def clock() -> Clock:
    """The time of ``job_store``."""
    return Clock()


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Callable[..., Store]]:
    """Open stores by their address; they are closed with the test."""
    opened = []

    def open_one(url: str, **settings: Any) -> Store:
        opened.append(Store.open(url, data=tmp_path / "data", **settings))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def job_store(database_url: str, clock: Clock, open_store: Callable[..., Store]) -> Store:
    """A store on each kind of database, at the time of ``clock``."""
    return open_store(database_url, clock=clock)
