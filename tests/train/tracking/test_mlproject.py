"""`mlflow run .`: the run that MLflow makes is the one that the training goes on in."""

from __future__ import annotations

import subprocess

import pytest
from cli_process import ROOT, command
from mlflow_stores import MLFLOW_MARKS, client, environment

pytest_plugins = ["mlflow_stores"]
pytestmark = [pytest.mark.slow, *MLFLOW_MARKS]


def test_one_run_not_two(mlflow_uri, tmp_path):
    overrides = ["data.val_fraction=0.5", "trainer.epochs=1", f"trainer.run_root={tmp_path}/runs"]
    done = subprocess.run(
        [
            *("mlflow", "run", str(ROOT), "--env-manager", "local", "--experiment-name", "project"),
            *("-P", f"config={ROOT}/configs/quickstart.yaml"),
            *("-P", f"overrides={' '.join(overrides)}"),
        ],
        cwd=tmp_path,
        env=_with_minidl(tmp_path) | {"MLFLOW_TRACKING_URI": mlflow_uri},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    store = client(mlflow_uri)
    experiments = [experiment.experiment_id for experiment in store.search_experiments()]
    (run,) = store.search_runs(experiments)
    assert run.info.status == "FINISHED"
    assert store.get_experiment(run.info.experiment_id).name == "project"
    assert run.data.params["trainer.epochs"] == "1"  # the config's
    assert run.data.params["overrides"].strip("'") == " ".join(overrides)  # the project's
    assert run.data.metrics["test/accuracy"] > 0.3
    assert run.data.tags["mlflow.source.type"] == "PROJECT"
    assert run.data.tags["minidl.run.uid"]
    assert len(run.outputs.model_outputs) == 1


def _with_minidl(folder):
    """An environment in which `minidl` is a command, also where it is not installed."""
    script = folder / "bin" / "minidl"
    script.parent.mkdir()
    words = " ".join(f"'{word.replace(chr(39), chr(34))}'" for word in command())
    script.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    script.chmod(0o755)
    found = environment()
    return found | {"PATH": f"{script.parent}:{found['PATH']}", "OPENBLAS_NUM_THREADS": "1"}
