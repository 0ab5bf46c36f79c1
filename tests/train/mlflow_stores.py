"""Real MLflow stores for tests: a SQLite file copied from a template, and a server process.

A test module that uses these fixtures says ``pytest_plugins = ["mlflow_stores"]`` and marks its
tests with ``MLFLOW_MARKS``. (PYTEST_DONT_REWRITE: they import it, before pytest does.)
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from minidl.train.tracking import RunDescription, Tracker, TrackingSettings

MLFLOW_MARKS = [
    pytest.mark.mlflow,
    pytest.mark.skipif(
        importlib.util.find_spec("mlflow") is None, reason="mlflow is not installed (extra mlflow)"
    ),
    # MLflow's own business with its libraries.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning"),
]
START_SECONDS = 60
TOLD = ("uid", "run_name", "params", "tags", "datasets", "started")


def with_mlflow(test: Any) -> Any:
    """Mark one test among others that need no MLflow."""
    for mark in MLFLOW_MARKS:
        test = mark(test)
    return test


def client(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def history(uri: str, run_id: str, name: str) -> list[tuple[int, float, int]]:
    """The points of a metric as (step, value, time in ms), in order."""
    points = client(uri).get_metric_history(run_id, name)
    return sorted((point.step, point.value, point.timestamp) for point in points)


@pytest.fixture
def messages() -> list[str]:
    """What trackers said to the user."""
    return []


@pytest.fixture
def track(messages: list[str]) -> Iterator[Callable[..., Tracker]]:
    """Start a tracker; whatever becomes of it, its process ends with the test."""
    trackers = []

    def start(uri: str, *, settings: Any = (), **changes: Any) -> Tracker:
        told = {"run_name": "first", "uid": uuid.uuid4().hex}
        told |= {name: changes.pop(name) for name in TOLD if name in changes}
        tracker = Tracker(
            TrackingSettings(uri, **{"experiment": "trial", **dict(settings)}),
            RunDescription(**told),
            **{"on_message": messages.append, **changes},
        )
        trackers.append(tracker)
        return tracker

    yield start
    for tracker in trackers:
        tracker.finish("FAILED", deadline=0)
        assert tracker._process is None or tracker._process.poll() is not None


@pytest.fixture(scope="session")
def mlflow_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite store, made once: its migrations take seconds."""
    database = tmp_path_factory.mktemp("mlflow") / "template.db"
    program = (
        "import sys; from pathlib import Path; "
        "from minidl.train.tracking import mlflow_client as client; "
        "client.prepare_environment(); client.create_database(Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", program, str(database)], check=True, env=environment())
    return database


