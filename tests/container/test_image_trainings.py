"""Trainings in the image, as a user that no file knows, on files that nobody can write."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from images import CONTAINER_MARKS, ROOT, Engine
from mlflow_stores import MLFLOW_MARKS, Server, client, history

pytest_plugins = ["images", "mlflow_stores"]
pytestmark = [*CONTAINER_MARKS, *MLFLOW_MARKS]

STRICT = ("--user=54321:54321", "--read-only", "--tmpfs=/tmp", "--env=OPENBLAS_NUM_THREADS=1")

#: Six steps an epoch, with all that a resumed training must find again.
SMALL = """\
seed: 7
data:
  type: MNISTSample
  batch_size: 50
  val_fraction: 0.95
  augment: [{type: RandomShift, pixels: 2}]
model:
  type: Sequential
  layers:
    - {type: MaxPool2d, kernel_size: 2}
    - {type: Flatten}
    - {type: Linear, out_features: 16}
    - {type: ReLU}
    - {type: Dropout, p: 0.2}
    - {type: Linear, out_features: 10}
optimizer: {type: AdamW, lr: 1e-3}
trainer: {epochs: 100000}
"""


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A directory for /runs that any user may write to, with a config in it."""
    folder = tmp_path / "runs"
    folder.mkdir()
    folder.chmod(0o777)
    (folder / "small.yaml").write_text(SMALL)
    return folder


def test_the_quickstart_tracked_to_a_server_outside(
    trainer_image: str, engine: Engine, runs: Path, mlflow_server: Server
) -> None:
    mounts = [f"--volume={runs}:/runs", f"--volume={ROOT / 'configs'}:/configs:ro"]
    told = ["--network=host", f"--env=MLFLOW_TRACKING_URI={mlflow_server.uri}"]
    changes = ["trainer.epochs=2", "trainer.name=inside"]
    command = ["train", "/configs/quickstart.yaml", *changes]
    done = engine("run", "--rm", *STRICT, *mounts, *told, trainer_image, *command, timeout=900)
    assert done.stderr == ""  # above all no word of kernels that are compiled
    assert "run FINISHED" in done.stdout
    assert (runs / "inside/summary.json").stat().st_uid == 54321

    store = client(mlflow_server.uri)
    run = store.get_run(json.loads((runs / "inside/tracking.json").read_text())["run_id"])
    assert run.info.status == "FINISHED"
    assert len(history(mlflow_server.uri, run.info.run_id, "val/accuracy")) == 2
    (model,) = store.search_logged_models([run.info.experiment_id])
    assert str(model.status) == "READY"
    files = {item.path for item in store.list_logged_model_artifacts(model.model_id)}
    assert {"MLmodel", "requirements.txt", "input_example.json"} <= files


def test_stopped_and_resumed_in_a_new_container_it_ends_with_the_same_bytes(
    trainer_image: str, engine: Engine, runs: Path
) -> None:
    strict = (*STRICT, "--network=none", f"--volume={runs}:/runs")
    train = ["train", "/runs/small.yaml", "trainer.name=stopped"]
    with engine.container(*strict, trainer_image, *train) as name:
        engine.wait_for(name, "val/accuracy")
        engine("stop", "--time=120", name)
        assert engine.look(name, "{{.State.ExitCode}}") == "75"
        said = engine.logs(name)
    assert "run KILLED" in said
    reached = max(map(int, re.findall(r"^epoch +(\d+)", said, re.M)))
    epochs = f"trainer.epochs={reached + 3}"
    whole = ["train", "/runs/small.yaml", "trainer.name=whole", epochs]
    engine("run", "--rm", *strict, trainer_image, "resume", "runs/stopped", epochs)
    engine("run", "--rm", *strict, trainer_image, *whole)
    for file in ("model/model.safetensors", "metrics.jsonl"):
        assert (runs / "stopped" / file).read_bytes() == (runs / "whole" / file).read_bytes(), file
    states = [runs / run / "checkpoints/last.json" for run in ("stopped", "whole")]
    assert len({json.loads(state.read_text())["sha256"] for state in states}) == 1


def test_kernels_are_there_and_on_another_processor_they_are_compiled(
    trainer_image: str, engine: Engine, runs: Path
) -> None:
    strict = (*STRICT, "--network=none", f"--volume={runs}:/runs", "--env=MINIDL_KERNELS=compiled")
    for name, variable in {"here": "A=", "elsewhere": "NUMBA_CPU_NAME=generic"}.items():
        command = ["train", "/runs/small.yaml", "trainer.epochs=1", f"trainer.name={name}"]
        done = engine("run", "--rm", *strict, f"--env={variable}", trainer_image, *command)
        assert ("minidl: compiling kernels" in done.stderr) == (name == "elsewhere"), done.stderr
        assert "run FINISHED" in done.stdout


def test_a_database_is_more_than_a_client_can_write_to(trainer_image: str, engine: Engine) -> None:
    command = ["train", "/configs/quickstart.yaml"]
    mount = f"--volume={ROOT / 'configs'}:/configs:ro"
    done = engine("run", "--rm", *STRICT, mount, trainer_image, *command, check=False)
    assert done.returncode == 2
    assert "/configs/quickstart.yaml:24:" in done.stderr
    assert "only MLflow's client (mlflow-skinny)" in done.stderr
