"""The sweep's own run in MLflow, where there is no MLflow."""

from __future__ import annotations

import pytest
from mlflow_stores import MLFLOW_MARKS
from sweep_configs import MakePlan

from minidl.sweep.parent import ParentRun

pytest.importorskip("optuna", reason="optuna is not installed (extra sweep)")
pytest_plugins = ["sweep_configs"]
pytestmark = MLFLOW_MARKS


def test_a_server_that_is_not_there_stops_nothing(plan: MakePlan) -> None:
    made = plan("", "optimizer.lr=1e-3,1e-2", "tracking.uri=http://127.0.0.1:1")
    said: list[str] = []
    parent = ParentRun(made, "uid", reopen=True, say=said.append)
    assert (parent.run_id, parent.facts()) == (None, {})
    parent.end("FINISHED", {}, 0)
    assert len(said) == 1
    assert said[0].startswith("MLflow at http://127.0.0.1:1 has not got all of the sweep (")


def test_without_tracking_there_is_none(plan: MakePlan) -> None:
    made = plan("", "optimizer.lr=1e-3,1e-2")
    said: list[str] = []
    parent = ParentRun(made, "uid", reopen=True, say=said.append)
    parent.end("FINISHED", {}, 0)
    assert (parent.run_id, said) == (None, [])
