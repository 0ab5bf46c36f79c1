"""The stack of deploy/compose.yaml, run by a real engine under a name of its own.

A test module that uses it says ``pytest_plugins = ["images", "compose_stack"]``. What the compose
file calls postgres:17 is made here, from Debian's packages; everything that the stack makes is gone
at the end, but for the images.
(PYTEST_DONT_REWRITE: they import it, before pytest does.)
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from images import BASE, ROOT, Builder, Engine
from mlflow_stores import free_port

SECONDS = 600.0
SERVICES = ("postgres", "mlflow", "minidl")


class Stack:
    """One project of compose: a copy of deploy/, ports that are free, containers of its own."""

    def __init__(self, engine: Engine, compose: list[str], folder: Path, images: list[str]) -> None:
        self.engine, self.compose, self.folder = engine, compose, folder
        self.name = f"minidl-test-{uuid.uuid4().hex[:8]}"
        self.service = f"http://127.0.0.1:{(port := free_port())}"
        self.mlflow = f"http://127.0.0.1:{(mlflow_port := free_port())}"
        self.variables = {
            **engine.environment,
            **dict(zip(("POSTGRES_IMAGE", "MLFLOW_IMAGE", "MINIDL_IMAGE"), images, strict=True)),
            "COMPOSE_PROJECT_NAME": self.name,
            "MINIDL_PORT": str(port),
            "MLFLOW_PORT": str(mlflow_port),
            "MLFLOW_PAGE": self.mlflow,
        }
        ignored = shutil.ignore_patterns("kubernetes", ".env")
        shutil.copytree(ROOT / "deploy", folder / "deploy", ignore=ignored)

    @property
    def function(self) -> str:
        """Bash's definition of ``docker``, as far as it is ``docker compose``."""
        return f'docker() {{ shift; {shlex.join(self.compose)} "$@"; }}'

    def __call__(self, *arguments: str, place: Path | None = None, check: bool = True) -> str:
        """Run ``docker compose ARGUMENT...``; return what it printed."""
        done = subprocess.run(
            [*self.compose, *arguments],
            cwd=place or self.folder / "deploy",
            env={**os.environ, **self.variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode:
            pytest.fail(f"compose {' '.join(arguments)}: {done.returncode}\n{done.stdout}")
        return done.stdout

    def of(self, service: str) -> str:
        """Return the id of a service's container, "" where there is none."""
        return self._listed("ps", "--all", f"--filter=label=com.docker.compose.service={service}")

    def left(self) -> dict[str, str]:
        """Return what there is of this project, by kind."""
        return {
            "containers": self._listed("ps", "--all"),
            "volumes": self._listed("volume", "ls"),
            "networks": self._listed("network", "ls"),
        }

    def _listed(self, *arguments: str) -> str:
        project = f"--filter=label=com.docker.compose.project={self.name}"
        return self.engine(*arguments, "--quiet", project).stdout.strip()

    def start_in_turn(self) -> None:
        """Start each when what it needs is healthy, where the engine does not wait for that."""
        if self.engine.name == "podman":
            for service in SERVICES:
                self("up", "--detach", service)
                self.wait_until_healthy(service)

    def wait_until_healthy(self, *services: str) -> None:
        """Wait until these, or all, pass the health checks that the compose file has for them."""
        end = time.monotonic() + SECONDS
        for service in services or SERVICES:
            while not self._is_healthy(self.of(service)):
                if time.monotonic() > end:
                    said = self("logs", service, check=False)[-5000:]
                    pytest.fail(f"{service} is not healthy:\n{said}")
                time.sleep(0.5)

    def _is_healthy(self, container: str) -> bool:
        if not container:
            return False
        if self.engine.name == "podman":
            # podman leaves the regular checks to systemd's timers, which there may not be.
            return self.engine("healthcheck", "run", container, check=False).returncode == 0
        form = "{{.State.Health.Status}}"
        return self.engine("inspect", f"--format={form}", container).stdout.strip() == "healthy"

    def end(self) -> None:
        """Remove all that is left of it, whatever has become of its files."""
        names = ("POSTGRES", "MINIDL_DB", "MLFLOW_DB")
        self.variables.update({f"{name}_PASSWORD": "any" for name in names})
        self("down", "--volumes", "--timeout", "10", place=ROOT / "deploy", check=False)
        if self.engine.name == "podman":
            self.engine("pod", "rm", "--force", f"pod_{self.name}", check=False)
        for kind, remove in (
            ("containers", ["rm", "--force", "--volumes"]),
            ("volumes", ["volume", "rm", "--force"]),
            ("networks", ["network", "rm"]),
        ):
            for one in self.left()[kind].split():
                self.engine(*remove, one, check=False)


def find_compose(engine: Engine) -> list[str]:
    """Return compose as the engine has it."""
    if engine.name == "podman":
        pytest.importorskip("podman_compose", reason="podman-compose is not installed (extra dev)")
        return [sys.executable, "-m", "podman_compose"]
    if engine("compose", "version", check=False).returncode:
        pytest.skip("docker has no compose")
    return ["docker", "compose"]


@pytest.fixture(scope="session")
def postgres_image(build_image: Builder) -> str:
    """What stands in for postgres:17."""
    context = Path(__file__).with_name("postgres")
    return build_image(
        context, "minidl-postgres:test", "--version", arguments={"PYTHON_IMAGE": BASE}
    )


@pytest.fixture(scope="session")
def mlflow_image(build_image: Builder) -> str:
    """The MLflow server's image."""
    context = ROOT / "deploy/mlflow"
    return build_image(context, "minidl-mlflow:test", "--version", arguments={"PYTHON_IMAGE": BASE})


@pytest.fixture
def stack(
    engine: Engine, postgres_image: str, mlflow_image: str, service_image: str, tmp_path: Path
) -> Iterator[Stack]:
    """A stack that is not up yet."""
    images = [postgres_image, mlflow_image, service_image]
    if engine.name == "podman":
        images = [f"localhost/{image}" for image in images]
    stack = Stack(engine, find_compose(engine), tmp_path, images)
    yield stack
    stack.end()
    assert not any(stack.left().values()), stack.left()
