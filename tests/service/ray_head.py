"""A real Ray head for tests: one machine's cluster, with token authentication, on free ports.

A test module that uses these fixtures says ``pytest_plugins = ["ray_head"]`` and marks its tests
with ``RAY_MARKS``. (PYTEST_DONT_REWRITE: they import it, before pytest does.)
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import tiny_jobs
from mlflow_stores import free_port

from minidl.service.executors.ray_jobs import RayJobs

RAY_MARKS = [
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="ray is not installed (extra ray)"
    ),
]
START_SECONDS = 120
#: Names the head's directory in the environment of all that is started by it.
MARK = "MINIDL_TEST_RAY_HEAD"


class RayHead:
    """A cluster of one machine with two cores; it is killed and started again at will."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.token = secrets.token_hex(20)
        self._ports = {name: str(free_port()) for name in PORTS}
        self.address = f"http://127.0.0.1:{self._ports['dashboard-port']}"
        self._process: subprocess.Popen[bytes] | None = None

    def jobs(self) -> RayJobs:
        """A client of it."""
        return RayJobs(self.address, token=self.token)

    def start(self) -> None:
        """Start it if it does not run, and wait until it takes jobs."""
        if self._process is not None:
            return
        command = [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
            *("--node-ip-address", "127.0.0.1", "--num-cpus", "2"),
            *("--object-store-memory", "80000000", "--include-dashboard", "true"),
            *("--temp-dir", str(self._folder), "--disable-usage-stats"),
        ]
        for name, port in self._ports.items():
            command += [f"--{name}", port]
        with (self._folder / "head.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env=self._environment(), start_new_session=True
            )
        end = time.monotonic() + START_SECONDS
        while not self._takes_jobs():
            if self._process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"Ray did not start:\n{(self._folder / 'head.log').read_text()}")
            time.sleep(0.2)

    def kill(self) -> None:
        """Kill it as a machine goes that loses its power: with all that runs there."""
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._wait()

    def kill_head(self) -> None:
        """Kill Ray's own processes; what becomes of jobs' processes is Ray's affair."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._wait()

    def _wait(self) -> None:
        """Wait until nothing of it is left."""
        if self._process is not None:
            self._process.wait()
        self._process = None
        end = time.monotonic() + 30
        while self._processes():
            if time.monotonic() > end:
                raise AssertionError(f"processes of Ray go on: {self._processes()}")
            time.sleep(0.1)

    def _processes(self) -> list[psutil.Process]:
        """What was started by it, however far from it."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                its_group = self._process is not None and os.getpgid(process.pid) == (
                    self._process.pid
                )
                if its_group or process.environ().get(MARK) == str(self._folder):
                    found.append(process)
        return [process for process in found if process.status() != psutil.STATUS_ZOMBIE]

    def _environment(self) -> dict[str, str]:
        return {
            **tiny_jobs.environment(self._folder / "hidden"),
            MARK: str(self._folder),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_DISABLE_DOCKER_CPU_WARNING": "1",
            # A full machine kills other tests' processes then, not Ray its own.
            "RAY_memory_monitor_refresh_ms": "0",
        }

    def _takes_jobs(self) -> bool:
        request = urllib.request.Request(f"{self.address}/api/jobs/")
        request.add_header("Authorization", f"Bearer {self.token}")
        try:
            urllib.request.urlopen(request, timeout=5).close()
        except OSError:
            return False
        return True


PORTS = (
    *("port", "dashboard-port", "ray-client-server-port"),
    *("dashboard-agent-listen-port", "dashboard-agent-grpc-port"),
)


@pytest.fixture(scope="session")
def ray_head() -> Iterator[RayHead]:
    """A head for all tests. Who kills it starts it again."""
    # Directly under the temporary directory: the path of a socket has 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        head = RayHead(Path(folder))
        try:
            head.start()
            yield head
        finally:
            head.kill()
