"""What the two images consist of: labels, a user without rights, no compiler, nothing spare."""

from __future__ import annotations

import json

import pytest
from images import CONTAINER_MARKS, Engine, commit

from minidl import __version__

pytest_plugins = ["images"]
pytestmark = CONTAINER_MARKS


@pytest.fixture(params=["trainer", "service"])
def image(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_image"))


def test_labels_user_and_start(image: str, engine: Engine) -> None:
    config = json.loads(engine("image", "inspect", "--format", "{{json .Config}}", image).stdout)
    labels = {name.rpartition(".")[2]: text for name, text in config["Labels"].items()}
    assert labels["title"] == "minidl"
    assert labels["version"] == __version__
    assert labels["revision"] == commit()
    assert config["User"].split(":")[0] not in ("", "0", "root")
    assert config["Entrypoint"][-1] == "minidl"  # no shell that would keep signals to itself
    assert set(config["Volumes"]) == {"/data", "/runs"}
    assert "MLFLOW_DISABLE_TELEMETRY=true" in config["Env"]


def test_nothing_that_is_not_needed(image: str, engine: Engine) -> None:
    program = """if True:
        import importlib.util, shutil
        tools = [name for name in ("cc", "gcc", "g++", "clang", "make") if shutil.which(name)]
        modules = ("torch", "torchvision", "flask", "numpy.tests", "minidl", "numba")
        print(tools, [name for name in modules if importlib.util.find_spec(name)])
    """
    said = engine("run", "--rm", "--entrypoint", "python", image, "-c", program)
    assert said.stdout.strip() == "[] ['minidl', 'numba']"
