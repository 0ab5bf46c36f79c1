"""A real Ray head for tests: one machine's cluster, with token authentication, on free ports.

A test module that uses these fixtures says ``pytest_plugins = ["ray_head"]`` and marks its tests
with ``RAY_MARKS``. (PYTEST_DONT_REWRITE: they import it, before pytest does.)

Tests kill the head, and may fail while it is down. So each begins with one that answers: it is
started anew where it does not, or where a test has failed, which may have left jobs.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import os
import random
import secrets
import signal
import socket
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

from minidl.service.executors.ray_jobs import RayJobs

RAY_MARKS = [
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="ray is not installed (extra ray)"
    ),
]
#: For a start, or for all processes to end: Ray alone takes ten seconds for it on a quiet machine.
SECONDS = 240
TRIES = 3
#: Names the head's directory in the environment of all that is started by it.
MARK = "MINIDL_TEST_RAY_HEAD"


class RayHead:
    """A cluster of one machine with two cores; it is killed and started again at will."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.token = secrets.token_hex(20)
        self._ports = {name: str(port) for name, port in zip(PORTS, lasting_ports(), strict=False)}
        self.address = f"http://127.0.0.1:{self._ports['dashboard-port']}"
        self._process: subprocess.Popen[bytes] | None = None
        self._sessions: set[int] = set()
        #: Tests that had failed when it was last looked at.
        self.failed = 0

    def jobs(self) -> RayJobs:
        """A client of it."""
        return RayJobs(self.address, token=self.token)

    def start(self) -> None:
        """Start it unless it runs and takes jobs; what is left of one that does not is ended."""
        for _ in range(TRIES):
            if self._process is not None and self._process.poll() is None and self._takes_jobs():
                return
            self.kill()
            self._start()
        if not self._takes_jobs():
            pytest.fail(f"Ray did not start:\n{(self._folder / 'head.log').read_text()}")

    def _start(self) -> None:
        command = [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
            *("--node-ip-address", "127.0.0.1", "--num-cpus", "2"),
            *("--object-store-memory", "80000000", "--include-dashboard", "true"),
            *("--temp-dir", str(self._folder), "--disable-usage-stats"),
            # Any free ones: by default both of two heads of a machine would give out the same.
            *("--min-worker-port", "0", "--max-worker-port", "0"),
        ]
        for name, port in self._ports.items():
            command += [f"--{name}", port]
        with (self._folder / "head.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env=self._environment(), start_new_session=True
            )
        self._sessions.add(self._process.pid)
        end = time.monotonic() + SECONDS
        while not self._takes_jobs():
            if self._process.poll() is not None or time.monotonic() > end:
                return
            time.sleep(0.2)

    def kill(self) -> None:
        """Kill it as a machine goes that loses its power: with all that runs there."""
        end = time.monotonic() + SECONDS
        while True:
            left = self._processes()
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            if not left:
                return self._ended()
            assert time.monotonic() < end, f"processes of Ray go on: {left}"
            time.sleep(0.05)

    def kill_head(self) -> None:
        """Kill Ray's own processes; what becomes of jobs' processes is Ray's affair."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        end = time.monotonic() + SECONDS
        while left := self._processes():
            assert time.monotonic() < end, f"processes of Ray go on: {left}"
            time.sleep(0.1)
        self._ended()

    def _ended(self) -> None:
        if self._process is not None:
            self._process.wait()
        self._process = None
        self._sessions.clear()

    def _processes(self) -> list[psutil.Process]:
        """What was started by it, however far from it, and has not ended.

        A process may end while it is looked at; Ray's workers write their title over what they
        were started with, so the mark is not on all of them, but the session is.
        """
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.status() != psutil.STATUS_ZOMBIE and (
                    os.getsid(process.pid) in self._sessions
                    or process.environ().get(MARK) == str(self._folder)
                ):
                    found.append(process)
        return found

    def _environment(self) -> dict[str, str]:
        return {
            **tiny_jobs.environment(self._folder / "hidden"),
            MARK: str(self._folder),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_DISABLE_DOCKER_CPU_WARNING": "1",
            # A full machine kills other tests' processes then, not Ray its own.
            "RAY_memory_monitor_refresh_ms": "0",
            # A busy one answers late; that is no reason to give its only node up.
            "RAY_health_check_timeout_ms": "60000",
            "RAY_health_check_failure_threshold": "20",
            "RAY_agent_register_timeout_ms": "300000",
        }

    def _takes_jobs(self) -> bool:
        """Whether the head answers, and its node's agent, which starts later and takes jobs."""
        agent = f"http://127.0.0.1:{self._ports['dashboard-agent-listen-port']}"
        for url in (f"{self.address}/api/jobs/", f"{agent}/api/local_raylet_healthz"):
            request = urllib.request.Request(url)
            request.add_header("Authorization", f"Bearer {self.token}")
            try:
                urllib.request.urlopen(request, timeout=20).close()
            except (OSError, http.client.HTTPException):
                return False
        return True


PORTS = (
    *("port", "dashboard-port", "ray-client-server-port"),
    *("dashboard-agent-listen-port", "dashboard-agent-grpc-port"),
)


def lasting_ports() -> Iterator[int]:
    """Ports that are free, and that no connection is given while the head is down.

    They lie below the range out of which Linux gives a port to who asks for any.
    """
    dice = random.SystemRandom()
    seen = set()
    while True:
        port = dice.randrange(20_000, 32_000)
        with socket.socket() as taken, contextlib.suppress(OSError):
            taken.bind(("127.0.0.1", port))
            if port not in seen:
                seen.add(port)
                yield port


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[RayHead]:
    """A head for all tests of a process."""
    # Directly under the temporary directory: the path of a socket has 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        head = RayHead(Path(folder))
        try:
            yield head
        finally:
            head.kill()


@pytest.fixture
def ray_head(ray_cluster: RayHead, request: pytest.FixtureRequest) -> RayHead:
    """The head, which answers. Whoever kills it may start it again."""
    failed = request.session.testsfailed
    if failed != ray_cluster.failed:
        ray_cluster.failed = failed
        ray_cluster.kill()
    ray_cluster.start()
    return ray_cluster
