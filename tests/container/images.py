"""A container engine, and the images that tests run in it; each is built once for all of them.

A test module that uses these fixtures says ``pytest_plugins = ["images"]`` and marks its tests with
``CONTAINER_MARKS``. Where MINIDL_BUILD_IMAGE names a program (CONTEXT TAG [ARG...], with options in
BUILD_OPTS; it builds the image and runs it once), that one builds, and also gets an engine
and a base image where there are none. Else podman or docker does, if it has the base image or
can pull it. Where neither can be had, tests skip and say why. Images and the builder's cache
stay: they make the next build a matter of seconds. Containers don't. (PYTEST_DONT_REWRITE: tests
import it, before pytest does.)
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from minidl import __version__

ROOT = Path(__file__).parents[2]
BASE = os.environ.get("PYTHON_IMAGE", "python:3.13-slim")
CONTAINER_MARKS = [pytest.mark.container, pytest.mark.slow]
#: Seconds in which a build ends, downloads on a slow line included.
BUILD_SECONDS = 1800
#: Settings of pip that a build is given, where this machine has them.
PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "timeout")


@dataclass(frozen=True)
class Engine:
    """podman or docker, as a command."""

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)
    #: The program that builds, where there is one.
    builder: str | None = None
    #: Settings that this program writes anew at each build.
    settings: Path | None = None

    def __call__(
        self, *arguments: str, check: bool = True, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run ``podman ARGUMENT...`` to its end; an error fails the test with what was said."""
        done = subprocess.run(
            [self.name, *arguments],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode:
            said = f"{done.stdout}\n{done.stderr}"
            pytest.fail(f"{self.name} {' '.join(arguments)}: status {done.returncode}\n{said}")
        return done

    @contextlib.contextmanager
    def container(self, *arguments: str) -> Iterator[str]:
        """``run --detach`` with these options, image and arguments; gone at the end."""
        name = f"minidl-test-{uuid.uuid4().hex[:12]}"
        try:
            self("run", "--detach", "--name", name, *arguments)
            yield name
        finally:
            self("rm", "--force", "--volumes", name, check=False)

    def logs(self, name: str) -> str:
        """Return what a container has printed so far."""
        done = self("logs", name)
        return done.stdout + done.stderr

    def wait_for(self, name: str, text: str, *, seconds: float = 300) -> str:
        """Wait until a container has printed a text; return all it has printed."""
        end = time.monotonic() + seconds
        while text not in (said := self.logs(name)):
            running = self.look(name, "{{.State.Running}}") == "true"
            if not running and text not in self.logs(name):
                pytest.fail(f"{name} has ended without {text!r}:\n{self.logs(name)}")
            if time.monotonic() > end:
                pytest.fail(f"{name} does not print {text!r}:\n{said}")
            time.sleep(0.2)
        return said

    def look(self, name: str, form: str) -> str:
        """Return what ``inspect --format`` says of a container or image."""
        return self("inspect", "--format", form, name).stdout.strip()


def pip_settings() -> dict[str, str]:
    """Return pip's settings on this machine as build arguments; none that name its own files."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    found: dict[str, str] = {}
    for key, value in re.findall(r"^(?:global|:env:)\.([\w-]+)='(.*)'$", listed.stdout, re.M):
        if key in PIP_SETTINGS and "file:" not in value and not value.startswith("/"):
            found["PIP_" + key.upper().replace("-", "_")] = value
    return found


def find_engine(own: Path) -> Engine:
    """Find an engine that has the base image, or can get it; skip where there is none.

    ``own`` will hold a copy of the settings that the builder leaves: a command that reads those
    while another build writes them would use another engine.
    """
    name = os.environ.get("ENGINE", "podman")
    if (builder := os.environ.get("MINIDL_BUILD_IMAGE")) is not None:
        settings = Path(os.environ.get("CACHE", "/var/cache/build-image")) / "containers.conf"
        return Engine(name, {"CONTAINERS_CONF": str(own)}, builder, settings)
    trouble = "neither podman nor docker is installed"
    for name in ("podman", "docker"):
        if shutil.which(name) is None:
            continue
        engine = Engine(name)
        if engine("info", check=False).returncode:
            trouble = f"{name} does not answer"
            continue
        # It has the image, or pulls it.
        for ask in (("image", "inspect", BASE), ("pull", "--quiet", BASE)):
            if engine(*ask, check=False, timeout=600).returncode == 0:
                return engine
        trouble = f"{name} has no image {BASE} and cannot pull it"
    pytest.skip(f"no container engine: {trouble} (or set MINIDL_BUILD_IMAGE)")


@dataclass(frozen=True)
class Builder:
    """Builds images, each once in a session, however many processes the tests run in."""

    engine: Engine
    shared: Path

    def __call__(
        self,
        context: Path,
        tag: str,
        *run: str,
        dockerfile: Path | None = None,
        target: str | None = None,
        arguments: Mapping[str, str] | None = None,
        bases: Sequence[str] = (BASE,),
    ) -> str:
        """Build ``context`` as ``tag`` and return the tag.

        ``run`` are arguments with which the image ends at once and well: it may be tried with them.
        ``arguments`` are build arguments (without blanks), ``bases`` the images it begins with.
        """
        options = [f"--target={target}"] if target else []
        given = {**pip_settings(), **(arguments or {})}
        options += [
            f"--build-arg={key}={value}" for key, value in given.items() if " " not in value
        ]
        with self._alone(tag) as done:
            if not done.exists():
                self._build(context, tag, run, dockerfile, options, bases)
                self._keep_settings()
                done.touch()
        return tag

    def _keep_settings(self) -> None:
        if self.engine.settings is None or not self.engine.settings.exists():
            return  # docker has none
        end = time.monotonic() + 60
        while not (text := self.engine.settings.read_text()):  # another build writes it
            assert time.monotonic() < end, f"{self.engine.settings} is empty"
            time.sleep(0.01)
        own = Path(self.engine.environment["CONTAINERS_CONF"])
        whole = own.with_suffix(".part")
        whole.write_text(text)
        whole.replace(own)

    @contextlib.contextmanager
    def _alone(self, tag: str) -> Iterator[Path]:
        """Hold the lock that no two builds have at once; give the file that says it is built."""
        with (self.shared / "images.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self.shared / f"built-{re.sub(r'[^a-z0-9]+', '-', tag)}"

    def _build(
        self,
        context: Path,
        tag: str,
        run: Sequence[str],
        dockerfile: Path | None,
        options: list[str],
        bases: Sequence[str],
    ) -> None:
        file = dockerfile or context / "Dockerfile"
        more: dict[str, str] = {}
        if self.engine.builder is not None:
            command = [self.engine.builder, str(context), tag, *run]
            more = {"DOCKERFILE": str(file), "BASES": " ".join(bases)}
            more["BUILD_OPTS"] = " ".join([os.environ.get("BUILD_OPTS", ""), *options])
            if os.access(self.engine.builder, os.X_OK) is False:
                command.insert(0, "bash")
        else:
            # podman: an image of OCI's own format has no HEALTHCHECK
            form = ["--format=docker"] if self.engine.name == "podman" else []
            command = [self.engine.name, "build", *form, "--network=host", *options]
            command += [f"--file={file}", f"--tag={tag}", str(context)]
            more = {"DOCKER_BUILDKIT": "1"}
        done = subprocess.run(
            command,
            env={**os.environ, **self.engine.environment, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=BUILD_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode == 0:
            return
        said = done.stdout[-5000:]
        if re.search(r"phase (install|engine|base) ended with status", said):
            pytest.skip(f"no container engine can be had here:\n{said[-500:]}")
        pytest.fail(f"{' '.join(command)}: status {done.returncode}\n{said}")


@pytest.fixture(scope="session")
def shared_by_workers(tmp_path_factory: pytest.TempPathFactory, request: Any) -> Path:
    """A directory of this session's: a worker of xdist has one of its own in it."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if hasattr(request.config, "workerinput") else folder


@pytest.fixture(scope="session")
def engine(shared_by_workers: Path) -> Engine:
    """What runs containers; with MINIDL_BUILD_IMAGE it is there once an image has been built."""
    return find_engine(shared_by_workers / "containers.conf")


@pytest.fixture(scope="session")
def build_image(engine: Engine, shared_by_workers: Path) -> Builder:
    """What builds an image, in all processes of this session together once."""
    return Builder(engine, shared_by_workers)


def commit() -> str:
    """Return the commit that is built, or ``unknown`` outside a repository."""
    done = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def build_minidl(build_image: Callable[..., str], target: str) -> str:
    """Build one of the targets of the Dockerfile at the top."""
    arguments = {"VERSION": __version__, "REVISION": commit()}
    if BASE != "python:3.13-slim":
        arguments["PYTHON_IMAGE"] = BASE
    return build_image(
        ROOT, f"minidl:test-{target}", "--version", target=target, arguments=arguments
    )


@pytest.fixture(scope="session")
def trainer_image(build_image: Builder) -> str:
    """The image that trains."""
    return build_minidl(build_image, "trainer")


@pytest.fixture(scope="session")
def service_image(build_image: Builder) -> str:
    """The image of the service."""
    return build_minidl(build_image, "service")
