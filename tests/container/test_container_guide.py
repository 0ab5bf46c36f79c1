"""The commands of docs/container.md are run, in a shell, and print what the page shows."""

from __future__ import annotations

import re
import shlex
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from guide_shell import Shell, are_shown, steps_of
from images import CONTAINER_MARKS, ROOT, Engine
from mlflow_stores import free_port

pytest_plugins = ["images"]
pytestmark = CONTAINER_MARKS

GUIDE = (ROOT / "docs/container.md").read_text(encoding="utf-8")
#: Megabytes of the trainer's image without compiled kernels.
LIMIT = 350

# `docker` is whichever engine there is. Where no systemd runs podman's health checks, this does.
DOCKER = """docker() {{
    if [ {engine} = podman ] && [ "$1 $3" = "inspect {{{{.State.Health.Status}}}}" ]; then
        podman healthcheck run "$4" >/dev/null
    fi
    command {engine} "$@"
}}"""


@pytest.fixture
def names(engine: Engine) -> Iterator[dict[str, str]]:
    """What the page calls containers, volume, images and port, and what they are called here."""
    unique = uuid.uuid4().hex[:12]
    fresh = {
        name: f"{name}-{unique}" for name in ("minidl-training", "minidl-service", "minidl-jobs")
    }
    images = {f"minidl:{target}": f"minidl:test-{target}" for target in ("trainer", "service")}
    yield fresh | images | {"127.0.0.1:8080": f"127.0.0.1:{free_port()}"}
    for name in ("minidl-training", "minidl-service"):
        engine("rm", "--force", "--volumes", fresh[name], check=False)
    engine("volume", "rm", fresh["minidl-jobs"], check=False)


def test_the_page(
    tmp_path: Path, engine: Engine, trainer_image: str, service_image: str, names: dict[str, str]
) -> None:
    for shared in ("scripts", "configs"):
        (tmp_path / shared).symlink_to(ROOT / shared)
    steps = steps_of(GUIDE)
    assert len(steps) > 25
    variables = {**engine.environment, "HOME": str(tmp_path), "ENGINE": engine.name}
    shell = Shell(tmp_path, variables)
    try:
        shell.tell(DOCKER.format(engine=shlex.quote(engine.name)))
        for line, shown in steps:
            told = line
            for name, here in names.items():
                told = told.replace(name, here)
                shown = [text.replace(name, here) for text in shown]
            status, printed = shell.tell(told)
            assert status == 0, "\n".join([told, *printed])
            are_shown(shown, printed, tmp_path, told)
    finally:
        shell.close()
    # The last command's: what the image consists of.
    sizes = dict(re.findall(r"^\| (.*?) \| ([\d.]+) \|$", "\n".join(printed), re.M))
    assert float(sizes["without compiled kernels"]) <= LIMIT
