"""Real MLflow stores for tests: a SQLite file copied from a template, and a server process.

A test module that uses these fixtures says ``pytest_plugins = ["mlflow_stores"]`` and marks its
tests with ``MLFLOW_MARKS``. (PYTEST_DONT_REWRITE: they import it, before pytest does.)
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

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

    def kill(self) -> None:
        os.killpg(self.group, signal.SIGKILL)


@contextlib.contextmanager
def serve(database: Path, folder: Path) -> Iterator[Server]:
    """Run ``mlflow server`` on a free port of this machine, over a copy of ``database``."""
    shutil.copyfile(database, folder / "server.db")
    port = free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{folder / 'server.db'}"),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]
    uri = f"http://127.0.0.1:{port}"
    with running(command, folder, f"{uri}/health") as process:
        yield Server(uri, process.pid)


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


@pytest.fixture(scope="module")
def mlflow_server(
    mlflow_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server for the tests of one file."""
    with serve(mlflow_template, tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def start_mlflow_server(mlflow_template: Path, tmp_path: Path) -> Iterator[Callable[[], Server]]:
    """Starts servers of the test's own, which it may kill."""
    with contextlib.ExitStack() as servers:
        yield lambda: servers.enter_context(serve(mlflow_template, tmp_path))


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