@pytest.fixture
def mlflow_uri(mlflow_template: Path, tmp_path: Path) -> str:
    """A fresh SQLite store."""
    shutil.copyfile(mlflow_template, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@dataclass(frozen=True)
class Server:
    """A running ``mlflow server`` and the group its processes are in."""

    uri: str
    group: int

    def freeze(self) -> None:
        """Keep the connections and answer nothing."""
        os.killpg(self.group, signal.SIGSTOP)

    def thaw(self) -> None:
        os.killpg(self.group, signal.SIGCONT)

    def fill_disk(self) -> None:
        """Let its files grow no more: what it gets to see is what a full disk shows."""
        self._limit_files(4096)

    def free_disk(self) -> None:
        self._limit_files(resource.RLIM_INFINITY)

    def _limit_files(self, size: int) -> None:
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(ProcessLookupError):
                if os.getpgid(int(process.name)) == self.group:
                    limits = (size, resource.RLIM_INFINITY)
                    resource.prlimit(int(process.name), resource.RLIMIT_FSIZE, limits)


@contextlib.contextmanager
def serve(store: str, folder: Path, port: int | None = None) -> Iterator[Server]:
    """Run ``mlflow server`` on a free port of this machine, over a database given by its URI."""
    port = free_port() if port is None else port
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", store),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]
    uri = f"http://127.0.0.1:{port}"
    with running(command, folder, f"{uri}/health") as process:
        yield Server(uri, process.pid)


def copy_of(template: Path, folder: Path) -> str:
    """Put a copy of a SQLite store into ``folder`` and return its URI."""
    return f"sqlite:///{shutil.copyfile(template, folder / 'server.db')}"


class PostgreSQL:
    """A PostgreSQL of its own, run as the unprivileged user that it insists on."""

    def __init__(self, tools: Path, folder: str) -> None:
        self._tools, self._folder, self._port = tools, folder, free_port()
        self._as: dict[str, Any] = {"cwd": folder}
        if os.geteuid() == 0:
            self._as |= {"user": "postgres", "group": "postgres"}
            shutil.chown(folder, "postgres", "postgres")
        options = ["-U", "mlflow", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"]
        setup = [tools / "initdb", "-D", f"{folder}/data", *options]
        subprocess.run(setup, check=True, stdout=subprocess.DEVNULL, **self._as)
        self.uri = f"postgresql://mlflow@127.0.0.1:{self._port}/postgres"
        self.start()

    def start(self) -> None:
        place = ["-D", f"{self._folder}/data", "-k", self._folder, "-p", str(self._port)]
        command = [self._tools / "postgres", *place, "-c", "fsync=off"]
        with Path(self._folder, "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._as)
        ready = [self._tools / "pg_isready", "-h", "127.0.0.1", "-p", str(self._port)]
        end = time.monotonic() + START_SECONDS
        while subprocess.run(ready, stdout=subprocess.DEVNULL, check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"PostgreSQL did not start: {Path(self._folder, 'log').read_text()}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End it as a machine does that goes down in haste: its clients lose their connections."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(30)


@contextlib.contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """Run one in a directory directly under the temporary one: pytest's are closed to others."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("PostgreSQL is not installed (Debian's package postgresql)")
    with tempfile.TemporaryDirectory(prefix="minidl-postgresql-") as folder:
        database = PostgreSQL(found[-1].parent, folder)
        try:
            yield database
        finally:
            database.stop()


@contextlib.contextmanager
def running(command: list[str], folder: Path, url: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server in ``folder``, in its own process group, until ``url`` answers and after."""
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, env=environment(), start_new_session=True
        )
    try:
        end = time.monotonic() + START_SECONDS
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"{command} did not start:\n{(folder / 'server.log').read_text()}")
            time.sleep(0.1)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="session")
def mlflow_server(
    mlflow_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server for all tests, over SQLite. Who freezes it thaws it."""
    folder = tmp_path_factory.mktemp("server")
    with serve(copy_of(mlflow_template, folder), folder) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_database() -> Iterator[PostgreSQL]:
    """A PostgreSQL for all tests. Who stops it starts it again."""
    pytest.importorskip("psycopg", reason="psycopg is not installed (extra dev)")
    with postgresql() as database:
        yield database


@pytest.fixture(scope="session")
def postgresql_server(
    postgresql_database: PostgreSQL, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server for all tests, over PostgreSQL."""
    with serve(postgresql_database.uri, tmp_path_factory.mktemp("postgresql-server")) as server:
        yield server


@pytest.fixture(params=["sqlite", "server", "postgresql"])
def store(request: pytest.FixtureRequest) -> str:
    """The address of a store, of each kind in turn."""
    kinds = {"sqlite": "mlflow_uri", "server": "mlflow_server", "postgresql": "postgresql_server"}
    found = request.getfixturevalue(kinds[request.param])
    return str(getattr(found, "uri", found))


class MortalServer:
    """A server that is killed and comes back, with its database, under the same address."""

    def __init__(self, template: Path, folder: Path) -> None:
        self._store, self._folder, self._port = copy_of(template, folder), folder, free_port()
        self._running = contextlib.ExitStack()
        self.uri = f"http://127.0.0.1:{self._port}"

        self._is_running = False

    def start(self) -> None:
        if not self._is_running:
            self._running.enter_context(serve(self._store, self._folder, self._port))
        self._is_running = True

    def kill(self) -> None:
        self._running.close()
        self._is_running = False


@pytest.fixture(scope="module")
def mortal_server(
    mlflow_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MortalServer]:
    """A server for the tests of one file, not running yet."""
    server = MortalServer(mlflow_template, tmp_path_factory.mktemp("mortal"))
    yield server
    server.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def environment() -> dict[str, str]:
    """The environment of a child process: minidl importable, MLflow quiet and local."""
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {
        **os.environ,
        "PYTHONPATH": path,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def _answers(url: str) -> bool:
    try:
        urllib.request.build_opener().open(url, timeout=1).close()
    except OSError:
        return False
    return True
