"""The service in its image: healthy, orphans reaped, ended by a signal.

(A job in it is in test_container_guide.py.)
"""

from __future__ import annotations

import time

from images import CONTAINER_MARKS, Engine

pytest_plugins = ["images"]
pytestmark = CONTAINER_MARKS

ZOMBIES = r"""
import glob
def state(path):
    try:
        return open(path).read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""
states = [state(path) for path in glob.glob("/proc/[0-9]*/stat")]
print(open("/proc/1/comm").read().strip(), states.count("Z"))
"""


def healthy(engine: Engine, name: str) -> bool:
    if engine.name == "docker":  # which checks by itself
        return engine.look(name, "{{.State.Health.Status}}") == "healthy"
    return engine("healthcheck", "run", name, check=False).returncode == 0


def wait_until(what: str, holds, seconds: float = 120) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not {what}"
        time.sleep(0.5)


def test_a_service_that_may_write_nowhere_else(service_image: str, engine: Engine) -> None:
    strict = ("--user=54321:54321", "--read-only", "--tmpfs=/tmp", "--network=none")
    with engine.container(*strict, service_image) as name:
        engine.wait_for(name, "listening at")
        wait_until("healthy", lambda: healthy(engine, name))

        # A process whose parent has ended is process 1's, which must reap it.
        engine("exec", name, "sh", "-c", "(sleep 0.1 >/dev/null 2>&1 &)")
        look = ("exec", name, "python", "-c", ZOMBIES)
        wait_until("reaped", lambda: engine(*look).stdout.split() == ["dumb-init", "0"])

        engine("stop", "--time=60", name)
        assert engine.look(name, "{{.State.ExitCode}}") == "0", engine.logs(name)
