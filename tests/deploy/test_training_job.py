"""The Job of deploy/kubernetes: its container as a node runs it, stopped, begun again, refused."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from images import CONTAINER_MARKS, Engine

pytest_plugins = ["images"]
pytestmark = CONTAINER_MARKS

FOLDER = Path(__file__).parents[2] / "deploy/kubernetes/training"
JOB: dict[str, Any] = yaml.safe_load((FOLDER / "job.yaml").read_text())["spec"]
POD = JOB["template"]["spec"]
#: The example's training, but one that goes on until it is stopped.
ENDLESS = (FOLDER / "config.yaml").read_text().replace("epochs: 5", "epochs: 100000, log_every: 5")


@pytest.fixture
def volume(engine: Engine) -> Iterator[str]:
    """What is claimed, empty at first."""
    name = f"minidl-test-{uuid.uuid4().hex[:12]}"
    yield name
    engine("volume", "rm", "--force", name, check=False)


@pytest.fixture
def pod(trainer_image: str, volume: str, tmp_path: Path) -> Callable[[str], list[str]]:
    """Options of ``run`` that give a container what the manifest says, and a config."""
    rights, (container,) = POD["securityContext"], POD["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
    first, *rest = container["command"]
    options = [
        *("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--tmpfs=/tmp"),
        *(f"--user={rights['runAsUser']}:{rights['runAsGroup']}", f"--entrypoint={first}"),
        *(f"--volume={volume}:/runs", f"--volume={tmp_path}/config:/config:ro"),
        "--env=RUN_NAME=first",
    ]

    def of(config: str) -> list[str]:
        (tmp_path / "config").mkdir(mode=0o755, exist_ok=True)
        (tmp_path / "config/config.yaml").write_text(config)
        return [*options, trainer_image, *rest]

    return of


def action(status: int) -> str:
    """Return what the Job does when its pod ends with a status."""
    for rule in JOB["podFailurePolicy"]["rules"]:
        if status in rule.get("onExitCodes", {}).get("values", []):
            return str(rule["action"])
    return "Count"


def stop(engine: Engine, name: str) -> int:
    """End a container as a node does, and return its exit status."""
    engine("stop", f"--time={POD['terminationGracePeriodSeconds']}", name)
    return int(engine.look(name, "{{.State.ExitCode}}"))


def test_the_next_pod_goes_on(engine: Engine, pod: Callable[[str], list[str]]) -> None:
    with engine.container(*pod(ENDLESS)) as name:
        engine.wait_for(name, " 1/100000")
        assert action(stop(engine, name)) == "Ignore"
        assert "resume" in engine.logs(name)
    with engine.container(*pod(ENDLESS)) as name:
        said = engine.wait_for(name, "/100000")
        assert " 1/100000" not in said
        assert action(stop(engine, name)) == "Ignore"


def test_a_wrong_config_is_not_tried_again(engine: Engine, pod: Callable[[str], list[str]]) -> None:
    done = engine("run", "--rm", *pod("model: {type: Sequentail}"), check=False)
    assert "Sequential" in done.stderr
    assert action(done.returncode) == "FailJob"
