"""Every file in ``configs/`` is a config that can be run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minidl.train.build import build
from minidl.train.config import load_config

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


def test_there_are_some() -> None:
    assert {"quickstart.yaml", "mnist_mlp.yaml", "mnist_cnn.yaml"} <= {p.name for p in CONFIGS}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_a_config_loads_and_builds(path: Path) -> None:
    config = load_config(path, environ={"MINIDL_DATA": os.environ.get("MINIDL_DATA", "data")})
    assert config.tracking is not None
    assert config.tracking.uri == "sqlite:///mlflow.db"
    root = config.data.arguments().get("root")
    if root is not None and not Path(root).is_dir():
        pytest.skip("the whole of MNIST is not here (MINIDL_DATA names no directory)")
    experiment = build(config)
    assert config.trainer.epochs is not None
    longest = config.trainer.epochs * experiment.steps_per_epoch
    assert experiment.total_steps == min(longest, config.trainer.max_steps or longest)
